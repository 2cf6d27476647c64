//! A hub as a process of its own: the real binary, to be killed, measured and told to end by a signal.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::{Engine, HUB_ID, Site, eventually};

/// How long a start may take on a busy machine before the test gives up.
const START: Duration = Duration::from_secs(30);

/// `odh serve` in a directory.
pub(crate) struct HubProcess {
    /// Where clients meet it.
    pub(crate) site: Site,
    /// From the start of the process to its line "I answer".
    pub(crate) started_in: Duration,
    child: Child,
}

/// The directory and configuration file of a hub that is served by processes, one after the other.
pub(crate) struct Home {
    dir: PathBuf,
    config: PathBuf,
    /// The complete URL of its database.
    pub(crate) database_url: String,
}

impl Home {
    /// A configuration in `dir`; none, after a visible line, if the engine is not installed.
    pub(crate) async fn new(engine: Engine, dir: &Path, name: &str) -> Option<Self> {
        let data = dir.join("data");
        let template = engine.database(name).await?;
        let database_url = template.replace("{data_dir}", data.to_str().unwrap());
        let config = dir.join("odh.toml");
        fs::create_dir_all(dir).unwrap();
        fs::write(&config, configuration(&data, &database_url)).unwrap();
        Some(Self { dir: data, config, database_url })
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first operator's one-time token, as the server leaves it.
    pub(crate) fn operator_token(&self) -> String {
        fs::read_to_string(self.dir.join("operator.token")).unwrap().trim().to_owned()
    }

    /// A hub in `dir` on the database of another.
    pub(crate) fn beside(other: &Self, dir: &Path) -> Self {
        let (data, config) = (dir.join("data"), dir.join("odh.toml"));
        fs::write(&config, configuration(&data, &other.database_url)).unwrap();
        Self { dir: data, config, database_url: other.database_url.clone() }
    }

    /// A hub whose directory another process sees as `data`, and this one as `seen`.
    pub(crate) fn elsewhere(data: &Path, seen: &Path) -> Self {
        let config = seen.with_extension("toml");
        let database_url = format!("sqlite://{}/hub.db", data.display());
        fs::write(&config, configuration(data, &database_url)).unwrap();
        Self { dir: seen.to_owned(), config: data.with_extension("toml"), database_url }
    }

    /// Starts the binary and waits until it says where it listens.
    pub(crate) async fn serve(&self) -> HubProcess {
        self.serve_under(&[]).await
    }

    /// Starts the binary as an argument of another command, which becomes it.
    pub(crate) async fn serve_under(&self, command: &[&str]) -> HubProcess {
        let (config, dir) = (self.config.clone(), self.dir.clone());
        let command = command.iter().map(ToString::to_string).collect::<Vec<_>>();
        tokio::task::spawn_blocking(move || HubProcess::spawn(&command, &config, &dir)).await.unwrap()
    }

    /// Starts the binary where it must refuse to, and gives what it says.
    pub(crate) async fn refuses(&self) -> String {
        // Should it start all the same, it ends.
        let bounded = ["timeout", "20"].map(str::to_owned);
        let mut command = odh(&bounded, &self.config);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(!output.status.success(), "the hub did start");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn configuration(data: &Path, database_url: &str) -> String {
    format!(
        "data_dir = \"{}\"\n[hub]\nid = \"{HUB_ID}\"\n[database]\nurl = \"{database_url}\"\n\
         [listen]\ngrpc = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\nops = \"127.0.0.1:0\"\n\
         [limits]\ndrain_timeout = \"10s\"\n[telemetry]\nlog = \"warn\"\n",
        data.display()
    )
}

/// `odh serve`, under another command if there is one.
fn odh(under: &[String], config: &Path) -> Command {
    let odh = env!("CARGO_BIN_EXE_odh").to_owned();
    let mut words = under.iter().chain(std::iter::once(&odh));
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["serve", "--ready-json", "--config"]).arg(config);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ODH_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

impl HubProcess {
    fn spawn(under: &[String], config: &Path, dir: &Path) -> Self {
        let started = Instant::now();
        let mut child = odh(under, config).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the hub did not start: {}", child.wait().unwrap());
        let started_in = started.elapsed();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| said[name].as_str().unwrap().to_owned();
        let ca_pem = fs::read_to_string(dir.join("ca.crt")).unwrap();
        let site = Site { grpc: address("grpc"), https: address("https"), ops: address("ops"), ca_pem };
        Self { site, started_in, child }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without any warning: SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end: SIGTERM.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < START, "the hub does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn is_ready(&self) {
        let url = format!("{}/health/ready", self.site.ops);
        eventually("the hub is ready", START, || async {
            let (status, _) = super::raw::get(&url).await.ok()?;
            (status == 200).then_some(())
        })
        .await;
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        // Already dead if the scenario has ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
