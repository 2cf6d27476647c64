//! The real binary on a pseudo-terminal, as a person has it.
//!
//! `script` of util-linux makes the terminal: every crate that would needs `nix`, which asks for a feature of `libc`
//! that nothing else does, so that `cargo test` would build the query engine a second time.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use super::eventually;

/// How long a person waits for the next word.
const PATIENCE: Duration = Duration::from_secs(30);

/// What ends a line of answers without one.
pub(crate) const END_OF_INPUT: u8 = 0x04;
/// What interrupts the command.
pub(crate) const INTERRUPT: u8 = 0x03;

/// A command on a terminal of its own; its standard output goes to a file.
pub(crate) struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// How much of the screen has been read.
    read: usize,
}

impl Terminal {
    /// `odh ARGS > FILE` in `folder`, in the language of this locale.
    pub(crate) fn odh(folder: &Path, locale: &str, args: &str, file: &str) -> Self {
        let odh = env!("CARGO_BIN_EXE_odh");
        let mut script = Command::new("script");
        // What runs in the background of a shell is deaf to the interrupt key, and so is all that it starts.
        let command = format!("exec env --default-signal=INT,QUIT '{odh}' {args} > '{file}'");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ODH_")) {
            script.env_remove(name);
        }
        script.env("SHELL", "/bin/sh").env("ODH_HOME", folder.join("home")).env("LC_ALL", locale).env("TERM", "dumb");
        let mut child = script
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux is installed");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut output, seen) = (child.stdout.take().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut part = [0; 1_024];
            while let Ok(length @ 1..) = output.read(&mut part) {
                seen.lock().unwrap().extend(&part[..length]);
            }
        });
        Self { keys: child.stdin.take(), child, screen, reader: Some(reader), read: 0 }
    }

    /// Waits until the screen says this, after what was waited for before.
    pub(crate) async fn says(&mut self, text: &str) {
        let (screen, from) = (Arc::clone(&self.screen), self.read);
        let what = format!("the terminal says `{text}`");
        let found = eventually(&what, PATIENCE, || async {
            let screen = screen.lock().unwrap();
            let at = screen[from..].windows(text.len()).position(|part| part == text.as_bytes());
            at.map(|at| from + at + text.len())
        });
        self.read = found.await;
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.keys.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Presses a key.
    pub(crate) fn presses(&mut self, key: u8) {
        self.keys.as_mut().unwrap().write_all(&[key]).unwrap();
    }

    /// Waits for the end: the exit code, as a shell has it, and all that was on the screen.
    pub(crate) async fn ends(mut self) -> (i32, String) {
        let ended = eventually("the command ends", PATIENCE, || {
            let status = self.child.try_wait().unwrap();
            async move { status }
        });
        let status = ended.await;
        self.reader.take().unwrap().join().unwrap();
        let screen = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
        (status.code().unwrap(), screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already at its end if the test has waited for it; `script` takes the command with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
