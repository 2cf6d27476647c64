//! A disk that is full, and one that hangs.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    Template, copy, files,
    told::Told,
    tracer::{SYNC, Tracer},
};
use crate::harness::{eventually, process::Home, raw};

/// What the small disk holds besides the hub's own files.
const SIZE: &str = "size=24m";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_answered_and_with_space_everything_again() {
    let template = Template::new().await;
    let Some(disk) = SmallDisk::mount(template.dir.path()) else { return };
    copy(template.home.dir(), &disk.seen.join("data"));
    let home = Home::elsewhere(&disk.path.join("data"), &disk.seen.join("data"));
    let hub = home.serve_under(&["nsenter", "--mount", &format!("--target={}", disk.holder.id())]).await;
    let actors = template.actors(&hub).await;
    let mut told = Told::default();
    actors.act("with_space", &mut told).await;
    assert_eq!(told.refused, 0);

    let ballast = disk.seen.join("ballast");
    fill(&ballast);
    // What lies in the log already can be written over; at the latest then there is no more space.
    for number in 0..200 {
        actors.act(&format!("full_{number}"), &mut told).await;
        if told.refused > 5 {
            break;
        }
    }
    assert!(told.refused > 5, "the disk was not full");
    let (live, _) = raw::get(&format!("{}/health/live", hub.site.ops)).await.unwrap();
    assert_eq!(live, 200);
    fs::remove_file(&ballast).unwrap();
    let mut again = Told::default();
    actors.act("space_again", &mut again).await;
    assert_eq!(again.refused, 0, "the hub does not recover");
    told.datasets.append(&mut again.datasets);
    told.receipts.append(&mut again.receipts);
    println!("full disk: {} refused, the slowest took {:?}", told.refused, told.slowest);

    hub.terminate();
    assert!(hub.ended().await.success());
    let after = template.dir.path().join("after");
    copy(&disk.seen.join("data"), &after.join("data"));
    template.holds(&Home::new(crate::harness::Engine::Sqlite, &after, "after").await.unwrap(), &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_keeps_nobody_waiting_and_reads_go_on() {
    let template = Template::new().await;
    let home = template.copy("hung").await;
    let hub = home.serve().await;
    let actors = template.actors(&hub).await;
    let log = home.dir().join("strace");
    let hang = format!("inject={SYNC}:delay_enter=4000000");
    let Some(tracer) = Tracer::attach(hub.pid(), &files(&home), &["-e", &hang], &log) else { return };
    let mut told = Told::default();
    for number in 0..3 {
        actors.act(&format!("hung_{number}"), &mut told).await;
        actors.steward.get_dataset("stays").await.unwrap();
    }
    assert_eq!(told.refused, 6, "nobody is told that it is done");
    tracer.detach().await;
    eventually("the hub works again", Duration::from_secs(10), || async {
        let mut again = Told::default();
        again.change(&actors.steward, "works_again").await;
        (again.refused == 0).then_some(())
    })
    .await;
    println!("hung disk: the slowest refusal took {:?}", told.slowest);
    hub.kill();
    template.holds(&home, &told).await;
}

/// A small file system in a mount namespace of its own, which ends with the process that holds it.
struct SmallDisk {
    holder: Child,
    /// Where whoever is in the namespace finds it.
    path: PathBuf,
    /// Where this process finds it.
    seen: PathBuf,
}

impl SmallDisk {
    /// None, after a visible line, without the right to mount; a panic instead if `ODH_REQUIRE_STRACE=1`.
    fn mount(dir: &Path) -> Option<Self> {
        let path = dir.join("disk");
        fs::create_dir(&path).unwrap();
        let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && echo mounted && read -r _";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", SIZE]).arg(&path);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let disk = holder.ok().and_then(|mut holder| {
            let mut said = String::new();
            BufReader::new(holder.stdout.take()?).read_line(&mut said).ok()?;
            let seen = Path::new(&format!("/proc/{}/root", holder.id())).join(path.strip_prefix("/").ok()?);
            (said == "mounted\n").then_some(Self { holder, path, seen })
        });
        if disk.is_none() {
            assert!(std::env::var("ODH_REQUIRE_STRACE").is_err(), "the tests may not mount a small disk");
            let _ = writeln!(std::io::stderr(), "SKIPPED: full disk (not allowed to mount one)");
        }
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Takes all the space there is.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    for piece in [vec![0_u8; 64 * 1024], vec![0; 512]] {
        while file.write_all(&piece).is_ok() {}
    }
}
