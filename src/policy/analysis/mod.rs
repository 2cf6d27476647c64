//! What the rules of a policy amount to together, exactly, on the algebra of boxes.
//!
//! A rule is a box in the space of uses (`space.rs`): a product of sets, a taxonomy and intervals. Whether denies cover
//! a permit whole, whether other permits make one superfluous, and where permits and denies meet is therefore decided
//! (`cover.rs`), not guessed; what a bounded search cannot decide is said to be undecided. Besides: rules that are
//! very broad, over, or about nobody who takes part. Nothing here prevents publication; `check` has the errors.

mod bits;
pub(in crate::policy) mod cover;
mod denies;
mod reach;
mod shadow;
pub(in crate::policy) mod space;
#[cfg(test)]
mod tests;
mod who;

pub(in crate::policy) use self::bits::Bits;
use self::{
    bits::Pieces,
    cover::{Cover, Piece, Verdict},
    space::{ACCREDITATION, ACTION, COUNTRY, Cell, KIND, ORGANISATION, PURPOSE, SECTOR, Space},
};
use super::{
    check::{Finding, MAX_RULES, Severity},
    diff::words::{quoted_few, text},
    usage::Attributes,
};
use crate::domain::{
    Access, Action, Columns, Dataset, Effect, How, LegalBasis, Policy, Rule, Text, Timestamp, Vocabulary,
};

/// What is known of the world in which a policy is judged; what is not known is not judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Everybody who takes part. Roles are those that some member holds.
    pub participants: Option<&'a [Attributes]>,
    /// The time.
    pub now: Option<Timestamp>,
}

/// What all searches about one policy may cost together, in selections looked at: well under a second.
const BUDGET: u64 = 4_000_000;
/// What one of them may cost.
const ONE_SEARCH: u64 = 400_000;
/// Most rules whose part in a cover is told one by one.
const MOST_NAMED: usize = 12;

/// What stands out in how the rules work together, in the policy's order for each sort of finding.
pub(super) fn findings(
    policy: &Policy,
    dataset: &Dataset,
    vocabulary: &Vocabulary,
    around: &Surroundings<'_>,
) -> Vec<Finding> {
    if policy.rules.len() > MAX_RULES {
        return Vec::new();
    }
    let columns = dataset.snapshot.as_ref().map(|snapshot| snapshot.columns.as_slice());
    let space = Space::new(&[policy], columns, vocabulary);
    let cells: Vec<Vec<Cell>> = policy.rules.iter().map(|rule| space.cells(rule)).collect();
    let Some(cover) = Cover::new(&space, pieces(policy, &cells)) else { return Vec::new() };
    let mut analyst = Analyst {
        policy,
        dataset,
        vocabulary,
        space,
        cells,
        cover,
        budget: BUDGET,
        undecided: false,
        findings: Vec::new(),
    };
    analyst.reach();
    analyst.shadows();
    analyst.idle_denies();
    analyst.redundant_terms();
    analyst.conflicts();
    analyst.breadth();
    analyst.windows(around.now);
    analyst.nobody(around.participants);
    if analyst.undecided {
        analyst.say(
            Severity::Info,
            "rules",
            text(
                "whether some of these rules ever apply is not decided: they combine in too many ways",
                "il n'est pas décidé si certaines règles s'appliquent un jour : trop de combinaisons",
            ),
        );
    }
    analyst.findings
}

/// The boxes of all rules, in their order.
fn pieces(policy: &Policy, cells: &[Vec<Cell>]) -> Vec<Piece> {
    let each = policy.rules.iter().zip(cells).flat_map(|(rule, cells)| cells.iter().map(move |cell| (rule, cell)));
    each.map(|(rule, cell)| Piece { cell: cell.clone(), denies: rule.effect == Effect::Deny }).collect()
}

struct Analyst<'a> {
    policy: &'a Policy,
    dataset: &'a Dataset,
    vocabulary: &'a Vocabulary,
    space: Space,
    /// By rule, its boxes.
    cells: Vec<Vec<Cell>>,
    /// All boxes, those of a rule one after the other.
    cover: Cover,
    budget: u64,
    undecided: bool,
    findings: Vec<Finding>,
}

