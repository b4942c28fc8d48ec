//! The table of a run of all faults, as it stands in `core/docs/faults.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::sync::PoisonError;
use std::time::Duration;

use etcd_leader::Api;

use super::candidate::Binding;
use super::catalogue::{FAULTS, Fault};
use super::fence::{STORIES, Story};
use super::run::{Outcome, Victim};
use super::timeline::seconds;
use support::etcd_binary;

/// What became of each run: fault, API, who led.
pub(crate) type Rows = BTreeMap<(usize, bool, Option<Binding>), Result<Outcome, String>>;

/// The key of a run in [`Rows`].
pub(crate) fn row(fault: &Fault, api: Api, victim: Victim) -> (usize, bool, Option<Binding>) {
    let at = FAULTS.iter().position(|one| one.name == fault.name).expect("one of them");
    let binding = match victim {
        Victim::Bound(binding) => Some(binding),
        Victim::Naive => None,
    };
    (at, api == Api::V2, binding)
}

pub(crate) fn markdown(rows: &Rows, took: Duration) -> String {
    let mut text = String::from(HEAD);
    let passed = rows.values().filter(|row| row.is_ok()).count();
    let largest = rows.values().flatten().map(|outcome| outcome.overlap).max().unwrap_or(0);
    let slowest = rows.values().flatten().map(|outcome| outcome.recovery).max().unwrap_or(0);
    let (without_deadline, runs): (Vec<_>, Vec<_>) = rows.iter().partition(|((_, _, binding), _)| binding.is_none());
    let accused = |rows: &[(_, &Result<Outcome, String>)]| rows.iter().filter(|(_, row)| row.is_ok()).count();
    let _ = writeln!(text, "* commit {}{}", said("git", &["rev-parse", "HEAD"]), dirt());
    let _ = writeln!(
        text,
        "* command `make faults`, {} s; {passed} of {} runs as they should be",
        took.as_secs(),
        rows.len()
    );
    let etcd = said(&etcd_binary().display().to_string(), &["--version"]);
    let _ = writeln!(
        text,
        "* {}; Node.js {}; {}; {}; Linux {}; {} processors",
        etcd.lines().next().unwrap_or_default(),
        said("node", &["--version"]),
        said("python3", &["--version"]),
        said("rustc", &["--version"]),
        said("uname", &["-r"]),
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let _ = writeln!(
        text,
        "* largest overlap {:.3} s; slowest recovery {:.3} s; the control that always claims to lead was accused in {} of {} \
        runs, the one without a deadline in {} of {} that need one\n",
        seconds(largest),
        seconds(slowest),
        accused(&runs),
        runs.len(),
        accused(&without_deadline),
        without_deadline.len()
    );
    stories(&mut text);
    let _ = writeln!(
        text,
        "| fault | API | who led | overlap | gap | recovery | late writes |\n|---|---|---|---|---|---|---|"
    );
    for ((at, is_v2, binding), row) in rows {
        let Some(binding) = binding else { continue };
        let api = if *is_v2 { "v2" } else { "v3" };
        let figures = match row {
            Ok(outcome) => {
                let gap = outcome.gap.map_or("kept".into(), |gap| format!("{:.3} s", seconds(gap)));
                format!(
                    "{:.3} s | {gap} | {:.3} s | {}",
                    seconds(outcome.overlap),
                    seconds(outcome.recovery),
                    outcome.late_writes
                )
            }
            Err(why) => format!("FAILED: {} | | |", why.lines().next().unwrap_or_default()),
        };
        let mark = if FAULTS[*at].tolerance.is_some() { " *" } else { "" };
        let _ = writeln!(text, "| {}{mark} | {api} | {binding:?} | {figures} |", FAULTS[*at].says);
    }
    text
}

/// What became of the register.
fn stories(text: &mut String) {
    let stories = STORIES.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = writeln!(
        text,
        "| the register's story | lasted | leader stopped, cut off | writes | stale: a register without tokens takes them | taken by one with tokens |"
    );
    let _ = writeln!(text, "|---|---|---|---|---|---|");
    for (name, story) in stories.iter() {
        let Story { lasted, stopped, cut_off, writes, stale, stale_taken } = story;
        let _ = writeln!(
            text,
            "| {name} | {} s | {stopped}, {cut_off} times | {writes} | {stale} | {stale_taken} |",
            lasted.as_secs()
        );
    }
    let _ = writeln!(text);
}

const HEAD: &str = "\
# The last run of all faults

Written by `make faults`; see [core/tests/faults/main.rs](../tests/faults/main.rs) for what is done and how it is judged.

* *overlap*: for how long two candidates claimed to lead. In faults with a star somebody deletes what is not his (etcd may do that
  itself when its raft leader wakes), or sets a clock that API v2 goes by; there a moment is
  not promised away (README, \"Not promised\").
* *gap*: between the last claim of a term and the first of the next, at the least while the fault lasted; \"kept\": the term
  went on. Whoever led claims every 2 ms, when it writes, and every 20 ms in any case.
* *recovery*: from the end of the fault to somebody's claim to lead. A ttl and two seconds are allowed; the ttl is 3 s, but for
  the crowd (20 s) and users on v2 (10 s).
* *late writes*: of a leader that was stopped or slow between asking whether it leads and writing. Tokens keep them out.

The time line of each run is in `target/faults/timelines`.

";

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// The report itself does not count.
fn dirt() -> &'static str {
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    if changed.lines().all(|line| line.ends_with("core/docs/faults.md")) { "" } else { ", with changes" }
}
