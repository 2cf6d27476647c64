//! What changes between two policies, in words: who gains or loses which use, which limits become tighter or looser,
//! which duties come and go.
//!
//! Who gains and who loses is exact: the difference of what both versions permit, as boxes, each rule net of what its
//! policy denies, and then of columns that could be used together. On what terms is compared rule by rule, under the
//! same id, and between a rule that is new or gone and those that permit the same uses. Where none of that tells a
//! difference, that the effect is the same is said only if each rule is about the very same uses on the same terms.

mod effect;
#[cfg(test)]
mod examples;
mod limits;
mod region;
mod roles;
mod terms;
#[cfg(test)]
mod tests;
pub(in crate::policy) mod words;

use std::collections::BTreeSet;

pub use self::terms::{Direction, TermChange, Terms, compare};
use self::{region::effective, words::text};
use super::analysis::{
    Bits,
    cover::{Verdict, covers_together},
    space::{ACTION, COLUMN, Cell, Space},
};
use crate::domain::{Column, Effect, Name, Policy, Rule, Text, Vocabulary};

/// What sort of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Someone may do what was not permitted before.
    Gained,
    /// Someone may no longer do what was permitted before.
    Lost,
    /// What stays permitted is limited more.
    Tightened,
    /// What stays permitted is limited less.
    Loosened,
    /// It is otherwise than before, neither more nor less.
    Changed,
}

/// One difference between two policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What sort it is.
    pub kind: DifferenceKind,
    /// The rule that it is about: of the newer policy, or of the older one if it is gone. None for the floor.
    pub rule: Option<Name>,
    /// Which term, for example `rules[0].how.max_rows`, in the policy that has the rule.
    pub path: String,
    /// In words.
    pub text: Text,
}

/// Most sentences about parts of what one rule gives or takes; more are told together, with what is excepted.
const MOST_SENTENCES: usize = 4;

/// Everything that differs from `old` to `new`: what is lost, what is gained, then terms, in the order of the rules.
/// Nothing differs if both have one digest.
pub fn diff(old: &Policy, new: &Policy, columns: Option<&[Column]>, vocabulary: &Vocabulary) -> Vec<Difference> {
    if old == new {
        return Vec::new();
    }
    let space = Space::new(&[old, new], columns, vocabulary);
    let mut differ = Differ { space, old, new, budget: BUDGET, found: Vec::new() };
    differ.reach(new, old, DifferenceKind::Lost);
    differ.reach(old, new, DifferenceKind::Gained);
    differ.denies();
    differ.same_rules();
    differ.other_rules();
    differ.order();
    differ.floor();
    if differ.found.is_empty() {
        differ.nothing_found();
    }
    differ.found
}

/// What all searches of one comparison may cost, in selections looked at: well under a second.
const BUDGET: u64 = 4_000_000;

struct Differ<'a> {
    space: Space,
    old: &'a Policy,
    new: &'a Policy,
    budget: u64,
    found: Vec<Difference>,
}

