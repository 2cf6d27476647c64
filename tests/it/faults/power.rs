//! Power loss: of what was written, only what was synced is left.
//!
//! `strace` records every write and sync of the database's files. For each answer that somebody got, the files are
//! made anew as they may be after a loss of power at that moment: with all that was not synced lost, and with every
//! other write of it lost. Kills do not show this, since the kernel keeps what a dead process wrote.
//!
//! The simulation must bite: it has to find lost answers where SQLite is told `synchronous = NORMAL`, and at a hub whose
//! syncs of the write-ahead log do not reach the disk, which is what NORMAL comes to.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use odh::domain::{Clock as _, SystemClock};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{
    Template, files,
    told::Told,
    tracer::{SYNC, Tracer},
};
use crate::harness::sane;

/// Changes and queries before the power fails.
const STEPS: usize = 4;
const CALLS: &str = "trace=pwrite64,pwritev,write,fdatasync,fsync,ftruncate";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_power_loses_nothing_that_was_acknowledged() {
    let Some(lost) = hub_without_power(&["-e", CALLS]).await else { return };
    assert_eq!(lost, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulation_finds_what_a_hub_loses_whose_syncs_do_not_reach_the_disk() {
    let swallowed = format!("inject={SYNC}:retval=0");
    let Some(lost) = hub_without_power(&["-e", CALLS, "-e", &swallowed]).await else { return };
    assert!(lost.len() > STEPS, "{lost:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulation_finds_what_sqlite_loses_with_synchronous_normal_and_nothing_with_full() {
    let Some(full) = sqlite_without_power("FULL").await else { return };
    assert_eq!(full, 0);
    assert!(sqlite_without_power("NORMAL").await.unwrap() > 0, "NORMAL loses what it has acknowledged");
}

/// What of its answers a hub has lost, over all moments at which the power may fail.
async fn hub_without_power(tracing: &[&str]) -> Option<Vec<String>> {
    let template = Template::new().await;
    let home = template.copy("power").await;
    let hub = home.serve().await;
    let actors = template.actors(&hub).await;
    let tracer = Tracer::attach(hub.pid(), &files(&home), tracing, &home.dir().join("strace"))?;
    let before = files(&home).map(|file| fs::read(file).unwrap_or_default());
    let mut told = Told::default();
    let mut moments = Vec::new();
    for step in 0..STEPS {
        told.change(&actors.steward, &format!("power_{step}")).await;
        moments.push((now(), told.receipts.len()));
        told.query(&actors.requester).await;
        moments.push((now(), told.receipts.len()));
    }
    assert_eq!(told.refused, 0);
    let seen = tracer.detach().await;
    hub.kill();
    let disk = Disk { before, calls: calls(&seen) };
    assert!(disk.calls.len() > 4 * STEPS, "{} calls were seen", disk.calls.len());

    let mut lost = Vec::new();
    let image = template.copy("image").await;
    for (moment, receipts) in &moments {
        let known = Told { receipts: told.receipts[..*receipts].to_vec(), ..Told::default() };
        for torn in [false, true] {
            disk.after_loss(*moment, torn, &image);
            lost.extend(known.lost(&image.database_url, image.dir()).await);
        }
    }
    if lost.is_empty() {
        // As a whole, too: the hub starts on what is left, and goes on from the checkpoint it had given out.
        disk.after_loss(moments.last().unwrap().0, true, &image);
        fs::write(image.dir().join("keys.checkpoint"), &told.receipts.last().unwrap().checkpoint).unwrap();
        template.holds(&image, &told).await;
    }
    println!("{} moments, {} system calls, {} answers lost", moments.len(), disk.calls.len(), lost.len());
    Some(lost)
}

/// How many rows SQLite has lost that it had acknowledged.
async fn sqlite_without_power(synchronous: &str) -> Option<usize> {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "faults::power::a_plain_writer"])
        .env("ODH_PLAIN_WRITER", dir.path())
        .env("ODH_PLAIN_SYNCHRONOUS", synchronous)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(writer.stdout.take().unwrap());
    let mut acknowledged = || {
        let mut line = String::new();
        while !line.contains("committed") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the writer has ended");
        }
    };
    acknowledged();
    let paths = ["hub.db", "hub.db-wal"].map(|name| dir.path().join(name));
    let Some(tracer) = Tracer::attach(writer.id(), &paths, &["-e", CALLS], &dir.path().join("strace")) else {
        writer.kill().unwrap();
        writer.wait().unwrap();
        return None;
    };
    let before = paths.map(|path| fs::read(path).unwrap());
    let mut moments = Vec::new();
    for row in 1..=STEPS {
        writer.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        acknowledged();
        moments.push((now(), row + 1));
    }
    let seen = tracer.detach().await;
    writer.kill().unwrap();
    writer.wait().unwrap();
    let disk = Disk { before, calls: calls(&seen) };
    assert!(disk.calls.len() >= STEPS);
    let mut lost = 0;
    for (moment, rows) in moments {
        let image = tempfile::tempdir().unwrap();
        for (name, bytes) in ["hub.db", "hub.db-wal"].iter().zip(disk.left(moment, false)) {
            fs::write(image.path().join(name), bytes).unwrap();
        }
        let mut db = sane::connect(&format!("sqlite://{}/hub.db", image.path().display())).await;
        let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM plain").fetch_one(&mut db).await.unwrap();
        lost += rows - usize::try_from(found).unwrap();
    }
    Some(lost)
}

