//! Synthetic people on the real communes of Occitanie: hospital stays, energy meters, consents.
//!
//! Everything follows from a seed, so that two runs write the same bytes. Nobody in it exists; the communes do, and
//! people live in them in proportion to their population. One population underlies both files: a person has the
//! same pseudonym, commune and heating in each, so that crossing them finds something (homes heated with wood have
//! more respiratory stays).

use std::io::{self, Write};

use super::population::{HEATINGS, Population, Random, Stream, WOOD, pseudonym, pseudonym_key};

/// The seed of the demo.
pub const SEED: u64 = 76_2025;
/// Rows of stays in the demo, over 60,000 patients.
pub const STAYS: u32 = 200_000;
/// Rows of meters in the demo, four readings for each of 60,000 people.
pub const METERS: u32 = 240_000;
/// People with a number below this may be patients; those beyond only have a meter.
const PATIENTS: u32 = 60_000;
/// Readings of a meter in a year.
const READINGS: u32 = 4;

/// ICD-10 codes with their weight among stays, usual cost in euros, and the least age at which they are given.
const DIAGNOSES: [(&str, u32, u32, u32); 20] = [
    ("I10", 70, 1_400, 30),
    ("I21.9", 40, 6_800, 35),
    ("I48.9", 45, 3_100, 40),
    ("I50.0", 60, 4_900, 45),
    ("I63.9", 40, 7_200, 40),
    ("C50.9", 35, 5_400, 30),
    ("C61", 30, 5_100, 45),
    ("C34.9", 25, 8_300, 40),
    ("E11.9", 65, 2_600, 25),
    ("F32.9", 40, 3_900, 15),
    ("G40.9", 20, 2_800, 0),
    ("K35.8", 45, 3_300, 5),
    ("K80.2", 45, 3_600, 20),
    ("M16.1", 40, 7_900, 50),
    ("M17.1", 45, 8_100, 50),
    ("N39.0", 55, 1_900, 0),
    ("S72.0", 50, 9_400, 55),
    ("S06.0", 45, 1_200, 0),
    ("J18.9", 80, 4_200, 0),
    ("J44.1", 50, 4_600, 40),
];
/// The first of the respiratory diagnoses, which end the list.
const RESPIRATORY: usize = 18;

/// How much more or less than the average each month takes, in per cent.
const SEASONS: [u32; 12] = [172, 158, 128, 96, 72, 58, 56, 56, 64, 88, 122, 160];

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// Hospital stays; the subject key is `patient`.
    Stays,
    /// Meter readings; the subject key is `person`.
    Meters,
}

impl Dataset {
    /// The numbers of the people in a file of `rows` rows: three quarters of those with a meter are patients too.
    fn people(self, rows: u32) -> impl Iterator<Item = u32> {
        let (patients, others) = match self {
            Self::Stays => ((rows / 10 * 3).clamp(1, PATIENTS), 0),
            Self::Meters => {
                let meters = rows.div_ceil(READINGS);
                let patients = (meters - meters / 4).min(PATIENTS);
                (patients, meters - patients)
            }
        };
        (0..patients).chain(PATIENTS..PATIENTS + others)
    }
}

/// Writes `rows` stays in order of admission: patient, commune, admitted, age, diagnosis, cost in euros.
pub fn stays(seed: u64, rows: u32, out: &mut impl Write) -> io::Result<()> {
    let patients = Population::new(seed, Dataset::Stays.people(rows).collect());
    let mut random = Random::new(seed, Stream::Stays);
    // Everybody once, the others at random; then in any order.
    let count = patients.people.len();
    let mut order: Vec<_> = (0..rows as usize).map(|n| if n < count { n } else { random.index(count) }).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.index(at + 1));
    }
    writeln!(out, "patient,commune,admitted,age,diagnosis,cost")?;
    let weights: [u32; DIAGNOSES.len()] = DIAGNOSES.map(|(_, weight, ..)| weight);
    for (place, row) in order.into_iter().zip(0_u64..) {
        let person = &patients.people[place];
        let (month, day) = day_of_2025(u32::try_from(row * 365 / u64::from(rows)).unwrap_or(0));
        let weight = |at: usize| match DIAGNOSES[at].3 > person.age {
            true => 0,
            false if at >= RESPIRATORY && person.heating == WOOD => weights[at] * 5 / 2,
            false => weights[at],
        };
        let (code, _, euros, _) = DIAGNOSES[random.weighted(DIAGNOSES.len(), weight)];
        let cents = euros * (60 + random.below(90)) + random.below(10_000);
        let (name, commune, age) = (&person.pseudonym, person.commune, person.age);
        writeln!(out, "{name},{commune},2025-{month:02}-{day:02},{age},{code},{}.{:02}", cents / 100, cents % 100)?;
    }
    Ok(())
}

