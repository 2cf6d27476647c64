//! What the benches share: CPU time of a thread or of the process, percentiles of raw samples, and the table with each
//! figure beside its bar.
//!
//! CPU time and not the clock on the wall where one thread works, so that a busy machine changes the figures little; raw
//! samples and not a fitted model, because the bars are percentiles.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use cpu_time::ThreadTime;
use odh::domain::{Clock as _, SystemClock};

/// CPU times of single runs, sorted.
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// `runs` runs on this thread, after a twentieth of them to warm up.
    pub(crate) fn of_thread(runs: usize, mut run: impl FnMut(usize)) -> Self {
        (0..runs / 20).for_each(&mut run);
        Self::sorted((0..runs).map(|index| {
            let start = ThreadTime::now();
            run(index);
            start.elapsed()
        }))
    }

    /// Times that were measured elsewhere.
    pub(crate) fn sorted(samples: impl IntoIterator<Item = Duration>) -> Self {
        let mut samples: Vec<_> = samples.into_iter().collect();
        samples.sort_unstable();
        Self(samples)
    }

    /// The smallest sample that `percent` of all do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// Median and 99th percentile, in words.
    pub(crate) fn summary(&self) -> String {
        format!("median {:.1?}, p99 {:.1?}, {} samples", self.percentile(50), self.percentile(99), self.0.len())
    }
}

/// Rows of path, figure and bar.
pub(crate) struct Table {
    rows: Vec<(String, String, String, Option<bool>)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// A time that must not exceed its bar.
    pub(crate) fn time(&mut self, path: &str, figure: Duration, bar: Duration, note: &str) {
        self.push(path, format!("{figure:.1?} ({note})"), format!("<= {bar:?}"), Some(figure <= bar));
    }

    /// A number that must not exceed its bar.
    pub(crate) fn number(&mut self, path: &str, figure: f64, bar: f64, note: &str) {
        self.push(path, format!("{figure:.2} ({note})"), format!("<= {bar}"), Some(figure <= bar));
    }

    /// A number that must not fall below its bar.
    pub(crate) fn at_least(&mut self, path: &str, figure: f64, bar: f64, note: &str) {
        self.push(path, format!("{figure:.2} ({note})"), format!(">= {bar}"), Some(figure >= bar));
    }

    /// A figure without a bar.
    pub(crate) fn note(&mut self, path: &str, figure: &str) {
        self.push(path, figure.to_owned(), String::new(), None);
    }

    fn push(&mut self, path: &str, figure: String, bar: String, met: Option<bool>) {
        println!("{path}: {figure} {bar}");
        self.rows.push((path.to_owned(), figure, bar, met));
    }

    /// Prints the table, as Markdown; `clock` says what times are. The exit code says whether every bar is met.
    pub(crate) fn finish(self, title: &str, clock: &str) -> ExitCode {
        let mut text =
            format!("\n{title}\n{}; {clock}\n\n| path | measured | bar | met |\n|---|---|---|---|\n", machine());
        for (path, figure, bar, met) in &self.rows {
            let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
            let _ = writeln!(text, "| {path} | {figure} | {bar} | {met} |");
        }
        println!("{text}");
        if self.rows.iter().all(|row| row.3 != Some(false)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// When and on what this ran, in which profile it was built and what else the machine does.
fn machine() -> String {
    let profile =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.file_name()?.to_str()?.to_owned()));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let (now, profile) = (SystemClock.now().to_string(), profile.as_deref().unwrap_or("?"));
    let day = now.split('T').next().unwrap_or_default();
    format!("{day}, {}, {cores} cores, load {load}, profile {profile}", cpu.unwrap_or("an unknown processor"))
}
