//! Whether some boxes together cover another one: exact, without cutting boxes into pieces.
//!
//! Along a dimension, each atom selects the boxes that hold it. Whatever some boxes cover, more boxes cover, so only
//! the atoms with the smallest selections are tried; the dimension with the fewest of them goes first. That decides
//! what is typical in a few steps: an atom that no rule names, a role held alone, an accreditation that is lacking.
//! With a fixed number of dimensions the worst case is a polynomial, but a large one: the search has a budget and
//! says so when it is spent.
//!
//! Columns are judged last. A use has several columns at once: a permit covers it if it has all of them, a deny if it
//! has one. So of a box's columns those that no deny takes must lie together in one permit.

use std::collections::HashSet;

use super::{
    bits::{Bits, MAX_PIECES, Pieces},
    space::{COLUMN, Cell, Space},
};

/// What a search has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Verdict {
    /// Every use of the box is in one of the others.
    Covered,
    /// Some use is in none.
    Open,
    /// The budget was spent before it was known.
    Undecided,
}

/// One box that can cover others.
#[derive(Debug)]
pub(super) struct Piece {
    /// The box.
    pub(super) cell: Cell,
    /// Whether it takes away what it holds.
    pub(super) denies: bool,
}

/// Boxes, indexed by what they hold.
#[derive(Debug)]
pub(super) struct Cover {
    pieces: Vec<Piece>,
    /// By dimension, the atoms that the same boxes hold, and these boxes.
    classes: Vec<Vec<(Bits, Pieces)>>,
}

impl Cover {
    /// Indexes `pieces`; none if there are more than it can hold.
    pub(super) fn new(space: &Space, pieces: Vec<Piece>) -> Option<Self> {
        if pieces.len() > MAX_PIECES {
            return None;
        }
        let classes = space.sizes().iter().enumerate().map(|(dim, size)| classes(&pieces, dim, *size)).collect();
        Some(Self { pieces, classes })
    }

    /// Whether the boxes of `by` cover `cell`; takes from `budget` what it costs.
    pub(super) fn covers(&self, cell: &Cell, by: Pieces, budget: &mut u64) -> Verdict {
        self.search(cell, by, budget).0
    }

    /// As [`Self::covers`], with columns of an open use: fewer of them would be covered.
    fn search(&self, cell: &Cell, by: Pieces, budget: &mut u64) -> (Verdict, Option<Bits>) {
        // What is prepared here costs about as much as so many steps.
        *budget = budget.saturating_sub((by.iter().count() * cell.dims.len() / 4) as u64);
        if *budget == 0 {
            return (Verdict::Undecided, None);
        }
        let touching = by.iter().filter(|piece| {
            let other = &self.pieces[*piece].cell;
            (0..cell.dims.len()).all(|dim| dim == COLUMN || cell.dims[dim].intersects(&other.dims[dim]))
        });
        let active = Pieces::of(touching);
        let whole = (0..cell.dims.len()).map(|dim| {
            Pieces::of(active.iter().filter(|piece| cell.dims[dim].is_subset(&self.pieces[*piece].cell.dims[dim])))
        });
        let whole = whole.collect();
        let mut search = Search { cover: self, cell, whole, covered: HashSet::new(), open: None, budget };
        let left: Vec<usize> = (0..cell.dims.len()).filter(|dim| *dim != COLUMN).collect();
        let verdict = search.run(&left, active);
        let open = search.open.map(|by| self.fewest_columns(cell, &by));
        (verdict, open)
    }

    /// Whether the columns of `cell` are covered where exactly these boxes hold everything else.
    fn columns_covered(&self, cell: &Cell, by: &Pieces) -> bool {
        let left = self.not_denied(cell, by);
        left.is_empty() || self.lie_in_one(&left, by)
    }

    /// The columns of `cell` that none of the denies takes.
    fn not_denied(&self, cell: &Cell, by: &Pieces) -> Bits {
        let denied = by.iter().filter(|piece| self.pieces[*piece].denies);
        denied.fold(cell.dims[COLUMN].clone(), |left, piece| left.less(&self.pieces[piece].cell.dims[COLUMN]))
    }

    /// Whether one of the permits has all of these columns.
    fn lie_in_one(&self, columns: &Bits, by: &Pieces) -> bool {
        let mut permits = by.iter().filter(|piece| !self.pieces[*piece].denies);
        permits.any(|piece| columns.is_subset(&self.pieces[piece].cell.dims[COLUMN]))
    }

    /// Of the columns that no permit has together, some that would be covered if there was one less.
    fn fewest_columns(&self, cell: &Cell, by: &Pieces) -> Bits {
        let mut columns = self.not_denied(cell, by);
        let all: Vec<usize> = columns.iter().collect();
        for column in all.into_iter().rev() {
            let fewer = columns.without(column);
            if !fewer.is_empty() && !self.lie_in_one(&fewer, by) {
                columns = fewer;
            }
        }
        columns
    }
}