#[tokio::test]
#[ignore = "run by the_simulation_finds_what_sqlite_loses_with_synchronous_normal_and_nothing_with_full"]
async fn a_plain_writer() {
    let Ok(dir) = std::env::var("ODH_PLAIN_WRITER") else { return };
    let synchronous = std::env::var("ODH_PLAIN_SYNCHRONOUS").unwrap();
    let mut db = sane::connect(&format!("sqlite://{dir}/hub.db?mode=rwc")).await;
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE plain (n INTEGER)").await.unwrap();
    db.execute(AssertSqlSafe(format!("PRAGMA synchronous = {synchronous}"))).await.unwrap();
    let mut lines = std::io::stdin().lines();
    loop {
        db.execute("INSERT INTO plain VALUES (1)").await.unwrap();
        println!("committed");
        if lines.next().is_none() {
            db.close().await.unwrap();
            return;
        }
    }
}

fn now() -> Duration {
    Duration::from_micros(SystemClock.now().micros().unsigned_abs())
}

/// What a traced process did to one of the two files.
#[derive(Debug)]
enum Act {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { length: usize },
    Sync,
}

#[derive(Debug)]
struct Call {
    at: Duration,
    /// The database, or its write-ahead log.
    file: usize,
    act: Act,
}

/// The two files before, and everything that was done to them.
struct Disk {
    before: [Vec<u8>; 2],
    calls: Vec<Call>,
}

impl Disk {
    /// The files after a loss of power: nothing that was not synced, or only every other write of it.
    fn left(&self, moment: Duration, torn: bool) -> [Vec<u8>; 2] {
        let mut files = self.before.clone();
        let mut waiting: [Vec<&Act>; 2] = [Vec::new(), Vec::new()];
        for call in self.calls.iter().take_while(|call| call.at <= moment) {
            match &call.act {
                Act::Sync => waiting[call.file].drain(..).for_each(|act| act.apply(&mut files[call.file])),
                act => waiting[call.file].push(act),
            }
        }
        for (file, acts) in files.iter_mut().zip(waiting) {
            acts.into_iter().skip(1).step_by(2).filter(|_| torn).for_each(|act| act.apply(file));
        }
        files
    }

    fn after_loss(&self, moment: Duration, torn: bool, image: &crate::harness::process::Home) {
        let _ = fs::remove_file(image.dir().join("hub.db-shm"));
        for (path, bytes) in files(image).iter().zip(self.left(moment, torn)) {
            fs::write(path, bytes).unwrap();
        }
    }
}

impl Act {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(bytes);
            }
            Self::Cut { length } => file.resize(*length, 0),
            Self::Sync => {}
        }
    }
}

/// The calls in a tracer's log: `PID TIME name(FD<PATH>, ...) = RESULT`, in two parts if another thread came between.
fn calls(log: &[u8]) -> Vec<Call> {
    let text = String::from_utf8_lossy(log);
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((time, call)) = rest.trim_start().split_once(' ') else { continue };
        let whole = if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun);
            continue;
        } else if let Some((_, end)) = call.strip_prefix("<... ").and_then(|call| call.split_once(" resumed>")) {
            format!("{}{end}", unfinished.remove(pid).unwrap_or_default())
        } else {
            call.to_owned()
        };
        let at = Duration::from_secs_f64(time.parse().unwrap());
        calls.extend(parse(&whole).map(|(file, act)| Call { at, file, act }));
    }
    calls
}

fn parse(call: &str) -> Option<(usize, Act)> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ")?;
    let path = String::from_utf8(unescape(arguments.split_once('<')?.1.split_once('>')?.0)).ok()?;
    let file = match Path::new(&path).extension()?.to_str()? {
        "db" => 0,
        "db-wal" => 1,
        _ => return None,
    };
    let last = || arguments.rsplit_once(", ")?.1.parse::<usize>().ok();
    let act = match name {
        "pwrite64" => {
            let (_, data) = arguments.split_once(">, \"")?;
            let bytes = unescape(data.split_once('"')?.0);
            assert_eq!(result.parse::<usize>().ok()?, bytes.len(), "a write was cut in the trace");
            Act::Write { offset: last()?, bytes }
        }
        "ftruncate" => Act::Cut { length: last()? },
        // One that was swallowed is none.
        "fdatasync" | "fsync" => (result == "0").then_some(Act::Sync)?,
        other => panic!("{other} is not known to the simulation"),
    };
    Some((file, act))
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn a_trace_is_read_and_a_swallowed_sync_is_none() {
    let wal = "\\x2f\\x68\\x75\\x62\\x2e\\x64\\x62\\x2d\\x77\\x61\\x6c";
    let log = format!(
        "7 1.5 pwrite64(3<{wal}>, \"\\x61\\x62\", 2, 1) = 2\n8 1.6 fdatasync(3<{wal}> <unfinished ...>\n\
         7 1.7 fdatasync(3<{wal}>) = 0 (INJECTED)\n7 1.8 +++ exited with 0 +++\n8 1.9 <... fdatasync resumed>) = 0\n\
         7 2.0 pwrite64(3<{wal}>, \"\\x63\", 1, 0) = 1\n7 2.1 ftruncate(3<{wal}>, 2) = 0\n"
    );
    let disk = Disk { before: [Vec::new(), b"xxxx".to_vec()], calls: calls(log.as_bytes()) };
    let left = |moment, torn| String::from_utf8(disk.left(Duration::from_secs_f64(moment), torn)[1].clone()).unwrap();
    assert_eq!(disk.calls.len(), 4);
    assert_eq!([left(1.85, false), left(2.2, false), left(2.2, true)], ["xxxx", "xabx", "xa"]);
}
