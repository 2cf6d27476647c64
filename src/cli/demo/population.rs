//! The people behind the synthetic files, and the randomness that everything is drawn from.

use aws_lc_rs::hmac;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

/// The real communes: INSEE, DGCL, Etalab, COG 2026, Licence Ouverte 2.0 (see `data/README.md`).
pub const COMMUNES: &str = include_str!("../../../data/communes-occitanie.csv");

/// Heating: its name, its share of homes in per cent, and tenths of kWh of electricity in an average month.
pub(super) const HEATINGS: [(&str, u32, u32); 4] =
    [("electric", 41, 7_400), ("gas", 33, 2_300), ("wood", 14, 2_500), ("heat_pump", 12, 4_600)];
/// Wood among them.
pub(super) const WOOD: usize = 2;

/// Somebody who does not exist.
pub(super) struct Person {
    pub(super) pseudonym: String,
    pub(super) commune: &'static str,
    pub(super) age: u32,
    /// Index in [`HEATINGS`].
    pub(super) heating: usize,
}

pub(super) struct Population {
    pub(super) people: Vec<Person>,
}

impl Population {
    /// The people of these ascending numbers. A person is the same whatever others are asked for.
    pub(super) fn new(seed: u64, numbers: Vec<u32>) -> Self {
        let communes = Communes::parse();
        let key = pseudonym_key(seed);
        let mut random = Random::new(seed, Stream::People);
        let mut people = Vec::with_capacity(numbers.len());
        let mut next = 0;
        for number in numbers {
            // Skips those who are not asked for; each takes the same amount of randomness.
            for _ in next..number {
                random.skip_person();
            }
            next = number + 1;
            let commune = communes.pick(&mut random);
            let age = match random.below(100) {
                0..=14 => random.below(20),
                _ => 18 + random.below(42) + random.below(41),
            };
            let heating = random.weighted(HEATINGS.len(), |at| HEATINGS[at].1);
            random.align();
            people.push(Person { pseudonym: pseudonym(&key, number), commune, age, heating });
        }
        Self { people }
    }
}

/// The communes, to be picked in proportion to their population.
struct Communes {
    codes: Vec<&'static str>,
    /// For each commune the population of it and all before it.
    up_to: Vec<u32>,
}

impl Communes {
    /// The code is the first cell of a line and the population the last; neither is ever quoted.
    fn parse() -> Self {
        let mut total = 0;
        let (codes, up_to) = COMMUNES
            .lines()
            .skip(1)
            .filter_map(|line| {
                let population: u32 = line.rsplit_once(',')?.1.parse().ok()?;
                total += population;
                Some((line.split_once(',')?.0, total))
            })
            .unzip();
        Self { codes, up_to }
    }

    fn pick(&self, random: &mut Random) -> &'static str {
        let place = random.below(self.up_to.last().copied().unwrap_or(0));
        self.codes[self.up_to.partition_point(|up_to| *up_to <= place)]
    }
}

/// Independent streams of one seed, so that one file does not depend on what another draws.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    People,
    Stays,
    Meters,
    StayConsents,
    MeterConsents,
}

pub(super) struct Random(ChaCha8Rng);

impl Random {
    /// Words that a person takes at most: commune, age (three), heating, and room to grow.
    const PERSON_WORDS: u128 = 8;

    pub(super) fn new(seed: u64, stream: Stream) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream as u64);
        Self(generator)
    }

    /// A number below `end`; its bias is below `end` / 2^32. Zero for zero.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        u32::try_from((u64::from(self.0.next_u32()) * u64::from(end)) >> 32).unwrap_or(0)
    }

    /// An index of something that long.
    pub(super) fn index(&mut self, length: usize) -> usize {
        self.below(u32::try_from(length).unwrap_or(u32::MAX)) as usize
    }

    /// An index below `length`, in proportion to its weight.
    pub(super) fn weighted(&mut self, length: usize, weight: impl Fn(usize) -> u32) -> usize {
        let mut place = self.below((0..length).map(&weight).sum());
        for at in 0..length {
            match place.checked_sub(weight(at)) {
                Some(rest) => place = rest,
                None => return at,
            }
        }
        0
    }

    fn skip_person(&mut self) {
        self.0.set_word_pos(self.0.get_word_pos() + Self::PERSON_WORDS);
    }

    /// Goes on to where the next person begins.
    fn align(&mut self) {
        let at = self.0.get_word_pos();
        self.0.set_word_pos(at.next_multiple_of(Self::PERSON_WORDS));
    }
}

pub(super) fn pseudonym_key(seed: u64) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes())
}

/// What an authority of the region would give out: a keyed hash that says nothing about the person.
pub(super) fn pseudonym(key: &hmac::Key, person: u32) -> String {
    let tag = hmac::sign(key, &person.to_be_bytes());
    let mut word = [0; 8];
    word.copy_from_slice(&tag.as_ref()[..8]);
    format!("p_{:016x}", u64::from_be_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_the_same_whoever_else_is_asked_for() {
        let everybody = Population::new(1, (0..100).collect());
        let few = Population::new(1, vec![3, 50, 99]);
        for (person, number) in few.people.iter().zip([3, 50, 99]) {
            let same: &Person = &everybody.people[number];
            assert_eq!((person.commune, person.age, person.heating), (same.commune, same.age, same.heating));
        }
    }
}
