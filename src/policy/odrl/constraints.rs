//! What a rule asks, as constraints: who, what, why, when and how, each non-empty term of the domain one constraint.

use std::{collections::BTreeSet, str::FromStr};

use serde_json::{Value as Json, json};

use super::{
    limits,
    literal::{distinct, iri, read_iri, read_texts},
    node::{Node, shown},
    terms::{Left, PARTICIPANT},
    windows,
};
use crate::{
    domain::{Columns, Effect, How, Kind, PurposeSlug, Role, Rule, Vocabulary, Who, Window},
    error::Result,
};

/// An atomic constraint.
pub(super) fn atom(left: Left, operator: &str, right: impl Into<Json>) -> Json {
    json!({ "leftOperand": left.as_str(), "operator": operator, "rightOperand": right.into() })
}

/// The constraints of a rule. Those of a prohibition stand in one `and`: ODRL means that anyway, but EDC takes the
/// plain list of a prohibition for an `or`.
pub(super) fn write(rule: &Rule, vocabulary: &Vocabulary) -> Result<Vec<Json>> {
    let Rule { id: _, effect, actions: _, who, columns, purposes, legal_basis: _, when, how, duties: _, text: _ } =
        rule;
    let mut out = self::who(who);
    if let Columns::Only(names) = columns {
        out.push(atom(Left::Column, "isAnyOf", texts(names)));
    }
    out.extend(self::purposes(purposes, vocabulary)?);
    out.extend(windows::write(when));
    out.extend(limits::write(how)?);
    Ok(match effect {
        Effect::Deny if out.len() > 1 => vec![json!({ "and": out })],
        Effect::Deny | Effect::Permit => out,
    })
}

fn who(who: &Who) -> Vec<Json> {
    let Who { organisations, kinds, sectors, countries, accreditations, roles } = who;
    let organisations: Vec<_> = organisations.iter().map(|id| iri(format_args!("{PARTICIPANT}{id}"))).collect();
    let kinds: Vec<_> = kinds.iter().map(|kind| Json::from(kind.as_str())).collect();
    let roles: Vec<_> = roles.iter().map(|role| Json::from(role.as_str())).collect();
    [
        (Left::Recipient, "isAnyOf", organisations),
        (Left::Kind, "isAnyOf", kinds),
        (Left::Industry, "isAnyOf", texts(sectors)),
        (Left::Country, "isAnyOf", texts(countries)),
        (Left::Accreditation, "isAllOf", texts(accreditations)),
        (Left::Role, "isAnyOf", roles),
    ]
    .into_iter()
    .filter(|(.., asked)| !asked.is_empty())
    .map(|(left, operator, asked)| atom(left, operator, asked))
    .collect()
}

fn texts(set: &BTreeSet<String>) -> Vec<Json> {
    set.iter().map(|text| Json::from(text.as_str())).collect()
}

/// `isA` names a purpose with all that it covers, and so does `isAnyOf` in the profile.
fn purposes(purposes: &BTreeSet<PurposeSlug>, vocabulary: &Vocabulary) -> Result<Option<Json>> {
    let mut iris = purposes.iter().map(|slug| Ok(iri(&vocabulary.require(slug)?.iri))).collect::<Result<Vec<_>>>()?;
    Ok(match iris.len() {
        0 => None,
        1 => iris.pop().map(|one| atom(Left::Purpose, "isA", one)),
        _ => Some(atom(Left::Purpose, "isAnyOf", iris)),
    })
}

/// A constraint taken apart.
#[derive(Debug)]
pub(super) struct Atom<'a> {
    pub(super) left: Left,
    /// Where the left operand stands.
    pub(super) name: Node<'a>,
    pub(super) operator: Node<'a>,
    pub(super) right: Node<'a>,
}

impl<'a> Atom<'a> {
    pub(super) fn read(node: &Node<'a>) -> Result<Self> {
        let mut fields = node.fields()?;
        if !fields.has("leftOperand") {
            // Names the connective or other term that stands in its place.
            let _ = fields.take("operator");
            let _ = fields.take("rightOperand");
            fields.finish()?;
            return Err(node.refuse_below("/leftOperand", "is missing"));
        }
        let name = fields.need("leftOperand")?;
        let (operator, right) = (fields.need("operator")?, fields.need("rightOperand")?);
        fields.finish()?;
        let text = name.text()?;
        let left = Left::parse(text)
            .ok_or_else(|| name.refuse(format_args!("`{}` is no left operand of the profile", shown(text))))?;
        Ok(Self { left, name, operator, right })
    }
}

/// What the constraints of a rule ask.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) who: Who,
    pub(super) columns: Columns,
    pub(super) purposes: BTreeSet<PurposeSlug>,
    pub(super) when: Vec<Window>,
    pub(super) how: How,
}

