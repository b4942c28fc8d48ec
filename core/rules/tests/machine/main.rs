//! The machines, table by table: what happens, what is asked for in return, and where we stand then.
//!
//! Here is the stage on which the rows of [`tables`] are played. Each plays one bad (or good) day by hand; the simulation
//! plays all the others.

mod accused;
mod play;
mod steps;
mod tables;
mod tables_copies;
mod tables_denied;
mod tables_leader;
mod tables_passwords;
mod tables_slow;
mod tables_stop;
mod tables_terms;
mod tables_v2;
mod two_elections;

use std::collections::VecDeque;
use std::time::Duration;

use etcd_leader_rules::config::{Config, Timings};
use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::crew::Crew;
use etcd_leader_rules::machine::{
    Answer, CandidateId, Change, Entropy, Failure, Input, LINE, LinkId, Op, Reply, Report, Request, Seen, Sign, Stamp,
    WatchId, WatchNews, Written,
};
use etcd_leader_rules::member::{LeaseId, Member, OWN_TTL, Standing};
use etcd_leader_rules::time::Time;
use etcd_leader_rules::{Api, OnStoreReset};

/// Puts our entry on another lease than the one that it is named after.
fn is_move(op: &Op) -> bool {
    matches!(op, Op::Touch { key, lease, .. } if !key.ends_with(format!("{lease:x}").as_bytes()))
}

fn is_touch(op: &Op) -> bool {
    matches!(op, Op::Touch { .. }) && !is_move(op)
}

/// ttl 10 s, renewed every 5 s, step-down 2 s before the end, 1.5 s for an attempt.
fn timings(endpoints: usize, api: Api, on_store_reset: OnStoreReset) -> Timings {
    let endpoints = (0..endpoints).map(|at| format!("http://member-{at}:2379")).collect();
    let config = Config { endpoints, key: "/a".into(), name: "me".into(), api, on_store_reset, ..Config::default() };
    config.validate().expect("a good config").session.timings
}

use steps::Do;

struct Stage {
    crew: Crew,
    id: CandidateId,
    now: Time,
    open: VecDeque<Request>,
    watches: Vec<(LinkId, WatchId)>,
    said: Vec<String>,
    report: Report,
    lease: LeaseId,
    own: Vec<u8>,
    rank: u64,
    revision: u64,
}

impl Stage {
    fn new(endpoints: usize, on_store_reset: OnStoreReset) -> Stage {
        Stage::of(timings(endpoints, Api::V3, on_store_reset))
    }

    fn of(timings: Timings) -> Stage {
        let mut crew = Crew::new(timings, Entropy::new(1, 0), Time::ZERO);
        let id = crew.add("/a", "me", Time::ZERO);
        let mut stage = Stage {
            crew,
            id,
            now: Time::ZERO,
            open: VecDeque::new(),
            watches: Vec::new(),
            said: Vec::new(),
            report: Report::default(),
            lease: 0,
            own: Vec::new(),
            rank: 20,
            revision: 10,
        };
        stage.collect();
        stage
    }

    fn collect(&mut self) {
        while let Some(request) = self.crew.poll_request() {
            let word = match &request.op {
                Op::Open { endpoint, .. } => format!("open{endpoint}"),
                Op::Close => "close".into(),
                Op::Grant { lease, .. } => {
                    self.lease = *lease;
                    "grant".into()
                }
                Op::Renew { .. } => "renew".into(),
                Op::Confirm { keys, .. } => format!("confirm{}", keys.len()),
                Op::ListKeys { .. } => "list".into(),
                op if is_move(op) => "move".into(),
                Op::Touch { shows, sign, .. } => match (shows, sign) {
                    (Sign::Waits, Sign::Leads) => "announce",
                    (Sign::Leads, Sign::Waits) => "retract",
                    (Sign::Nothing, Sign::Leads) => "announce?",
                    (Sign::Nothing, _) => "mark?",
                    _ => "mark",
                }
                .into(),
                Op::Revoke { .. } => "revoke".into(),
                Op::Join { own, .. } => {
                    self.own.clone_from(own);
                    "join".into()
                }
                Op::Post { .. } => "post".into(),
                Op::Refresh { visible, .. } => if *visible { "show" } else { "refresh" }.into(),
                Op::Look { .. } => "look".into(),
                Op::Leave { revision, .. } | Op::Withdraw { revision, .. } => format!("leave{revision}"),
                Op::Watch { watch, range } => {
                    self.watches.push((request.link, *watch));
                    match range.start {
                        _ if range.puts_only => "follow".into(),
                        None => "watch".into(),
                        Some(start) => format!("watch{start}"),
                    }
                }
                Op::Check { keys } => format!("check{}", keys.len()),
                Op::Unwatch { watch } => {
                    self.watches.retain(|(_, ours)| ours != watch);
                    "unwatch".into()
                }
            };
            if request.op == Op::Close {
                self.open.retain(|other| other.link != request.link);
                self.watches.retain(|(link, _)| *link != request.link);
            }
            self.said.push(word);
            self.open.push_back(request);
        }
        while let Some((id, report)) = self.crew.poll_report() {
            assert_eq!(id, self.id);
            self.report = report;
        }
    }