impl Differ<'_> {
    fn add(&mut self, kind: DifferenceKind, rule: Option<&Name>, path: impl Into<String>, text: Text) {
        self.found.push(Difference { kind, rule: rule.cloned(), path: path.into(), text });
    }

    /// What `more` permits and `less` does not.
    fn reach(&mut self, less: &Policy, more: &Policy, kind: DifferenceKind) {
        let mut known: Vec<Cell> = Vec::new();
        let mut bounded = true;
        let mut together = Together::new(&self.space, less, more);
        for rule in permits(less) {
            match effective(&self.space, less, rule) {
                Some(cells) => known.extend(cells),
                None => bounded = false,
            }
        }
        for (index, rule) in more.rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Permit) {
            let path = format!("rules[{index}]");
            let cells = effective(&self.space, more, rule).filter(|_| bounded);
            let Some(beyond) = cells.and_then(|cells| region::minus(cells, &known)) else {
                self.add(DifferenceKind::Changed, Some(&rule.id), path, too_much(rule));
                continue;
            };
            let beyond = region::merged(beyond);
            let gained = kind == DifferenceKind::Gained;
            let told = if beyond.len() > MOST_SENTENCES {
                self.together(rule, &beyond, less, more, gained)
            } else {
                beyond.iter().map(|cell| words::sentence(&self.space, cell, gained)).collect()
            };
            for said in told {
                self.add(kind, Some(&rule.id), &path, said);
            }
            // With a column that is told no others need be.
            together.denies.extend(beyond.iter().cloned());
            // What one rule gives, another does not give again.
            known.extend(beyond);
            self.columns_together(rule, &path, &mut together, kind);
        }
    }

    /// What a rule of `more` permits with several columns at once and `less` does not, although it permits each alone.
    fn columns_together(&mut self, rule: &Rule, path: &str, together: &mut Together, kind: DifferenceKind) {
        for cell in uses(&self.space, rule) {
            match covers_together(&self.space, &cell, &together.permits, &together.denies, &mut self.budget) {
                (Verdict::Covered, _) => {}
                (Verdict::Open, Some(columns)) => {
                    let some = cell.within(COLUMN, &columns);
                    let said = words::at_once(words::sentence(&self.space, &some, kind == DifferenceKind::Gained));
                    self.add(kind, Some(&rule.id), path, said);
                }
                (Verdict::Open | Verdict::Undecided, _) => {
                    self.add(DifferenceKind::Changed, Some(&rule.id), path, too_much(rule));
                }
            }
        }
        together.permits.extend(self.space.cells(rule));
    }

    /// What a rule gives or takes in many parts, as a whole: action by action, except for what other rules say.
    fn together(&self, rule: &Rule, beyond: &[Cell], less: &Policy, more: &Policy, gained: bool) -> Vec<Text> {
        let denies = more.rules.iter().filter(|rule| rule.effect == Effect::Deny);
        let others: Vec<&Rule> = permits(less).chain(denies).collect();
        let mut whole = Vec::new();
        let mut said = Vec::new();
        for cell in self.space.cells(rule) {
            let actions = cell.dims[ACTION].iter().map(|atom| Bits::of(self.space.sizes()[ACTION], [atom]));
            let parts = actions.map(|action| cell.within(ACTION, &action));
            for part in parts.filter(|part| beyond.iter().any(|one| one.intersects(part))) {
                let meets = |other: &Rule| self.space.cells(other).iter().any(|cell| cell.intersects(&part));
                let (permits, denies): (Vec<&Rule>, Vec<&Rule>) =
                    others.iter().copied().filter(|other| meets(other)).partition(|rule| rule.effect == Effect::Permit);
                if permits.is_empty() && denies.is_empty() {
                    whole.push(part);
                } else {
                    let sentence = words::sentence(&self.space, &part, gained);
                    said.push(words::except(sentence, &permits, &denies, gained));
                }
            }
        }
        region::merged(whole).iter().map(|cell| words::sentence(&self.space, cell, gained)).chain(said).collect()
    }

    /// Denies that are new or gone.
    fn denies(&mut self) {
        let (old, new) = (self.old, self.new);
        let everything = self.space.everything();
        for (these, others, en, fr) in [
            (new, old, "new prohibition", "nouvelle interdiction"),
            (old, new, "prohibition dropped", "interdiction levée"),
        ] {
            for (index, deny) in these.rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Deny) {
                if others.rule(deny.id.as_str()).is_some_and(|other| other.effect == Effect::Deny) {
                    continue;
                }
                let about: Vec<Text> =
                    self.space.cells(deny).iter().map(|cell| words::narrower(&self.space, cell, &everything)).collect();
                let join = |of: fn(&Text) -> &String, or: &str| {
                    about.iter().map(|text| of(text).as_str()).collect::<Vec<_>>().join(or)
                };
                let said = text(
                    format!("{en} `{}`: {}", deny.id, join(|t| &t.en, "; ")),
                    format!("{fr} `{}` : {}", deny.id, join(|t| &t.fr, " ; ")),
                );
                self.add(DifferenceKind::Changed, Some(&deny.id), format!("rules[{index}]"), said);
            }
        }
    }

    /// Terms of rules that both policies have under one id.
    fn same_rules(&mut self) {
        let (old, new) = (self.old, self.new);
        for (index, rule) in new.rules.iter().enumerate() {
            let Some(before) = old.rule(rule.id.as_str()) else { continue };
            let path = format!("rules[{index}]");
            if rule.effect == Effect::Permit && before.effect == Effect::Permit {
                self.columns_to_come(&path, before, rule);
                for change in compare(&Terms::of(before, old), &Terms::of(rule, new)) {
                    let said = text(
                        format!("under `{}`: {}", rule.id, change.text.en),
                        format!("selon `{}` : {}", rule.id, change.text.fr),
                    );
                    self.add(kind_of(change.direction), Some(&rule.id), format!("{path}.{}", change.path), said);
                }
            }
            if rule.text != before.text {
                let said = text(
                    format!("`{}` is put into other words", rule.id),
                    format!("`{}` est énoncée en d'autres mots", rule.id),
                );
                self.add(DifferenceKind::Changed, Some(&rule.id), format!("{path}.text"), said);
            }
        }
    }

    /// Where the columns of the dataset are known, those that come later are part of `all` only.
    fn columns_to_come(&mut self, path: &str, before: &Rule, rule: &Rule) {
        let all_known = self.space.columns.len() == self.space.sizes()[COLUMN];
        let said = match (before.columns.is_all(), rule.columns.is_all()) {
            (true, false) => {
                text("columns that come later are not covered", "les colonnes à venir ne sont pas comprises")
            }
            (false, true) => text("columns that come later are covered, too", "les colonnes à venir sont comprises"),
            _ => return,
        };
        if all_known {
            let id = &rule.id;
            let said = text(format!("under `{id}`: {}", said.en), format!("selon `{id}` : {}", said.fr));
            self.add(DifferenceKind::Changed, Some(id), format!("{path}.columns"), said);
        }
    }

    /// Terms of uses that change hands: from a rule that is gone, or to one that is new.
    fn other_rules(&mut self) {
        let (old, new) = (self.old, self.new);
        let ids = |policy: &Policy| permits(policy).map(|rule| rule.id.clone()).collect::<BTreeSet<Name>>();
        let (before, after) = (ids(old), ids(new));
        for (index, rule) in new.rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Permit) {
            let others = permits(old).filter(|from| from.id != rule.id && self.overlap(from, rule));
            for from in others.collect::<Vec<_>>() {
                let (gone, fresh) = (!after.contains(&from.id), !before.contains(&rule.id));
                if !gone && !fresh {
                    continue;
                }
                let changes = compare(&Terms::of(from, old), &Terms::of(rule, new));
                for direction in [Direction::Tighter, Direction::Looser, Direction::Other] {
                    // While the old rule stands nobody has to take the new one, and what only an old one gave
                    // may be gone although another old one gives less.
                    let counts =
                        gone && (fresh || direction == Direction::Tighter) || !gone && direction != Direction::Tighter;
                    let Some(said) = terms::joined(&changes, direction).filter(|_| counts) else { continue };
                    let said = text(
                        format!("what `{}` permitted, under `{}`: {}", from.id, rule.id, said.en),
                        format!("ce que `{}` permettait, selon `{}` : {}", from.id, rule.id, said.fr),
                    );
                    self.add(kind_of(direction), Some(&rule.id), format!("rules[{index}].how"), said);
                }
                if gone && fresh && changes.is_empty() {
                    let said = text(
                        format!("what `{}` permitted, `{}` permits on the same terms", from.id, rule.id),
                        format!("ce que `{}` permettait, `{}` le permet aux mêmes conditions", from.id, rule.id),
                    );
                    self.add(DifferenceKind::Changed, Some(&rule.id), format!("rules[{index}]"), said);
                }
            }
        }
    }

    /// Whether some use is permitted by both rules, catalog entries aside.
    fn overlap(&self, one: &Rule, other: &Rule) -> bool {
        let (one, other) = (uses(&self.space, one), uses(&self.space, other));
        one.iter().any(|cell| other.iter().any(|next| cell.intersects(next)))
    }
}

