//! A small generator of choices: the same for the same seed on every machine.

/// `SplitMix64` (Steele, Lea and Flood 2014), one sequence for each query.
#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64, query: u64) -> Self {
        Self(seed.wrapping_add(query.wrapping_mul(0x2545_F491_4F6C_DD1D)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// Marks of a division and of a modulo in a generated text, whose forms differ between the hub and the evaluator.
pub(super) const DIVIDE: char = '÷';
pub(super) const MODULO: char = '¿';
pub(super) const END: char = '»';

/// The text for the hub.
pub(super) fn for_hub(text: &str) -> String {
    text.replace(DIVIDE, " / ").replace(MODULO, " % ").replace(END, ")")
}

/// The text for the evaluator: the total forms written out.
pub(super) fn for_evaluator(text: &str) -> String {
    text.replace(DIVIDE, " / nullif(").replace(MODULO, " % nullif(").replace(END, ", 0))").replace("CAST(", "TRY_CAST(")
}
