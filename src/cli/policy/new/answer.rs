//! Answers read and written into the policy, or why they do not fit.

use std::{collections::BTreeSet, str::FromStr};

use super::{About, is_use, list};
use crate::{
    domain::{Duty, Kind, LegalBasis, Policy, PurposeSlug, Timestamp, Vocabulary},
    policy::vocabulary,
};

const BASES: [LegalBasis; 7] = [
    LegalBasis::Consent,
    LegalBasis::Contract,
    LegalBasis::LegalObligation,
    LegalBasis::VitalInterests,
    LegalBasis::PublicInterest,
    LegalBasis::LegitimateInterests,
    LegalBasis::NotPersonal,
];

/// Why an answer does not fit, in English and French.
pub(super) type Wrong = (String, String);

/// Writes an answer into each permit of use.
pub(super) fn apply(about: About, answer: &str, policy: &mut Policy, vocabulary: &Vocabulary) -> Result<(), Wrong> {
    for rule in policy.rules.iter_mut().filter(|rule| is_use(rule)) {
        match about {
            About::Partners => rule.who.organisations = members(answer)?,
            About::Kinds => rule.who.kinds = members::<Kind>(answer)?,
            About::Countries => rule.who.countries = countries(answer)?,
            About::Purposes => rule.purposes = purposes(answer, vocabulary)?,
            About::LegalBasis => rule.legal_basis = Some(basis(answer)?),
            About::From => {
                let from = instant(answer)?;
                rule.when.truncate(1);
                rule.when.iter_mut().for_each(|window| window.from = Some(from));
            }
            About::Until => {
                let until = instant(answer)?;
                let began = rule.when.first().and_then(|window| window.from);
                if began.is_some_and(|from| until <= from) {
                    return Err(wrong("it ends before it begins", "la fin précède le début"));
                }
                rule.when.iter_mut().for_each(|window| window.until = Some(until));
            }
            About::SmallestGroup => rule.how.aggregate_only = Some(number(answer, 2)?),
            About::MaxRows => rule.how.max_rows = Some(number(answer, 1)?),
            About::DeleteAfter => {
                let days = number(answer, 1)?;
                replace(&mut rule.duties, |duty| matches!(duty, Duty::DeleteAfterDays(_)), Duty::DeleteAfterDays(days));
            }
            About::Attribution => {
                if answer.is_empty() || answer.chars().count() > 1_000 || answer.chars().any(char::is_control) {
                    return Err(wrong("1 to 1,000 characters", "1 à 1 000 caractères"));
                }
                replace(
                    &mut rule.duties,
                    |duty| matches!(duty, Duty::Attribute(_)),
                    Duty::Attribute(answer.to_owned()),
                );
            }
        }
    }
    Ok(())
}

fn replace(duties: &mut [Duty], which: impl Fn(&Duty) -> bool, new: Duty) {
    if let Some(duty) = duties.iter_mut().find(|duty| which(duty)) {
        *duty = new;
    }
}

fn wrong(en: impl Into<String>, fr: impl Into<String>) -> Wrong {
    (en.into(), fr.into())
}

fn words(answer: &str) -> impl Iterator<Item = &str> {
    answer.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn some<T: Ord>(members: BTreeSet<T>) -> Result<BTreeSet<T>, Wrong> {
    if members.is_empty() { Err(wrong("name at least one", "nommez-en au moins un")) } else { Ok(members) }
}

fn members<T: Ord + FromStr<Err = crate::error::Error>>(answer: &str) -> Result<BTreeSet<T>, Wrong> {
    let read: Result<BTreeSet<T>, _> = words(answer).map(str::parse).collect();
    some(read.map_err(|e| wrong(e.message_en(), e.message_fr()))?)
}

fn countries(answer: &str) -> Result<BTreeSet<String>, Wrong> {
    let codes: BTreeSet<String> = words(answer).map(str::to_ascii_uppercase).collect();
    match codes.iter().find(|code| code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase())) {
        Some(code) => {
            let code = code.escape_debug();
            Err(wrong(
                format!("`{code}` is no ISO 3166-1 alpha-2 code"),
                format!("`{code}` n'est pas un code ISO 3166-1 alpha-2"),
            ))
        }
        None => some(codes),
    }
}

fn purposes(answer: &str, vocabulary: &Vocabulary) -> Result<BTreeSet<PurposeSlug>, Wrong> {
    let known = words(answer).map(|slug| vocabulary::require(vocabulary, slug).map(|purpose| purpose.slug.clone()));
    let known: Result<BTreeSet<PurposeSlug>, _> = known.collect();
    some(known.map_err(|e| wrong(e.message_en(), e.message_fr()))?)
}

fn basis(answer: &str) -> Result<LegalBasis, Wrong> {
    BASES.into_iter().find(|basis| basis.as_str() == answer).ok_or_else(|| {
        let all = list(BASES.map(LegalBasis::as_str));
        wrong(format!("one of {all}"), format!("l'une de {all}"))
    })
}

fn instant(answer: &str) -> Result<Timestamp, Wrong> {
    answer.parse().map_err(|e: crate::error::Error| wrong(e.message_en(), e.message_fr()))
}

fn number<T: TryFrom<u64>>(answer: &str, least: u64) -> Result<T, Wrong> {
    let number = answer.replace([' ', '_'], "").parse::<u64>().ok().filter(|number| *number >= least);
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| wrong(format!("a number, at least {least}"), format!("un nombre, au moins {least}")))
}
