//! `odh policy new` on a terminal: a person answers, is put right, gives up, and has a policy that the hub accepts.

use std::{fs, path::Path, process::Command};

use odh::cli::failure::Exit;
use odh::{domain::Policy, policy::manifest};

use crate::{
    harness::{
        Engine, Hub,
        terminal::{END_OF_INPUT, INTERRUPT, Terminal},
    },
    world::{self, World},
};

const NEW: &str = "policy new chu.stays --template research_aggregates";

/// A question of the template: the words that it is known by, the answers that do not fit with what is said of each,
/// and the one that does. An empty answer takes the default.
struct Question {
    asks: &'static str,
    wrong: &'static [(&'static str, &'static str)],
    right: &'static str,
}

const fn question(asks: &'static str, wrong: &'static [(&'static str, &'static str)], right: &'static str) -> Question {
    Question { asks, wrong, right }
}

/// What is asked, in the order of the template, in a language.
struct Words {
    locale: &'static str,
    questions: [Question; 9],
    accepted: &'static str,
    unfinished: &'static str,
}

const ENGLISH: Words = Words {
    locale: "C.UTF-8",
    questions: [
        question("For which kinds", &[("lab, cloud", "`cloud` is none of company, lab, public_body")], "lab"),
        question("From which countries", &[("France", "no ISO 3166-1 alpha-2 code")], "fr"),
        question("For which purposes", &[("alchemy", "is not a purpose of this hub")], "scientific_research"),
        question("On which legal basis", &[("habit", "one of consent, contract")], ""),
        question("From which day on", &[("tomorrow", "is not an RFC 3339 instant")], "2026-06-01"),
        question("Until which day", &[("2026-01-01", "it ends before it begins")], "2036-06-01"),
        question("Smallest group", &[("1", "a number, at least 2"), ("many", "a number, at least 2")], "12"),
        question("Most rows of an answer? [10000]", &[], ""),
        question("after how many days? [365]", &[("0", "a number, at least 1")], "30"),
    ],
    accepted: "the policy would be accepted",
    unfinished: "the answers end before the questions do",
};

const FRENCH: Words = Words {
    locale: "fr_FR.UTF-8",
    questions: [
        question("Pour quels types", &[("lab, cloud", "`cloud` n'est pas parmi company, lab, public_body")], "lab"),
        question("De quels pays", &[("France", "n'est pas un code ISO 3166-1 alpha-2")], "fr"),
        question("Pour quelles finalités", &[("alchemy", "n'est pas une finalité de ce hub")], "scientific_research"),
        question("Sur quelle base légale", &[("habit", "l'une de consent, contract")], ""),
        question("À partir de quel jour", &[("demain", "n'est pas un instant RFC 3339")], "2026-06-01"),
        question("Jusqu'à quel jour", &[("2026-01-01", "la fin précède le début")], "2036-06-01"),
        question("Plus petit groupe", &[("1", "un nombre, au moins 2"), ("douze", "un nombre, au moins 2")], "12"),
        question("Nombre maximal de lignes par réponse ? [10000]", &[], ""),
        question("après combien de jours ? [365]", &[("0", "un nombre, au moins 1")], "30"),
    ],
    accepted: "la politique serait acceptée",
    unfinished: "il manque des réponses aux questions",
};

/// Answers each question, wrongly first where a wrong answer is given: the manifest.
async fn interview(folder: &Path, words: &Words, args: &str) -> String {
    let mut terminal = Terminal::odh(folder, words.locale, args, "policy.yaml");
    for question in &words.questions {
        terminal.says(question.asks).await;
        for (answer, said) in question.wrong {
            terminal.types(answer);
            terminal.says(said).await;
            terminal.says(question.asks).await;
        }
        terminal.types(question.right);
    }
    let (code, screen) = terminal.ends().await;
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("dataset:"), "the manifest is for the file alone: {screen}");
    fs::read_to_string(folder.join("policy.yaml")).unwrap()
}

/// Makes the steward of the dataset the current context.
fn log_in(folder: &Path, world: &World) {
    let steward = &world.steward;
    for (file, text) in [("ca", &steward.site.ca_pem), ("cert", &steward.chain_pem), ("key", &steward.key_pem)] {
        fs::write(folder.join(file), text).unwrap();
    }
    let add = ["context", "add", "chu", "--hub", &steward.site.grpc, "--ca", "ca", "--cert", "cert", "--key", "key"];
    assert!(odh(folder, "C.UTF-8", &add).0, "a context");
}

/// Runs the binary without a terminal: whether it worked, and all that it says.
fn odh(folder: &Path, locale: &str, args: &[&str]) -> (bool, String) {
    let mut odh = Command::new(env!("CARGO_BIN_EXE_odh"));
    odh.args(args).current_dir(folder).env("ODH_HOME", folder.join("home")).env("LC_ALL", locale);
    let output = odh.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_answers_on_a_terminal_has_a_policy_that_the_hub_accepts() {
    let mut hub = Hub::start(Engine::Sqlite, "wizard").await.unwrap();
    let world = world::small(&mut hub).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    log_in(folder, &world);
    let mut made: Vec<Policy> = Vec::new();
    // On a terminal it asks without being told to.
    for (words, args) in [(ENGLISH, NEW.to_owned()), (FRENCH, format!("{NEW} --ask"))] {
        let text = interview(folder, &words, &args).await;
        let policy = manifest::parse(&text).unwrap();
        let rule = policy.rule("research").unwrap();
        assert_eq!((rule.how.aggregate_only, rule.how.max_rows), (Some(12), Some(10_000)), "{text}");
        assert_eq!((rule.who.kinds.len(), rule.who.countries.len(), rule.purposes.len()), (1, 1, 1), "{text}");
        assert_eq!(rule.when[0].until.unwrap().to_string(), "2036-06-01T00:00:00.000000Z");
        made.push(policy);
        let path = folder.to_owned();
        let check = move || odh(&path, words.locale, &["policy", "check", "-f", "policy.yaml"]);
        let (accepted, said) = tokio::task::spawn_blocking(check).await.unwrap();
        assert!(accepted && said.contains(words.accepted), "{said}");
    }
    assert_eq!(made[0], made[1], "the language of the questions is none of the policy's");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_has_no_policy() {
    for words in [ENGLISH, FRENCH] {
        let folder = tempfile::tempdir().unwrap();
        for (key, code) in [(INTERRUPT, 128 + 2), (END_OF_INPUT, Exit::Usage as i32)] {
            let mut terminal = Terminal::odh(folder.path(), words.locale, NEW, "policy.yaml");
            terminal.says(words.questions[0].asks).await;
            terminal.types("lab");
            terminal.says(words.questions[1].asks).await;
            terminal.presses(key);
            let (ended, screen) = terminal.ends().await;
            assert_eq!(ended, code, "{screen}");
            assert_eq!(screen.contains(words.unfinished), key == END_OF_INPUT, "{screen}");
            assert_eq!(fs::read_to_string(folder.path().join("policy.yaml")).unwrap(), "");
        }
    }
}
