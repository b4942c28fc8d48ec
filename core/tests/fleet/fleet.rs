//! The members of an election in their order, whoever made them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use etcd_leader::{Api, clock};
use nix::time::{ClockId, clock_gettime};

use super::candidate::{Candidate, Setup, check_terms, millis, now_ms, waits};
use support::{Cluster, Waits, v2, wait_for};

const KEY: &str = "/fleet";
pub(crate) const TTL_S: u32 = 4;
/// How soon everybody knows of a new leader.
const NEWS_MS: u64 = TTL_S as u64 * 1000 / 2 + 1000;
/// How soon a leader that stopped is followed.
const STOP_MS: u64 = 2000;
/// How soon one that died is followed: etcd looks for entries that have run out twice a second.
const DEATH_MS: u64 = TTL_S as u64 * 1000 + STOP_MS;

/// Who made a member.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Make {
    Ours,
    Theirs,
}

/// How a leader goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Killed,
    Stopped,
}

pub(crate) struct Fleet {
    pub(crate) cluster: Cluster,
    urls: Vec<String>,
    /// Those that live, in the order in which they joined.
    pub(crate) living: Vec<Candidate>,
    gone: Vec<Candidate>,
    /// By when each one's entry was seen in etcd, by its name.
    joined: BTreeMap<String, u64>,
}

impl Fleet {
    /// One after the other; the first leads.
    pub(crate) fn of(makes: &[Make]) -> Fleet {
        let cluster = Cluster::of(1, &["--enable-v2=true"]);
        let urls = cluster.urls();
        let mut fleet = Fleet { cluster, urls, living: Vec::new(), gone: Vec::new(), joined: BTreeMap::new() };
        for make in makes {
            fleet.joins(*make);
        }
        let busy = waits(&fleet.cluster, &fleet.living);
        fleet.first_leads(now_ms() + NEWS_MS, &busy);
        fleet
    }

    /// Another member, behind all others.
    pub(crate) fn joins(&mut self, make: Make) {
        let name = format!("{}-{make:?}", self.living.len() + self.gone.len() + 1);
        self.living.push(match make {
            Make::Ours => Setup { api: Api::V2, ..Setup::new(&self.urls, KEY, TTL_S) }.start(&name),
            Make::Theirs => original(&self.urls, &name),
        });
        self.until(&format!("the entry of {name}"), |fleet| {
            let entries = fleet.entries();
            entries.last().filter(|entry| entry.name == name).map(drop)
        });
        self.joined.insert(name, now_ms());
    }

    pub(crate) fn entries(&self) -> Vec<v2::Entry> {
        v2::entries(self.cluster.client_address(0), KEY).expect("the list of members")
    }

    /// Waits, and asks each member meanwhile, again and again, whether it leads.
    fn until<T>(&mut self, what: &str, mut probe: impl FnMut(&Fleet) -> Option<T>) -> T {
        wait_for(what, || {
            for member in &mut self.living {
                member.ask();
            }
            probe(self)
        })
    }

    /// The first is elected by then, and everybody else knows in time, but for what a busy machine adds. Gives how long that took
    /// at most.
    fn first_leads(&mut self, by: u64, busy: &Waits) -> u64 {
        let name = self.living[0].name.clone();
        let elected = self.until(&format!("{name} to lead"), |fleet| said(&fleet.living[0], "elected "));
        let by = by + millis(busy.so_far());
        assert!(elected <= by, "{name} leads {} ms too late: {:#?}", elected - by, self.logs());
        let told = self.until(&format!("all to know that {name} leads"), |fleet| {
            let hears = |member: &Candidate| {
                let told = said(member, &format!("leader {name}"))?;
                // One that joined later could not know before: its process may need seconds to start.
                Some(told.saturating_sub(elected.max(fleet.joined[&member.name])))
            };
            fleet.living[1..].iter().map(hears).collect::<Option<Vec<_>>>()
        });
        let slowest = told.into_iter().max().unwrap_or(0);
        assert!(
            slowest <= NEWS_MS + millis(busy.so_far()),
            "it took {slowest} ms until all knew of {name}: {:#?}",
            self.logs()
        );
        slowest
    }

    /// The leader goes, and the next in line leads.
    pub(crate) fn leader_goes(&mut self, how: End) {
        let mut leader = self.living.remove(0);
        let name = leader.name.clone();
        let busy = waits(&self.cluster, &self.living);
        let patience = match how {
            End::Killed => {
                leader.kill();
                DEATH_MS
            }
            End::Stopped => {
                leader.stop();
                STOP_MS
            }
        };
        let went = said(&leader, if matches!(how, End::Killed) { "killed" } else { "unelected" }).expect("it led");
        self.gone.push(leader);
        let slowest = self.first_leads(went + patience, &busy);
        let elected = said(&self.living[0], "elected ").expect("it leads");
        println!(
            "{name} {how:?}: {} leads after {} ms, known to all {slowest} ms later",
            self.living[0].name,
            elected - went
        );
    }

    /// All stop, the last in line first; nothing is left in etcd, and at no time did two lead.
    pub(crate) fn ends(mut self) {
        while let Some(mut member) = self.living.pop() {
            member.stop();
            self.gone.push(member);
        }
        wait_for("all entries to be gone", || self.entries().is_empty().then_some(()));
        let all: Vec<&Candidate> = self.gone.iter().collect();
        check_terms(&all);
        check_claims(&all);
    }

    fn logs(&self) -> Vec<(&str, Vec<super::candidate::Said>)> {
        self.living.iter().chain(&self.gone).map(|member| (member.name.as_str(), without_claims(member))).collect()
    }
}

fn without_claims(member: &Candidate) -> Vec<super::candidate::Said> {
    member.log().into_iter().filter(|said| !said.words.starts_with("claims")).collect()
}

/// When a member first said something that starts so.
fn said(member: &Candidate, words: &str) -> Option<u64> {
    member.log().iter().find(|said| said.words.starts_with(words)).map(|said| said.at_ms)
}

/// When one says yes for the first time, all before it have said yes for the last time.
fn check_claims(members: &[&Candidate]) {
    let mut claims: Vec<(u64, u64, &str)> = Vec::new();
    for member in members {
        let yes: Vec<u64> =
            member.log().iter().filter(|said| said.words.starts_with("claims yes")).map(|said| said.at_ms).collect();
        claims.extend(yes.first().zip(yes.last()).map(|(first, last)| (*first, *last, member.name.as_str())));
    }
    claims.sort_unstable();
    for pair in claims.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two claim to lead at one time: {pair:?}");
    }
}

/// A member of 2015.
fn original(urls: &[String], name: &str) -> Candidate {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet");
    let node = Command::new("node").arg("--version").output();
    assert!(node.is_ok_and(|output| output.status.success()), "these tests need Node.js: install nodejs and npm");
    assert!(
        here.join("node_modules/original").is_dir(),
        "the members of 2015 are not installed: run `npm ci` in core/tests/fleet, or `make test`"
    );
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    let monotonic = u64::try_from(std::time::Duration::from(monotonic).as_nanos()).expect("not in 500 years");
    let ahead = clock::now().as_nanos().saturating_sub(monotonic);
    let mut command = Command::new("node");
    command.arg(here.join("original.js"));
    command.args([&urls.join(","), KEY, name, &TTL_S.to_string(), &ahead.to_string()]);
    Candidate::run(name, command)
}