    /// The answer to the next request that has one is this failure.
    fn fail(&mut self, step: &Do, failure: Failure) {
        let no_answer = |op: &Op| matches!(op, Op::Close | Op::Watch { .. } | Op::Unwatch { .. });
        let id = self.take(step, |op| !no_answer(op)).id;
        self.handle(Input::Reply { id, result: Err(failure) });
    }

    fn handle(&mut self, input: Input) {
        self.crew.handle(input, self.now);
        self.collect();
    }

    fn take(&mut self, what: &Do, wanted: impl Fn(&Op) -> bool) -> Request {
        let at = self.open.iter().position(|request| wanted(&request.op));
        let at = at.unwrap_or_else(|| panic!("nothing asked for that {what:?} answers; open: {:?}", self.open));
        self.open.remove(at).expect("it is there")
    }

    fn answer(&mut self, what: &Do, wanted: impl Fn(&Op) -> bool, stamp: Stamp, answer: Answer) {
        let id = self.take(what, wanted).id;
        self.handle(Input::Reply { id, result: Ok(Reply { stamp, answer }) });
    }

    fn stamp(&self) -> Stamp {
        Stamp { cluster: 1, revision: self.revision, term: 1, clock_s: None }
    }

    fn me(&self) -> Member {
        Member { key: self.own.clone(), name: b"me".to_vec(), revision: self.rank, lease: self.lease }
    }

    fn other(revision: u64) -> Member {
        let name = format!("other{revision}");
        Member { key: format!("/a/{name}").into_bytes(), name: name.into_bytes(), revision, lease: 1 }
    }

    fn seen(&self, ahead: &[u64]) -> Seen {
        let mut all: Vec<Member> = ahead.iter().map(|revision| Stage::other(*revision)).chain([self.me()]).collect();
        let latest = all.iter().rev().take(2).cloned().collect();
        let count = all.len();
        all.truncate(if self.lease == OWN_TTL { LINE } else { 2 });
        Seen { own: Some(self.me()), latest, first: all, count }
    }

    /// What stands under this key, if none of these words means it.
    fn stands(&self, key: &[u8], gone: &[&str]) -> Option<Member> {
        let word = key.strip_prefix(b"/a/other").map_or("own", |digits| std::str::from_utf8(digits).expect("digits"));
        let member = word.parse().map_or_else(|_| self.me(), Stage::other);
        Some(member).filter(|_| !gone.contains(&word))
    }

    fn refreshed(&mut self, step: &Do, applied: bool, found: Option<Written>) {
        let answer = Answer::Refreshed { applied, found };
        self.answer(step, |op| matches!(op, Op::Refresh { .. }), self.stamp(), answer);
    }

    fn watch_news(&mut self, at: usize, news: WatchNews) {
        let (link, watch) = self.watches[at];
        self.handle(Input::Watch { link, watch, news });
    }

    /// Where we stand, in a word.
    fn stand(&self) -> String {
        match (&self.report.fatal, &self.report.standing) {
            (Some(error), _) => format!("fatal {:?}", error.kind()),
            (_, Standing::Leading { token, until }) => {
                format!("leading {token} until {}", until.as_nanos() / 1_000_000)
            }
            (_, Standing::Following(Some(leader))) => format!("following {}", leader.name),
            (_, Standing::Following(None)) => "following".into(),
            (_, Standing::Out) if self.report.ended && self.report.released => "released".into(),
            (_, Standing::Out) if self.report.ended => "ended".into(),
            (_, Standing::Out) => "out".into(),
        }
    }
}

/// A name, what happens, what is asked for after the last happening, and where we stand then.
type Row = (&'static str, Vec<Do>, &'static str, &'static str);

fn check(endpoints: usize, on_store_reset: OnStoreReset, rows: Vec<Row>) {
    check_on(&timings(endpoints, Api::V3, on_store_reset), rows);
}

fn check_on(timings: &Timings, rows: Vec<Row>) {
    let mut wrong = String::new();
    for (name, steps, said, stands) in rows {
        let mut stage = Stage::of(*timings);
        for step in &steps {
            stage.said.clear();
            stage.play(step);
        }
        let (has_said, has_stood) = (stage.said.join(" "), stage.stand());
        if (has_said.as_str(), has_stood.as_str()) != (said, stands) {
            wrong +=
                &format!("\n{name}\n    should be {said:?}, {stands:?}\n    but is    {has_said:?}, {has_stood:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn with(steps: &[&[Do]]) -> Vec<Do> {
    steps.concat()
}