/// Writes `rows` meter readings in order of months, four a year for each person: person, commune, month (its first
/// day), kwh, heating.
pub fn meters(seed: u64, rows: u32, out: &mut impl Write) -> io::Result<()> {
    let population = Population::new(seed, Dataset::Meters.people(rows).collect());
    let mut random = Random::new(seed, Stream::Meters);
    writeln!(out, "person,commune,month,kwh,heating")?;
    let mut left = rows;
    for (season, month) in SEASONS.iter().zip(1_usize..) {
        for person in population.people.iter().skip(month % 3).step_by(3) {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            let (heating, _, usual) = HEATINGS[person.heating];
            let tenths = usual * season / 100 * (55 + random.below(110)) / 100 + random.below(400);
            let (name, commune) = (&person.pseudonym, person.commune);
            writeln!(out, "{name},{commune},2025-{month:02}-01,{}.{},{heating}", tenths / 10, tenths % 10)?;
        }
    }
    Ok(())
}

/// Writes what the people of a file of `rows` rows consent to: subject, purpose, recipient (empty for any), status,
/// expires. Of a hundred, ninety give scientific research, one withdraws it, the rest never answered.
pub fn consents(seed: u64, dataset: Dataset, rows: u32, out: &mut impl Write) -> io::Result<()> {
    let stream = if dataset == Dataset::Stays { Stream::StayConsents } else { Stream::MeterConsents };
    let mut random = Random::new(seed, stream);
    let key = pseudonym_key(seed);
    writeln!(out, "subject,purpose,recipient,status,expires")?;
    for person in dataset.people(rows) {
        let answer = random.below(100);
        if answer > 90 {
            continue;
        }
        let (status, expires) = if answer < 90 { ("given", "2035-12-31") } else { ("withdrawn", "") };
        writeln!(out, "{},scientific_research,,{status},{expires}", pseudonym(&key, person))?;
    }
    Ok(())
}

