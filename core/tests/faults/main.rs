//! Never two leaders: real faults, on a real etcd, under real processes that use the library as users do, in C, Node.js
//! and Python; and a judge who has seen all that they said.
//!
//! ```text
//! candidates (C, Node, Python)  --reports, writes-->  timeline  -->  checker  -->  verdict, report
//!          ^                                              ^
//!          +-- stage: etcd, namespaces, cables, clocks ---+--  strikes of the catalogue
//! ```
//!
//! * **A run** ([`run`]) is one fault, one API of etcd's, and one candidate that leads when the fault comes (the *victim*): in
//!   C, in Node.js, in Python. Two others wait behind it, and a control. Each lives in a network namespace of its own, and so
//!   does each member of etcd; links are cut by dropping what goes through them.
//! * **Each candidate** says all that it is told, and every 20 ms whether it leads, stamped on CLOCK_MONOTONIC before and
//!   after asking. As long as it leads it writes its token into a register, as often as that takes it.
//! * **The checker** ([`checker`]): (I1) no two candidates lead at the same instant, and none writes, having asked, once a newer
//!   one has written; (I3) who leads later has the larger token, within one history of the store.
//! * **The run** itself: (I2) somebody leads within a ttl and two seconds from the end of the fault, and in a roll call
//!   everyone who lives gets its turn without a restart; (I4) all end with status 0, silently, in time, with no more threads,
//!   descriptors and memory than before, and nothing of them is left in etcd; (I5) all know who leads.
//! * **Controls**: in every run a candidate that always claims to lead, whom the checker must accuse; and where a deadline
//!   matters, runs whose victim has none (it goes by events), which must be accused too.
//!
//! `make faults` runs all of it and writes `core/docs/faults.md`; `make test` runs each fault once, with one API and one
//! victim. A run that fails prints its time line.

#![allow(clippy::print_stdout)]

// Written for other tests, which use all of it.
#[allow(dead_code)]
#[path = "../secure/pki.rs"]
mod pki;
#[path = "../skew/clock.rs"]
mod shift;

mod access;
mod access_v2;
mod air;
mod cables;
mod candidate;
mod catalogue;
mod checker;
mod clocks;
mod fence;
mod keys;
mod members;
mod names;
mod processes;
mod proof;
mod register;
mod report;
mod reports;
mod run;
mod stage;
mod store;
mod strangers;
mod timeline;
mod witness;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use etcd_leader::Api;
use libtest_mimic::{Arguments, Trial};

use candidate::Binding;
use catalogue::{FAULTS, Fault};
use run::Victim;

static ROWS: Mutex<report::Rows> = Mutex::new(report::Rows::new());

/// Those that take the whole machine wait until it is theirs.
static MACHINE: RwLock<()> = RwLock::new(());

fn trial(fault: &'static Fault, api: Api, victim: Victim, is_short: bool) -> Trial {
    let api_name = if api == Api::V2 { "v2" } else { "v3" };
    let victim_name = match victim {
        Victim::Bound(binding) => format!("{binding:?}").to_lowercase(),
        Victim::Naive => "naive".into(),
    };
    let work = move || {
        let (_shared, _whole);
        if fault.is_heavy {
            _whole = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
        } else {
            _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
        }
        let outcome = run::run(fault, api, victim);
        let row = report::row(fault, api, victim);
        ROWS.lock().unwrap_or_else(PoisonError::into_inner).insert(row, outcome.clone());
        outcome.map(drop).map_err(Into::into)
    };
    Trial::test(format!("{}::{api_name}::{victim_name}", fault.name), work).with_ignored_flag(!is_short)
}

fn trials() -> Vec<Trial> {
    let mut trials = proof::trials();
    trials.extend(fence::trials());
    for (at, fault) in FAULTS.iter().enumerate() {
        let apis: Vec<Api> = fault.apis.iter().copied().filter(|api| *api != Api::V2 || support::has_v2()).collect();
        if apis.is_empty() {
            continue;
        }
        // One of each in the short run, so that all APIs and bindings have their share.
        let (short_api, short_binding) = (apis[at % apis.len()], Binding::ALL[at / 2 % 3]);
        for api in &apis {
            for binding in fault.victims {
                let is_short = !fault.is_heavy && (*api, *binding) == (short_api, short_binding);
                trials.push(trial(fault, *api, Victim::Bound(*binding), is_short));
            }
            if fault.needs_deadline {
                trials.push(trial(fault, *api, Victim::Naive, fault.name == "leader_stopped"));
            }
        }
    }
    trials
}

fn main() -> ExitCode {
    let begun = Instant::now();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials());
    let rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    if !rows.is_empty() {
        let text = report::markdown(&rows, begun.elapsed());
        println!("{text}");
        if let Some(path) = std::env::var_os("FAULTS_REPORT") {
            std::fs::write(path, text).expect("the report can be written");
        }
    }
    conclusion.exit_code()
}