/// Whether these permits and denies cover a box, and columns with which they do not although they would with fewer.
/// Takes from `budget` what it costs.
pub(in crate::policy) fn covers_together(
    space: &Space,
    cell: &Cell,
    permits: &[Cell],
    denies: &[Cell],
    budget: &mut u64,
) -> (Verdict, Option<Bits>) {
    let others = permits.iter().map(|cell| (cell, false)).chain(denies.iter().map(|cell| (cell, true)));
    let touching = others.filter(|(other, _)| other.intersects(cell));
    let pieces: Vec<Piece> = touching.map(|(cell, denies)| Piece { cell: cell.clone(), denies }).collect();
    let cost = pieces.len() * space.sizes().iter().sum::<usize>() / 64;
    *budget = budget.saturating_sub(cost as u64);
    let by = Pieces::of(0..pieces.len().min(MAX_PIECES));
    match Cover::new(space, pieces).filter(|_| *budget > 0) {
        Some(cover) => cover.search(cell, by, budget),
        None => (Verdict::Undecided, None),
    }
}

fn classes(pieces: &[Piece], dim: usize, size: usize) -> Vec<(Bits, Pieces)> {
    let mut classes: Vec<(Bits, Pieces)> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for atom in 0..size {
        let holding =
            Pieces::of(pieces.iter().enumerate().filter(|(_, p)| p.cell.dims[dim].contains(atom)).map(|(at, _)| at));
        let class = *known.entry(holding).or_insert_with(|| {
            classes.push((Bits::none(size), holding));
            classes.len() - 1
        });
        classes[class].0.insert(atom);
    }
    classes
}

struct Search<'a> {
    cover: &'a Cover,
    cell: &'a Cell,
    /// By dimension, the boxes that hold all of the cell's atoms.
    whole: Vec<Pieces>,
    /// What is known to be covered: the dimensions left and the boxes that still hold.
    covered: HashSet<(Vec<usize>, Pieces)>,
    /// The boxes that hold a use which they do not cover, once one is found.
    open: Option<Pieces>,
    budget: &'a mut u64,
}

impl Search<'_> {
    fn run(&mut self, left: &[usize], active: Pieces) -> Verdict {
        if !self.cover.columns_covered(self.cell, &active) {
            self.open = Some(active);
            return Verdict::Open;
        }
        let whole = left.iter().fold(active, |whole, dim| whole.and(&self.whole[*dim]));
        if self.cover.columns_covered(self.cell, &whole) || self.covered.contains(&(left.to_vec(), active)) {
            return Verdict::Covered;
        }
        // The last dimension has been tried and `whole` is `active`: unreachable, but then it is not covered.
        let Some((dim, hardest)) = self.narrowest(left, active) else { return Verdict::Open };
        let rest: Vec<usize> = left.iter().copied().filter(|other| *other != dim).collect();
        for selection in hardest {
            if *self.budget == 0 {
                return Verdict::Undecided;
            }
            match self.run(&rest, selection) {
                Verdict::Covered => {}
                verdict => return verdict,
            }
        }
        self.covered.insert((left.to_vec(), active));
        Verdict::Covered
    }

    /// The dimension with the fewest smallest selections, and these.
    fn narrowest(&mut self, left: &[usize], active: Pieces) -> Option<(usize, Vec<Pieces>)> {
        let mut best: Option<(usize, Vec<Pieces>)> = None;
        for dim in left.iter().copied() {
            let classes = &self.cover.classes[dim];
            *self.budget = self.budget.saturating_sub(classes.len() as u64);
            let inside = classes.iter().filter(|(atoms, _)| atoms.intersects(&self.cell.dims[dim]));
            let hardest = smallest(inside.map(|(_, holding)| active.and(holding)).collect());
            if best.as_ref().is_none_or(|(_, fewest)| hardest.len() < fewest.len()) {
                let only_one = hardest.len() == 1;
                best = Some((dim, hardest));
                if only_one {
                    break;
                }
            }
        }
        best
    }
}

/// Most selections that are compared with each other; more are all tried.
const MOST_COMPARED: usize = 512;

/// Those that contain no other one.
fn smallest(mut selections: Vec<Pieces>) -> Vec<Pieces> {
    selections.sort_unstable();
    selections.dedup();
    if selections.len() > MOST_COMPARED {
        return selections;
    }
    let contains_another = |one: &Pieces| selections.iter().any(|other| other != one && other.is_subset(one));
    selections.iter().filter(|one| !contains_another(one)).copied().collect()
}
