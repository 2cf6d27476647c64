//! What several boxes hold together, and what is left of it once others are taken away: lists of disjoint boxes.
//!
//! Here a use has one column and its member one role, so that columns and roles are atoms like all others: what is
//! told to people is told column by column. A difference can have very many parts; past a limit there is none.

use crate::{
    domain::{Effect, Policy, Rule},
    policy::analysis::space::{
        ACCREDITATION, ACTION, COLUMN, COUNTRY, Cell, KIND, ORGANISATION, PURPOSE, ROLE, SECTOR, Space, TIME,
    },
};

/// Most boxes of a list.
const MOST_CELLS: usize = 4_000;
/// What the searches of one comparison may cost, in boxes looked at: well under a second.
pub(super) const WORK: usize = 1_000_000;

/// What a rule permits and no deny takes: a list of boxes, which may overlap those of other rules.
pub(super) fn effective(space: &Space, policy: &Policy, rule: &Rule, work: &mut usize) -> Option<Vec<Cell>> {
    let denies = policy.rules.iter().filter(|rule| rule.effect == Effect::Deny).flat_map(|deny| space.cells(deny));
    let denies: Vec<Cell> = denies.collect();
    minus(space.cells(rule), &denies, work)
}

/// What is left of `cells` without `taken`; none if that has too many parts, or is more work than is left.
pub(super) fn minus(cells: Vec<Cell>, taken: &[Cell], work: &mut usize) -> Option<Vec<Cell>> {
    let mut left = cells;
    for other in taken {
        // Merging tries boxes against each other.
        let cost = left.len() + left.len().min(MOST_MERGED).pow(2) / 16;
        *work = work.checked_sub(cost)?;
        if !left.iter().any(|cell| cell.intersects(other)) {
            continue;
        }
        left = merged(left.iter().flat_map(|cell| parts(cell, other)).collect());
        if left.len() > MOST_CELLS {
            return None;
        }
    }
    Some(left)
}

/// The parts of `cell` outside `other`: disjoint, at most one for each dimension.
fn parts(cell: &Cell, other: &Cell) -> Vec<Cell> {
    if !cell.intersects(other) {
        return vec![cell.clone()];
    }
    let mut inside = cell.clone();
    let mut outside = Vec::new();
    // What tells most about a difference is cut first and so stays whole.
    let first = [ACTION, KIND, ORGANISATION, PURPOSE, COLUMN, TIME, COUNTRY, SECTOR, ROLE];
    for dim in first.into_iter().chain(ACCREDITATION..cell.dims.len()) {
        let beyond = inside.dims[dim].less(&other.dims[dim]);
        if !beyond.is_empty() {
            let mut part = inside.clone();
            part.dims[dim] = beyond;
            outside.push(part);
        }
        inside.dims[dim] = inside.dims[dim].and(&other.dims[dim]);
    }
    outside
}

/// Most boxes that are tried against each other.
const MOST_MERGED: usize = 200;

/// The same with fewer boxes: two that differ in one dimension only become one.
pub(super) fn merged(mut cells: Vec<Cell>) -> Vec<Cell> {
    if cells.len() > MOST_MERGED {
        return cells;
    }
    while let Some((one, other, dim)) = mergeable(&cells) {
        let gone = cells.swap_remove(other);
        cells[one].dims[dim] = cells[one].dims[dim].or(&gone.dims[dim]);
    }
    cells
}

/// Two boxes, the first before the second, and the dimension in which alone they differ.
fn mergeable(cells: &[Cell]) -> Option<(usize, usize, usize)> {
    for (one, cell) in cells.iter().enumerate() {
        for (other, next) in cells.iter().enumerate().skip(one + 1) {
            let mut differing = (0..cell.dims.len()).filter(|dim| cell.dims[*dim] != next.dims[*dim]);
            match (differing.next(), differing.next()) {
                (Some(dim), None) => return Some((one, other, dim)),
                (None, _) => return Some((one, other, ACTION)),
                _ => {}
            }
        }
    }
    None
}
