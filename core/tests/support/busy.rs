//! How long processes wait for a processor: what a busy machine adds to everything they do.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Counts, from its making on, how long the threads of some processes wait for a processor.
///
/// A bound of time that leaves this out of the count says something of the library, and nothing of the machine. Threads
/// wait side by side, so that the sum is longer than the delay it has caused; on an idle machine it is milliseconds.
pub struct Waits {
    processes: Vec<u32>,
    /// By thread, in nanoseconds.
    before: BTreeMap<String, u64>,
}

impl Waits {
    /// This process and those.
    pub fn of(others: impl IntoIterator<Item = u32>) -> Waits {
        let processes: Vec<u32> = others.into_iter().chain([std::process::id()]).collect();
        let before = processes.iter().flat_map(|process| waited(*process)).collect();
        Waits { processes, before }
    }

    /// All together.
    pub fn so_far(&self) -> Duration {
        let now = self.processes.iter().flat_map(|process| waited(*process));
        let more = now.map(|(thread, waited)| waited.saturating_sub(self.before.get(&thread).copied().unwrap_or(0)));
        Duration::from_nanos(more.sum())
    }
}

/// How long each thread of a process has waited; nothing where the kernel does not count it.
fn waited(process: u32) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let waited = |path: std::path::PathBuf| {
        // Time on a processor, time spent waiting for one, and how often.
        let counts = fs::read_to_string(path.join("schedstat")).ok()?;
        Some((path.display().to_string(), counts.split_whitespace().nth(1)?.parse().ok()?))
    };
    tasks.filter_map(|task| waited(task.path())).collect()
}
