//! `docs/tutorial.md` is true: its commands run as they stand there, in order, against a hub that they start.
//!
//! A block is run if its info string is `sh`. One with `sh refused=TEXT` must fail and say TEXT on standard error.
//! All of them run in one bash, as a reader has one, so that a variable of one block holds in the next.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::Command,
};

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");
/// The page on policies; what it runs needs no hub.
const POLICIES: &str = include_str!("../../docs/policies.md");
/// The hub's addresses in the text; each gets a free port.
const PORTS: [&str; 3] = ["127.0.0.1:7443", "127.0.0.1:7444", "127.0.0.1:7445"];
/// Seconds for everything. Then the whole process group is ended, the hub included, and killed soon after.
const BOUND: &str = "120";
/// Lines of the log that a failure shows.
const SHOWN: usize = 60;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Line of its first command in the text, from 1.
    pub(crate) line: usize,
    /// What standard error must have, if it must be refused.
    refused: Option<String>,
    /// What a reader types.
    pub(crate) commands: String,
}

/// The blocks to run. Whatever else is fenced is for reading.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, fence)) = lines.next() {
        let Some(info) = fence.strip_prefix("```") else { continue };
        let commands: String = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").fold(
            String::new(),
            |mut all, line| {
                writeln!(all, "{line}").unwrap();
                all
            },
        );
        let refused = info.strip_prefix("sh refused=").map(str::to_owned);
        if info == "sh" || refused.is_some() {
            found.push(Block { line: index + 2, refused, commands });
        } else {
            assert!(!info.starts_with("sh"), "line {}: `{info}` is neither run nor refused", index + 1);
        }
    }
    found
}

/// One script of all blocks. However it ends, what it started in the background is ended and waited for.
pub(crate) fn script(blocks: &[Block]) -> String {
    let mut script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n".to_owned();
    for Block { line, refused, commands } in blocks {
        writeln!(script, "echo '### line {line}'").unwrap();
        match refused {
            None => script.push_str(commands),
            // Not in a condition, where `-e` would not hold.
            Some(reason) => writeln!(
                script,
                "set +e\n( set -e\n{commands}) 2> refused.txt\ncode=$?\nset -e\ncat refused.txt >&2\n\
                 if [ $code = 0 ]; then echo 'line {line} was not refused'; exit 1; fi\n\
                 if ! grep -qF '{reason}' refused.txt; then echo 'line {line} was not refused for `{reason}`'; exit 1; fi"
            )
            .unwrap(),
        }
    }
    script
}

/// Runs the script in `folder`; the end of its log if it failed.
pub(crate) fn run(script: &str, folder: &Path) -> Result<String, String> {
    let (file, log) = (folder.join("tutorial.sh"), folder.join("tutorial.log"));
    fs::write(&file, script).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_odh")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(binaries.to_owned()).chain(std::env::split_paths(&path))).unwrap();
    let output = File::create(&log).unwrap();
    let mut bash = Command::new("timeout");
    bash.args(["--kill-after=10", BOUND, "bash"]).arg(&file).current_dir(folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ODH_")) {
        bash.env_remove(name);
    }
    bash.env("PATH", path).env("REPO", env!("CARGO_MANIFEST_DIR")).env("LC_ALL", "C.UTF-8");
    // A file and no pipe: nobody waits for a reader, whatever is left running.
    let status = bash.stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
    let log = fs::read_to_string(&log).unwrap();
    if status.success() {
        return Ok(log);
    }
    let lines: Vec<&str> = log.lines().collect();
    let hub = fs::read_to_string(folder.join("hub.log")).unwrap_or_default();
    Err(format!("{status}\n{}\nhub.log:\n{hub}", lines[lines.len().saturating_sub(SHOWN)..].join("\n")))
}

#[test]
fn every_command_of_the_tutorial_works_and_every_refusal_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(TUTORIAL);
    let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut script = script(&blocks);
    for (port, listener) in PORTS.iter().zip(&listeners) {
        assert!(script.contains(port), "{port} is in the tutorial");
        script = script.replace(port, &listener.local_addr().unwrap().to_string());
    }
    drop(listeners);
    let log = run(&script, folder.path()).unwrap_or_else(|log| panic!("{log}"));
    assert_eq!(log.matches("### line ").count(), blocks.len(), "every block has run");
}

#[test]
fn every_command_of_the_page_on_policies_works() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(POLICIES);
    let log = run(&script(&blocks), folder.path()).unwrap_or_else(|log| panic!("{log}"));
    assert_eq!(log.matches("### line ").count(), blocks.len(), "every block has run");
}

#[test]
fn the_examples_of_the_page_on_policy_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    let tests = folder.path().join("tests");
    fs::create_dir(&tests).unwrap();
    fs::write(folder.path().join("stays.yaml"), include_str!("../../policies/demo/stays.yaml")).unwrap();
    let page = include_str!("../../docs/policy-tests.md");
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 2, "one for usage, one for roles");
    for (number, text) in examples.iter().enumerate() {
        fs::write(tests.join(format!("{number}.yaml")), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_odh")).args(["policy", "test"]).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("marketing is prohibited"), "{said}");
}

#[test]
fn the_tutorial_tells_the_whole_story() {
    let blocks = blocks(TUTORIAL);
    let all: String = blocks.iter().map(|block| block.commands.as_str()).collect();
    for noun in
        ["participant", "member", "dataset", "policy", "access", "grant", "consent", "query", "audit", "charter"]
    {
        assert!(all.contains(&format!(" {noun} ")), "{noun}");
    }
    assert!(blocks.iter().filter(|block| block.refused.is_some()).count() >= 12);
}

#[test]
fn blocks_are_found_with_their_lines_and_what_must_be_refused_must_be() {
    let text = "Text\n```sh\ntrue\n```\n```text\nno\n```\n```sh refused=so there\nfalse\n```\n";
    let found = blocks(text);
    assert_eq!(found.iter().map(|block| block.line).collect::<Vec<_>>(), [3, 9]);
    assert_eq!(found[1].refused.as_deref(), Some("so there"));
    let folder = tempfile::tempdir().unwrap();
    let outcome = |text: &str| run(&script(&blocks(text)), folder.path());
    assert!(outcome("```sh\nx=1\n```\n```sh\ntest $x = 1\n```\n").is_ok());
    assert!(outcome("```sh\nfalse\ntrue\n```\n").is_err());
    assert!(outcome("```sh refused=no\necho no >&2; false; true\n```\n").is_ok());
    for (text, said) in [
        ("```sh refused=no\necho no >&2\n```\n", "line 2 was not refused"),
        ("```sh refused=no\necho yes >&2; false\n```\n", "was not refused for `no`"),
    ] {
        let log = outcome(text).unwrap_err();
        assert!(log.contains(said), "{log}");
    }
}

#[test]
fn what_a_failed_tutorial_has_started_does_not_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks("```sh\nsleep 300 &\necho $! > pid\n```\n```sh\nfalse\n```\n");
    run(&script(&blocks), folder.path()).unwrap_err();
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    let state = fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
    assert_ne!(state.trim(), "sleep");
}
