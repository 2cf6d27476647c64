//! The targets of `fuzz/` for manifests, ODRL and list filters, bounded and always with the same inputs: random texts, and
//! good ones with some bytes changed, cut or put elsewhere.

use odh::policy::{assets::TEMPLATES, manifest, odrl::to_odrl};
use proptest::{prelude::*, test_runner::TestRunner};

#[path = "../../fuzz/src/policy.rs"]
#[expect(unreachable_pub, reason = "shared with the fuzz targets, which are another crate")]
mod policy;

const FILTERS: [&str; 3] = [
    r#"type = "query.decision" AND time >= "2026-01-01T00:00:00Z" AND state=active"#,
    r#"type = "a \"b\" \\""#,
    "time < 2026-01-01",
];

/// Runs `read` over as many inputs, half of them random and half made from `seeds`.
fn feed(cases: u32, seeds: &[String], read: impl Fn(&str)) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let algorithm = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, algorithm);
    let random = prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ".{0,200}",
        "[\\[\\]{}:,\"'&*!|>%@` \n\t#a-z0-9-]{0,200}",
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..40), 1..6);
    let changed = (prop::sample::select(seeds.to_vec()), edits).prop_map(|(seed, edits)| {
        let mut bytes = seed.into_bytes();
        for (place, byte, length) in edits {
            let at = place.index(bytes.len());
            match length {
                0..10 => bytes[at] = byte,
                10..20 => bytes.insert(at, byte),
                20..30 => drop(bytes.drain(at..bytes.len().min(at + length))),
                _ => {
                    let part = bytes[at..bytes.len().min(at + length)].to_vec();
                    let to = usize::from(byte) * bytes.len() / 256;
                    bytes.splice(to..to, part);
                }
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let run = |text: String| {
        read(&text);
        Ok(())
    };
    runner.run(&prop_oneof![random, changed], run).unwrap();
}

#[test]
fn no_text_makes_the_reader_of_manifests_panic() {
    let seeds: Vec<_> = TEMPLATES.iter().map(|template| template.text.to_owned()).collect();
    feed(3_000, &seeds, policy::manifest);
}

#[test]
fn no_text_makes_the_reader_of_odrl_panic() {
    let policies = TEMPLATES.iter().map(|template| manifest::parse(template.text).unwrap());
    let seeds: Vec<_> = policies
        .map(|read| {
            // Under its digest any change is refused for the digest alone.
            let id = format!("urn:odh:policy:{}", read.digest());
            to_odrl(&read, &policy::WORDS).unwrap().to_string().replace(&id, "urn:x")
        })
        .collect();
    feed(3_000, &seeds, policy::odrl);
}

#[test]
fn no_text_makes_the_reader_of_filters_panic() {
    feed(5_000, &FILTERS.map(str::to_owned), policy::filter);
}
