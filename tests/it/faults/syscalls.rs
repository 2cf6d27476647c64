//! The Nth write and the Nth sync of the database fail, or kill the hub, for N = 1, 2, ... until none is left.

use super::{Template, files, long, told::Told, tracer};

/// Changes and queries of one round.
const STEPS: usize = 3;
/// Far more writes or syncs than a round makes: the loops end before.
const MOST: usize = 400;

/// What happens to a system call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It fails once.
    Error(&'static str),
    /// It fails from then on, until the tracer lets go.
    ErrorsFromThenOn(&'static str),
    /// The process dies in it.
    Kill,
}

impl Fault {
    fn option(self, call: &str, n: usize) -> String {
        match self {
            Self::Error(error) => format!("inject={call}:error={error}:when={n}"),
            Self::ErrorsFromThenOn(error) => format!("inject={call}:error={error}:when={n}+"),
            Self::Kill => format!("inject={call}:signal=SIGKILL:when={n}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_sync_of_the_disk_may_fail() {
    every(tracer::SYNC, Fault::Error("EIO")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_may_die_in_any_sync() {
    every(tracer::SYNC, Fault::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_write_may_fail() {
    every("pwrite64", Fault::Error("EIO")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_may_be_full_from_any_write_on() {
    every("pwrite64", Fault::ErrorsFromThenOn("ENOSPC")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_may_die_in_any_write() {
    every("pwrite64", Fault::Kill).await;
}

/// Which calls fail: all of them, or ever fewer of the later ones.
fn numbers() -> impl Iterator<Item = usize> {
    let sampled = |n: &usize| long() || matches!(n, 1 | 2 | 3 | 5 | 9 | 17 | 33 | 65 | 129 | 257);
    (1..MOST).filter(sampled)
}

async fn every(call: &str, fault: Fault) {
    let template = Template::new().await;
    let (mut rounds, mut refused, mut slowest) = (0, 0, std::time::Duration::ZERO);
    for n in numbers() {
        let home = template.copy(&format!("round_{n}")).await;
        let hub = home.serve().await;
        let actors = template.actors(&hub).await;
        let log = home.dir().join("strace");
        let option = fault.option(call, n);
        let Some(tracer) = tracer::Tracer::attach(hub.pid(), &files(&home), &["-e", &option], &log) else { return };
        let mut told = Told::default();
        for step in 0..STEPS {
            actors.act(&format!("step_{step}"), &mut told).await;
        }
        let fired = tracer::fired(&tracer.detach().await);
        if fired && !matches!(fault, Fault::Kill) {
            // The disk works again: so does the hub, without a restart.
            let mut again = Told::default();
            actors.act("again", &mut again).await;
            assert_eq!(again.refused, 0, "{call} {n}: the hub does not recover");
            told.datasets.append(&mut again.datasets);
            told.receipts.append(&mut again.receipts);
        }
        hub.kill();
        template.holds(&home, &told).await;
        std::fs::remove_dir_all(home.dir().parent().unwrap()).unwrap();
        if !fired {
            assert_eq!(told.refused, 0, "{call} {n}: refused without a fault");
            break;
        }
        rounds += 1;
        refused += told.refused;
        slowest = slowest.max(told.slowest);
    }
    println!("{call}, {fault:?}: {rounds} rounds, {refused} calls refused, the slowest took {slowest:?}");
    assert!(rounds > 0 && refused > 0, "no fault was made");
}
