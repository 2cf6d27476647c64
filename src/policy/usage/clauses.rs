//! The ten clauses of a usage rule as native functions of the engine, over an opaque request.
//!
//! Each is total: whatever it is given, it answers. It judges in three values; unknown misses a permit and
//! fires a deny. The first clause that does not hold is noted for the trace.

use std::{collections::BTreeSet, sync::Arc};

use casbin::{CoreApi, Enforcer, function_map::OperatorFunction, rhai::Dynamic};

use super::{
    Question,
    cells::{ALLOW, ANY, DENY, SEPARATOR, SPAN, escape},
    trace,
};
use crate::domain::{Action, Clause, Vocabulary};

/// What is asked, with every text escaped as in the cells.
#[derive(Debug)]
pub(super) struct Request {
    action: &'static str,
    organisation: String,
    kind: Option<String>,
    sector: Option<String>,
    country: Option<String>,
    accreditations: Option<BTreeSet<String>>,
    roles: Option<BTreeSet<String>>,
    columns: BTreeSet<String>,
    /// The purpose and everything above it; none if it is unknown.
    purposes: Option<BTreeSet<String>>,
    at: i64,
}

impl Request {
    pub(super) fn new(question: &Question<'_>, vocabulary: &Vocabulary) -> Self {
        let who = question.who;
        let purposes: BTreeSet<_> = question
            .purpose
            .map(|purpose| vocabulary.ancestors(purpose).map(|p| escape(p.as_str())).collect())
            .unwrap_or_default();
        Self {
            action: question.action.as_str(),
            organisation: escape(who.participant.as_str()),
            kind: who.kind.map(|kind| escape(kind.as_str())),
            sector: who.sector.as_deref().map(escape),
            country: who.country.as_deref().map(escape),
            accreditations: who.accreditations.as_ref().map(|all| all.iter().map(|a| escape(a)).collect()),
            roles: who.roles.as_ref().map(|all| all.iter().map(|role| escape(role.as_str())).collect()),
            columns: question.columns.iter().map(|column| escape(column)).collect(),
            purposes: (!purposes.is_empty()).then_some(purposes),
            at: question.at.micros(),
        }
    }

    /// Seeing a catalog entry has neither purpose nor columns. A permit is not asked for them; a deny limited to
    /// some purposes or columns is about use and does not hide the entry.
    fn discovers(&self) -> bool {
        self.action == Action::Discover.as_str()
    }
}

/// Makes the clauses known to the engine under the names that `policies/usage/model.conf` uses.
pub(super) fn register(enforcer: &mut Enforcer) {
    for (name, function) in FUNCTIONS {
        enforcer.add_function(name, OperatorFunction::Arg3(function));
    }
}

type Native = fn(Dynamic, Dynamic, Dynamic) -> Dynamic;