/// Month and day of a day of the year 2025, counted from 0.
fn day_of_2025(mut day: u32) -> (u32, u32) {
    for (length, month) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].into_iter().zip(1..) {
        match day.checked_sub(length) {
            Some(rest) => day = rest,
            None => return (month, day + 1),
        }
    }
    (12, 31)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{HashMap, HashSet},
        time::Instant,
    };

    use super::*;
    use crate::{cli::demo::population::COMMUNES, domain::Digest};

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn rows(text: &str) -> Vec<Vec<&str>> {
        text.lines().skip(1).map(|line| line.split(',').collect()).collect()
    }

    fn subjects<'a>(rows: &[Vec<&'a str>]) -> HashSet<&'a str> {
        rows.iter().map(|row| row[0]).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_for_ever() {
        let digest = |text: String| Digest::of(text.as_bytes()).hex();
        let first = digest(text(|out| stays(1, 1_000, out)));
        assert_eq!(first, digest(text(|out| stays(1, 1_000, out))));
        assert_ne!(first, digest(text(|out| stays(2, 1_000, out))));
        assert_eq!(first, "44b58cd5921566292a94463f4a15561f55f5abdb04b6262390ba08034a8bd270");
        assert_eq!(
            digest(text(|out| meters(1, 1_000, out))),
            "f85eef53fb63e61eed293ed909a70b9db1e7b3abc007d23460166b2c8d3c0fa0"
        );
        assert_eq!(
            digest(text(|out| consents(1, Dataset::Stays, 1_000, out))),
            "f02caad5537f18ac51f17114e659a2c45e3b7efe12406c24ba5e77b1487e710f"
        );
    }

    #[test]
    fn the_demo_files_are_plausible_and_overlap_by_three_quarters() {
        let started = Instant::now();
        let stays_text = text(|out| stays(SEED, STAYS, out));
        let stays_time = started.elapsed();
        let meters_text = text(|out| meters(SEED, METERS, out));
        println!(
            "stays {stays_time:?}, both {:?}, {} + {} bytes",
            started.elapsed(),
            stays_text.len(),
            meters_text.len()
        );
        let (stays, meters) = (rows(&stays_text), rows(&meters_text));
        assert_eq!((stays.len(), meters.len()), (200_000, 240_000));
        let (patients, people) = (subjects(&stays), subjects(&meters));
        assert_eq!((patients.len(), people.len()), (60_000, 60_000));
        assert_eq!(patients.intersection(&people).count(), 45_000);
        assert!(patients.iter().all(|name| name.len() == 18 && name.starts_with("p_")));

        let communes: HashSet<_> = COMMUNES.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(communes.len(), 4_446);
        let home: HashMap<_, _> = stays.iter().map(|row| (row[0], row[1])).collect();
        assert!(stays.iter().all(|row| communes.contains(row[1]) && home[row[0]] == row[1]));
        assert!(meters.iter().all(|row| home.get(row[0]).is_none_or(|commune| *commune == row[1])));
        let toulouse = stays.iter().filter(|row| row[1] == "31555").count();
        assert!((12_000..24_000).contains(&toulouse), "{toulouse}");

        assert!(stays.iter().all(|row| row[3].parse::<u32>().unwrap() <= 100 && row[2].starts_with("2025-")));
        assert!(stays.is_sorted_by_key(|row| row[2].to_owned()));
        assert_eq!((stays[0][2], stays.last().unwrap()[2]), ("2025-01-01", "2025-12-31"));
        assert_eq!(stays.iter().map(|row| row[4]).collect::<HashSet<_>>().len(), DIAGNOSES.len());
        assert!(stays.iter().all(|row| row[5].split_once('.').unwrap().1.len() == 2));
        assert!(meters.iter().all(|row| row[3].split_once('.').unwrap().1.len() == 1));
        assert_eq!(meters.iter().map(|row| row[2]).collect::<HashSet<_>>().len(), 12);
    }

    #[test]
    fn crossing_the_files_shows_that_wood_goes_with_respiratory_stays() {
        let (stays_text, meters_text) = (text(|out| stays(SEED, 50_000, out)), text(|out| meters(SEED, 60_000, out)));
        let heating: HashMap<_, _> = rows(&meters_text).into_iter().map(|row| (row[0], row[4])).collect();
        let share = |wanted: &str| {
            let stays = rows(&stays_text);
            let of: Vec<_> = stays.iter().filter(|row| heating.get(row[0]) == Some(&wanted)).collect();
            of.iter().filter(|row| row[4].starts_with('J')).count() * 100 / of.len()
        };
        assert!(share("wood") > share("gas") + 8, "{} {}", share("wood"), share("gas"));
    }

    #[test]
    fn nine_subjects_in_ten_consent_and_a_few_withdraw() {
        for (dataset, size) in [(Dataset::Stays, STAYS), (Dataset::Meters, METERS)] {
            let text = text(|out| consents(SEED, dataset, size, out));
            let lines = rows(&text);
            let count = |status: &str| lines.iter().filter(|row| row[3] == status).count();
            assert!((53_400..54_600).contains(&count("given")), "{}", count("given"));
            assert!((450..750).contains(&count("withdrawn")), "{}", count("withdrawn"));
            assert_eq!(subjects(&lines).len(), lines.len());
            assert!(lines.iter().all(|row| row[1] == "scientific_research" && row[2].is_empty()));
        }
    }
}
