//! `strace` on a running hub: to make a system call fail, late or fatal, and to see what was written.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a tracer may take to let go: longer than any delay that it makes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A tracer at work. [`Tracer::detach`] ends it; the hub goes on.
pub(super) struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    /// Attaches to every thread of a process and acts on its system calls on these files alone. None, after a visible
    /// line, if there is no `strace`, or if it may not trace; a panic instead if `ODH_REQUIRE_STRACE=1`.
    pub(super) fn attach(pid: u32, files: &[PathBuf], options: &[&str], log: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-ttt", "-y", "-xx", "-s", "70000", "-o"]).arg(log);
        for file in files {
            command.arg("-P").arg(file);
        }
        command.args(options).args(["-p", &pid.to_string()]);
        let attached = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().ok().and_then(|mut child| {
            let mut said = BufReader::new(child.stderr.take()?);
            let mut line = String::new();
            said.read_line(&mut line).ok()?;
            // It goes on to tell of each new thread, and would end if nobody listened.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            line.contains("attached").then_some(Self { child, log: log.to_owned() })
        });
        if attached.is_none() {
            use std::io::Write as _;
            assert!(std::env::var("ODH_REQUIRE_STRACE").is_err(), "ODH_REQUIRE_STRACE is set, but strace cannot trace");
            let _ = writeln!(std::io::stderr(), "SKIPPED: faults of system calls (no strace, or it may not trace)");
        }
        attached
    }

    /// Lets the hub go, and gives what was seen.
    pub(super) async fn detach(mut self) -> Vec<u8> {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            // It may wait for ever for a thread that a fault has killed; without it the kernel lets the rest go.
            if started.elapsed() > PATIENCE {
                self.child.kill().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        fs::read(&self.log).unwrap()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Already gone if it was detached.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How SQLite syncs: with either, by how it was built.
pub(super) const SYNC: &str = "fsync,fdatasync";

/// Whether a fault was made, by what the tracer has seen.
pub(super) fn fired(log: &[u8]) -> bool {
    let log = String::from_utf8_lossy(log);
    log.contains("(INJECTED)") || log.contains("killed by SIGKILL")
}