/// What covers a use of several columns that one version permits, so that it is no difference.
struct Together {
    permits: Vec<Cell>,
    denies: Vec<Cell>,
}

impl Together {
    fn new(space: &Space, less: &Policy, more: &Policy) -> Self {
        let denies = more.rules.iter().filter(|rule| rule.effect == Effect::Deny);
        Self {
            permits: permits(less).flat_map(|rule| space.cells(rule)).collect(),
            denies: denies.flat_map(|rule| space.cells(rule)).collect(),
        }
    }
}

fn too_much(rule: &Rule) -> Text {
    text(
        format!("what `{}` permits differs in more ways than can be told", rule.id),
        format!("ce que `{}` permet diffère de plus de façons qu'on ne peut le dire", rule.id),
    )
}

fn uses(space: &Space, rule: &Rule) -> Vec<Cell> {
    let looks = space.actions(&[crate::domain::Action::Discover]);
    let mut cells = space.cells(rule);
    cells.retain(|cell| !cell.dims[ACTION].is_subset(&looks));
    cells
}

fn permits(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| rule.effect == Effect::Permit)
}

const fn kind_of(direction: Direction) -> DifferenceKind {
    match direction {
        Direction::Tighter => DifferenceKind::Tightened,
        Direction::Looser => DifferenceKind::Loosened,
        Direction::Other => DifferenceKind::Changed,
    }
}
