//! Answers by flags, by lines, and by nobody; what does not fit is asked again or refused.

use clap::Parser;

use super::*;
use crate::cli::{
    env::{Env, Lang},
    output::Out,
};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The manifest, what was said to the person, and whether it worked.
fn new(lang: Lang, line: &str, answers: Option<&str>) -> (String, String, Result<(), Failure>) {
    let args = Line::try_parse_from(std::iter::once("new").chain(line.split(' '))).unwrap().args;
    let (mut out, stdout, stderr) = Out::captured(lang);
    let env = Env::default();
    let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
    let mut lines = answers.map(str::as_bytes);
    let done = write(&args, lines.as_mut().map(|lines| lines as &mut dyn BufRead), &mut session);
    (stdout.text(), stderr.text(), done)
}

#[test]
fn without_questions_and_flags_it_is_the_template_as_it_is_written() {
    let (text, said, done) = new(Lang::En, "chu.stays --template research_aggregates", None);
    done.unwrap();
    assert!(text.starts_with("# Scientific research") && said.is_empty(), "{text}");
    assert_eq!(manifest::parse(&text).unwrap().dataset.to_string(), "chu.stays");
}

#[test]
fn each_template_asks_and_every_default_fits() {
    for template in TEMPLATES {
        let line = format!("chu.stays --template {}", template.name);
        // A partner has no default.
        let answers = if template.name == "named_partner" { "irit\n".to_owned() } else { String::new() };
        let (text, said, done) = new(Lang::En, &line, Some(&format!("{answers}{}", "\n".repeat(20))));
        done.unwrap();
        assert!(said.contains('?'), "{said}");
        let policy = manifest::parse(&text).unwrap();
        assert!(!text.contains("owner"), "{text}");
        crate::policy::CompiledPolicy::new(policy).unwrap();
    }
}

#[test]
fn answers_are_tried_at_once_and_asked_for_again() {
    let answers =
        "lab, cloud\nlab\nFrance\nfr\nalchemy\nscientific_research\n\n2026-06-01\n2026-01-01\n2027-06-01\n1\n12\n\n\n";
    let (text, said, done) = new(Lang::En, "chu.stays --template research_aggregates", Some(answers));
    done.unwrap();
    for wrong in [
        "`cloud` is none of",
        "`FRANCE` is no ISO",
        "`alchemy` is not a purpose",
        "ends before it begins",
        "at least 2",
    ] {
        assert!(said.contains(wrong), "{wrong}: {said}");
    }
    let policy = manifest::parse(&text).unwrap();
    let rule = policy.rules.iter().find(|rule| is_use(rule)).unwrap();
    assert_eq!((rule.who.kinds.len(), list(&rule.who.countries)), (1, "FR".to_owned()));
    assert_eq!(rule.how.aggregate_only, Some(12));
    let told = format!("{} {}", rule.text.en, rule.text.fr);
    assert!(
        !["ten ", "dix ", "consent"].iter().any(|term| told.contains(term)),
        "no term twice, else one is wrong: {told}"
    );
    assert_eq!(rule.when[0].until.unwrap().to_string(), "2027-06-01T00:00:00.000000Z");
    assert_eq!(rule.how.max_rows, Some(10_000), "the default");
}

#[test]
fn questions_speak_french() {
    let (_, said, _) = new(Lang::Fr, "chu.stays --template open_licence", Some("\n"));
    assert!(said.contains("Quelle mention faut-il porter ? [Source: chu, Licence Ouverte 2.0]"), "{said}");
}

#[test]
fn flags_answer_for_scripts_and_what_is_left_takes_its_default() {
    let line = "chu.stays --template named_partner --partners irit,acme --until 2099-01-01 --max-rows 10";
    let (text, said, done) = new(Lang::En, line, None);
    done.unwrap();
    assert!(said.is_empty(), "{said}");
    let policy = manifest::parse(&text).unwrap();
    assert_eq!(policy.rules[0].who.organisations.len(), 2);
    assert_eq!(policy.rules[0].how.max_rows, Some(10));
}

#[test]
fn a_flag_that_does_not_fit_is_refused_with_its_name() {
    for (line, said) in [
        ("chu.stays --template open_licence --smallest-group 5", "--smallest-group"),
        ("chu.stays --template research_aggregates --smallest-group 1", "--smallest-group: a number, at least 2"),
        ("chu.stays --template named_partner --max-rows 10", "--partners"),
    ] {
        let (text, _, done) = new(Lang::En, line, None);
        let failure = done.unwrap_err().to_string();
        assert!(failure.contains(said) && text.is_empty(), "{failure}");
    }
    assert!(new(Lang::En, "chu.stays --template research_aggregates", Some("lab\n")).2.is_err());
}