impl Analyst<'_> {
    fn say(&mut self, severity: Severity, path: impl Into<String>, said: Text) {
        self.findings.push(Finding { severity, path: path.into(), message_en: said.en, message_fr: said.fr });
    }

    fn rules(&self, effect: Effect) -> Vec<usize> {
        let all = self.policy.rules.iter().enumerate();
        all.filter(|(_, rule)| rule.effect == effect).map(|(index, _)| index).collect()
    }

    fn rule(&self, index: usize) -> &Rule {
        &self.policy.rules[index]
    }

    /// The boxes of these rules.
    fn pieces_of(&self, rules: &[usize]) -> Pieces {
        let mut set = Pieces::default();
        let mut at = 0;
        for (rule, cells) in self.cells.iter().enumerate() {
            let wanted = rules.contains(&rule);
            (at..at + cells.len()).filter(|_| wanted).for_each(|piece| set.insert(piece));
            at += cells.len();
        }
        set
    }

    /// Whether these rules cover all of these boxes, each within its share of the budget.
    fn covered(&mut self, cells: &[Cell], by: &[usize]) -> bool {
        // To collect the boxes costs time, too.
        self.budget = self.budget.saturating_sub(self.cells.len() as u64);
        let by = self.pieces_of(by);
        let cells = cells.iter().filter(|cell| !cell.is_empty());
        for cell in cells {
            let mut share = self.budget.min(ONE_SEARCH);
            let before = share;
            let verdict = self.cover.covers(cell, by, &mut share);
            self.budget -= before - share;
            match verdict {
                Verdict::Covered => {}
                Verdict::Open => return false,
                Verdict::Undecided => {
                    self.undecided = true;
                    return false;
                }
            }
        }
        true
    }

    /// Those of `by` without which the boxes would not be covered: one that is enough by itself, or else as far as they
    /// are few enough to try.
    fn needed(&mut self, cells: &[Cell], by: &[usize], always: &[usize]) -> Vec<usize> {
        let mut needed: Vec<usize> = by.iter().copied().filter(|rule| self.touches(*rule, cells)).collect();
        for one in needed.clone() {
            if self.covered(cells, &[[one].as_slice(), always].concat()) {
                return vec![one];
            }
        }
        if needed.len() > MOST_NAMED {
            return needed;
        }
        let mut at = 0;
        while at < needed.len() {
            let mut without = needed.clone();
            without.remove(at);
            without.extend_from_slice(always);
            if self.covered(cells, &without) {
                needed.remove(at);
            } else {
                at += 1;
            }
        }
        needed
    }

    fn touches(&self, rule: usize, cells: &[Cell]) -> bool {
        self.cells[rule].iter().any(|one| cells.iter().any(|cell| one.intersects(cell)))
    }

    fn names(&self, rules: &[usize]) -> Text {
        quoted_few(rules.iter().map(|rule| &self.rule(*rule).id))
    }

    /// Rules that let nearly anyone do nearly anything.
    fn breadth(&mut self) {
        let open = self.dataset.access == Access::Open;
        let everything = self.space.everything();
        for index in self.rules(Effect::Permit) {
            let rule = self.rule(index);
            let personal = rule.legal_basis != Some(LegalBasis::NotPersonal);
            if open && !personal {
                continue;
            }
            let how = rule.how.join(&self.policy.floor);
            let actions = rule.effective_actions();
            let rows = actions.contains(&Action::Read) && how.aggregate_only.is_none() && how.privacy.is_none();
            let who = [ORGANISATION, KIND, SECTOR, COUNTRY].into_iter().chain(ACCREDITATION..everything.dims.len());
            let who: Vec<usize> = who.collect();
            let whole = |dims: &[usize]| {
                let mut uses = self.cells[index].iter().filter(|cell| !self.only_looks(cell));
                uses.any(|cell| dims.iter().all(|dim| cell.dims[*dim] == everything.dims[*dim]))
            };
            let (anyone, anything) = (whole(&who), whole(&[PURPOSE]));
            let unlimited = how.row_filter.is_none() && rule.is_for_ever() && self.shows_values(rule, &how);
            let downloads = rule.actions.contains(&Action::Download) && unlimited;
            if rows && anyone && anything && rule.who.roles.is_empty() {
                self.say(
                    Severity::Warning,
                    format!("rules[{index}]"),
                    text(
                        "very broad: anyone may query rows for any purpose",
                        "très large : n'importe qui peut interroger les lignes pour toute finalité",
                    ),
                );
            }
            if downloads {
                self.say(
                    Severity::Warning,
                    format!("rules[{index}].actions"),
                    text(
                        "very broad: all rows leave, without filter or end, with columns that no mask covers",
                        "très large : toutes les lignes sortent, sans filtre ni fin, avec des colonnes sans masque",
                    ),
                );
            }
        }
    }

    /// Whether some column of a rule has no mask; columns that are yet to come have none.
    fn shows_values(&self, rule: &Rule, how: &How) -> bool {
        let known = self.dataset.snapshot.as_ref().map(|snapshot| snapshot.columns.as_slice());
        match (&rule.columns, known) {
            (Columns::Only(names), _) => names.iter().any(|name| !how.masks.contains_key(name)),
            (Columns::All, Some(columns)) => columns.iter().any(|column| !how.masks.contains_key(&column.name)),
            (Columns::All, None) => true,
        }
    }

    /// Rules whose time is over.
    fn windows(&mut self, now: Option<Timestamp>) {
        let Some(now) = now else { return };
        for index in 0..self.policy.rules.len() {
            let when = &self.rule(index).when;
            let over = |until: Option<Timestamp>| until.is_some_and(|until| until <= now);
            if !when.is_empty() && when.iter().all(|window| over(window.until)) {
                self.say(
                    Severity::Warning,
                    format!("rules[{index}].when"),
                    text(
                        "its last window has ended: it never applies any more",
                        "sa dernière période est passée : elle ne s'applique plus",
                    ),
                );
            }
        }
    }

    fn only_looks(&self, cell: &Cell) -> bool {
        cell.dims[ACTION].is_subset(&self.space.actions(&[Action::Discover]))
    }
}