/// Reads what [`write()`] writes.
pub(super) fn read(list: Option<&Node<'_>>, effect: Effect, vocabulary: &Vocabulary) -> Result<Asked> {
    let Some(list) = list else { return Ok(Asked::default()) };
    let mut asked = Asked::default();
    let mut seen = BTreeSet::new();
    let mut window = None;
    for node in conjunction(list, effect)? {
        if let Some(or) = node.fields()?.take("or") {
            let mut fields = node.fields()?;
            fields.take("or");
            fields.finish()?;
            if !asked.when.is_empty() {
                return Err(or.refuse("a second list of windows"));
            }
            asked.when = windows::read_list(&or)?;
            continue;
        }
        let atom = Atom::read(&node)?;
        match atom.left {
            Left::DateTime => {
                windows::read_bound(&atom, window.get_or_insert(Window { from: None, until: None }))?;
            }
            // A rule has several masks, one a column.
            Left::Mask => limits::read(&atom, &mut asked.how)?,
            left if !seen.insert(left) => return Err(atom.name.refuse("a second constraint on this")),
            _ => read_atom(&atom, vocabulary, &mut asked)?,
        }
    }
    if let Some(window) = window {
        if !asked.when.is_empty() {
            return Err(list.refuse("a window beside a list of windows"));
        }
        asked.when.push(window);
    }
    Ok(asked)
}

/// Reads constraints that only limit, as those of the floor.
pub(super) fn read_limits(list: &Node<'_>) -> Result<How> {
    let mut how = How::default();
    let mut seen = BTreeSet::new();
    for node in some_items(list)? {
        let atom = Atom::read(&node)?;
        if atom.left != Left::Mask && !seen.insert(atom.left) {
            return Err(atom.name.refuse("a second constraint on this"));
        }
        limits::read(&atom, &mut how)?;
    }
    Ok(how)
}

/// The constraints that must all hold.
fn conjunction<'a>(list: &Node<'a>, effect: Effect) -> Result<Vec<Node<'a>>> {
    let nodes = some_items(list)?;
    match (effect, &nodes[..]) {
        (Effect::Deny, [only]) => {
            let mut fields = only.fields()?;
            let Some(and) = fields.take("and") else { return Ok(nodes) };
            fields.finish()?;
            let inside = and.items()?;
            if inside.len() < 2 { Err(and.refuse("fewer than two constraints")) } else { Ok(inside) }
        }
        (Effect::Deny, [_, second, ..]) => Err(second
            .refuse("several constraints of a prohibition stand in one `and`: some readers take them for an `or`")),
        (Effect::Permit | Effect::Deny, _) => Ok(nodes),
    }
}

fn some_items<'a>(list: &Node<'a>) -> Result<Vec<Node<'a>>> {
    let items = list.items()?;
    if items.is_empty() { Err(list.refuse("an empty list: leave it out")) } else { Ok(items) }
}

fn read_atom(atom: &Atom<'_>, vocabulary: &Vocabulary, asked: &mut Asked) -> Result<()> {
    let Atom { left, operator, right, .. } = atom;
    let any_of = || operator.must_be("isAnyOf");
    match left {
        Left::Recipient => {
            any_of()?;
            let items = right.items()?;
            asked.who.organisations = distinct(items.iter().map(|item| {
                let id = read_iri(item)?;
                Ok((local_name(&id, PARTICIPANT)?, item.refuse("given twice")))
            }))?;
        }
        Left::Kind => {
            any_of()?;
            asked.who.kinds = read_texts(right, |text| Kind::ALL.into_iter().find(|kind| kind.as_str() == text))?;
        }
        Left::Industry => {
            any_of()?;
            asked.who.sectors = read_texts(right, |text| Some(text.to_owned()))?;
        }
        Left::Country => {
            any_of()?;
            asked.who.countries = read_texts(right, |text| Some(text.to_owned()))?;
        }
        Left::Accreditation => {
            operator.must_be("isAllOf")?;
            asked.who.accreditations = read_texts(right, |text| Some(text.to_owned()))?;
        }
        Left::Role => {
            any_of()?;
            asked.who.roles = read_texts(right, |text| Role::ALL.into_iter().find(|role| role.as_str() == text))?;
        }
        Left::Column => {
            any_of()?;
            asked.columns = Columns::Only(read_texts(right, |text| Some(text.to_owned()))?);
            // No column at all is not the same as none named.
            return Ok(());
        }
        Left::Purpose => asked.purposes = read_purposes(operator, right, vocabulary)?,
        _ => return limits::read(atom, &mut asked.how),
    }
    match right.json.as_array() {
        Some(items) if items.is_empty() => Err(right.refuse("an empty list: leave the constraint out")),
        _ => Ok(()),
    }
}

fn read_purposes(operator: &Node<'_>, right: &Node<'_>, vocabulary: &Vocabulary) -> Result<BTreeSet<PurposeSlug>> {
    let slug = |node: &Node<'_>| {
        let iri = read_iri(node)?;
        let text = iri.text()?;
        let known = vocabulary.purposes().find(|purpose| purpose.iri == text);
        let known = known.ok_or_else(|| iri.refuse(format_args!("`{}` is no purpose of this hub", shown(text))))?;
        Ok((known.slug.clone(), node.refuse("given twice")))
    };
    match operator.text()? {
        "isA" => Ok([slug(right)?.0].into()),
        "isAnyOf" => {
            let items = right.items()?;
            if items.len() == 1 {
                return Err(operator.refuse("one purpose is named by `isA`"));
            }
            distinct(items.iter().map(slug))
        }
        _ => Err(operator.refuse("a purpose is named by `isA` or `isAnyOf`")),
    }
}

/// The name behind one of the hub's prefixes.
pub(super) fn local_name<T: FromStr>(iri: &Node<'_>, prefix: &str) -> Result<T> {
    let local = iri.text()?.strip_prefix(prefix).and_then(|local| local.parse().ok());
    local.ok_or_else(|| iri.refuse(format_args!("not `{prefix}` and a name of the hub")))
}