const FUNCTIONS: [(&str, Native); 10] = [
    ("action_ok", |q, cell, eft| judge(Clause::Action, q, cell, eft, action)),
    ("organisation_ok", |q, cell, eft| judge(Clause::Organisation, q, cell, eft, organisation)),
    ("kind_ok", |q, cell, eft| judge(Clause::Kind, q, cell, eft, kind)),
    ("sector_ok", |q, cell, eft| judge(Clause::Sector, q, cell, eft, sector)),
    ("country_ok", |q, cell, eft| judge(Clause::Country, q, cell, eft, country)),
    ("accreditation_ok", |q, cell, eft| judge(Clause::Accreditation, q, cell, eft, accreditation)),
    ("role_ok", |q, cell, eft| judge(Clause::Role, q, cell, eft, role)),
    ("columns_ok", |q, cell, eft| judge(Clause::Columns, q, cell, eft, columns)),
    ("purpose_ok", |q, cell, eft| judge(Clause::Purpose, q, cell, eft, purpose)),
    ("validity_ok", |q, cell, eft| judge(Clause::Validity, q, cell, eft, validity)),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What a clause is judged on: the request, its cell, and whether its rule is a deny.
type Test = fn(&Request, &str, bool) -> Truth;

fn judge(clause: Clause, request: Dynamic, cell: Dynamic, effect: Dynamic, test: Test) -> Dynamic {
    let cell = cell.into_immutable_string().unwrap_or_default();
    let effect = effect.into_immutable_string().unwrap_or_default();
    let truth = match request.try_cast::<Arc<Request>>() {
        Some(request) if effect == ALLOW || effect == DENY => test(&request, &cell, effect == DENY),
        _ => Truth::Unknown,
    };
    let holds = match truth {
        Truth::True => true,
        Truth::False => false,
        Truth::Unknown => effect == DENY,
    };
    if !holds {
        trace::missed(clause);
    } else if truth == Truth::Unknown {
        trace::unknown(clause);
    }
    holds.into()
}

fn action(request: &Request, cell: &str, _: bool) -> Truth {
    members(cell).any(|member| member == request.action).into()
}

fn organisation(request: &Request, cell: &str, _: bool) -> Truth {
    one_of(cell, Some(&request.organisation))
}

fn kind(request: &Request, cell: &str, _: bool) -> Truth {
    one_of(cell, request.kind.as_deref())
}

fn sector(request: &Request, cell: &str, _: bool) -> Truth {
    one_of(cell, request.sector.as_deref())
}

fn country(request: &Request, cell: &str, _: bool) -> Truth {
    one_of(cell, request.country.as_deref())
}

fn accreditation(request: &Request, cell: &str, _: bool) -> Truth {
    known(cell, request.accreditations.as_ref(), |held| members(cell).all(|asked| held.contains(asked)))
}

fn role(request: &Request, cell: &str, _: bool) -> Truth {
    known(cell, request.roles.as_ref(), |held| members(cell).any(|asked| held.contains(asked)))
}

/// A permit needs every column that is asked for; a deny fires on any.
fn columns(request: &Request, cell: &str, deny: bool) -> Truth {
    if request.discovers() {
        return (!deny || cell == ANY).into();
    }
    let listed = |column: &String| members(cell).any(|member| member == column);
    let holds =
        cell == ANY || if deny { request.columns.iter().any(listed) } else { request.columns.iter().all(listed) };
    holds.into()
}

/// A purpose that the vocabulary does not have is unknown even where any purpose will do.
fn purpose(request: &Request, cell: &str, deny: bool) -> Truth {
    if request.discovers() {
        return (!deny || cell == ANY).into();
    }
    match &request.purposes {
        None => Truth::Unknown,
        Some(above) => (cell == ANY || members(cell).any(|member| above.contains(member))).into(),
    }
}

fn validity(request: &Request, cell: &str, _: bool) -> Truth {
    if cell == ANY {
        return Truth::True;
    }
    let mut truth = Truth::False;
    for member in members(cell) {
        match contains(member, request.at) {
            Some(true) => return Truth::True,
            Some(false) => {}
            None => truth = Truth::Unknown,
        }
    }
    truth
}

/// Whether the instant lies in the window; none if the cell is not one.
fn contains(member: &str, at: i64) -> Option<bool> {
    let (from, until) = member.split_once(SPAN)?;
    let bound = |text: &str| if text.is_empty() { Some(None) } else { text.parse::<i64>().ok().map(Some) };
    Some(bound(from)?.is_none_or(|from| from <= at) && bound(until)?.is_none_or(|until| at < until))
}

fn one_of(cell: &str, value: Option<&str>) -> Truth {
    known(cell, value, |value| members(cell).any(|member| member == value))
}

/// `*` asks for nothing; anything else cannot be answered without the attribute.
fn known<T>(cell: &str, attribute: Option<T>, holds: impl FnOnce(T) -> bool) -> Truth {
    match attribute {
        _ if cell == ANY => Truth::True,
        None => Truth::Unknown,
        Some(attribute) => holds(attribute).into(),
    }
}

fn members(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(SEPARATOR)
}
