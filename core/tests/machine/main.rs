//! The machines, table by table: what happens, what is asked for in return, and where we stand then.
//!
//! Here is the stage on which the rows of [`tables`] are played. Each plays one bad (or good) day by hand; the simulation
//! plays all the others.

mod accused;
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

use etcd_leader::config::{Config, Timings};
use etcd_leader::error::ErrorKind;
use etcd_leader::machine::crew::Crew;
use etcd_leader::machine::{
    Answer, CandidateId, Change, Entropy, Failure, Input, LINE, LinkId, Op, Reply, Report, Request, Seen, Sign, Stamp,
    WatchId, WatchNews, Written,
};
use etcd_leader::member::{LeaseId, Member, OWN_TTL, Standing};
use etcd_leader::time::Time;
use etcd_leader::{Api, OnStoreReset};

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
use steps::Do::*;

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
                Op::Touch { sign: Sign::Leads, .. } => "announce".into(),
                Op::Touch { .. } => "touch".into(),
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

    fn play(&mut self, step: &Do) {
        let is_look = |op: &Op| matches!(op, Op::Look { .. });
        let is_join = |op: &Op| matches!(op, Op::Join { .. });
        match step {
            At(millis) => {
                let end = Time::ZERO + Duration::from_millis(*millis);
                while let Some(next) = self.crew.poll_timeout().filter(|next| *next <= end) {
                    self.now = self.now.max(next);
                    self.handle(Input::Tick);
                    let again = self.crew.poll_timeout();
                    assert!(again.is_none_or(|again| again > self.now), "it wants to be called again at once");
                }
                self.now = end;
                self.handle(Input::Tick);
            }
            FrozenTo(millis) => self.now = Time::ZERO + Duration::from_millis(*millis),
            Opened(endpoint) => self.play(&OpenedBy(*endpoint, 1)),
            OpenedBy(endpoint, cluster) => {
                let stamp = Stamp { cluster: *cluster, ..self.stamp() };
                self.answer(
                    step,
                    |op| matches!(op, Op::Open { endpoint: at, .. } if at == endpoint),
                    stamp,
                    Answer::Opened,
                );
            }
            OpenFails(endpoint, kind) => {
                let id = self.take(step, |op| matches!(op, Op::Open { endpoint: at, .. } if at == endpoint)).id;
                self.handle(Input::Reply { id, result: Err(Failure::new(*kind, "as the row says")) });
            }
            Granted => {
                let is_grant = |op: &Op| matches!(op, Op::Grant { .. });
                self.answer(step, is_grant, self.stamp(), Answer::Granted { ttl_s: 10 });
            }
            Renewed(ttl_s) => {
                let is_renew = |op: &Op| matches!(op, Op::Renew { .. });
                self.answer(step, is_renew, self.stamp(), Answer::Renewed { ttl_s: *ttl_s });
            }
            Confirmed(term, is_there) => {
                let found = self.open.iter().find_map(|request| match &request.op {
                    Op::Confirm { keys, .. } => Some(keys.iter().map(|_| is_there.then(|| self.me())).collect()),
                    _ => None,
                });
                let found = found.unwrap_or_default();
                let stamp = Stamp { term: *term, ..self.stamp() };
                self.answer(step, |op| matches!(op, Op::Confirm { .. }), stamp, Answer::Confirmed { found });
            }
            Joined(ahead) => {
                (self.rank, self.revision) = (20, self.revision.max(20));
                let seen = self.seen(ahead);
                self.answer(step, is_join, self.stamp(), Answer::Joined { created: true, seen });
            }
            FoundOwn(revision) => {
                (self.rank, self.revision) = (*revision, self.revision.max(*revision));
                let seen = Seen { own: Some(self.me()), ..Seen::default() };
                self.answer(step, is_join, self.stamp(), Answer::Joined { created: false, seen });
            }
            Looked(at, ahead) => {
                self.revision = *at;
                let seen = self.seen(ahead);
                self.answer(step, is_look, self.stamp(), Answer::Looked(seen));
            }
            LookedFirst(at) => {
                self.revision = *at;
                let first = vec![self.me(), Stage::other(40)];
                let seen = Seen { own: Some(self.me()), latest: vec![self.me()], first, count: 2 };
                self.answer(step, is_look, self.stamp(), Answer::Looked(seen));
            }
            Checked(at, gone) => {
                self.revision = *at;
                let is_check = |op: &Op| matches!(op, Op::Check { .. });
                let asked = self.open.iter().find_map(|request| match &request.op {
                    Op::Check { keys } => Some(keys.clone()),
                    _ => None,
                });
                let found = asked.unwrap_or_default().iter().map(|key| self.stands(key, gone)).collect();
                let answer =
                    if self.lease == OWN_TTL { Answer::Glimpsed { found } } else { Answer::Confirmed { found } };
                self.answer(step, is_check, self.stamp(), answer);
            }
            Written(watch, at, revision, leads) => {
                self.revision = *at;
                let now = Stage::other(*revision);
                let change = Change { at: *at, key: now.key.clone(), now: Some(now), leads: *leads };
                self.watch_news(*watch, WatchNews::Changes { changes: vec![change] });
            }
            LookedGone(at) => {
                self.revision = *at;
                self.answer(step, is_look, self.stamp(), Answer::Looked(Seen::default()));
            }
            Posted => {
                (self.rank, self.revision, self.lease) = (20, self.revision.max(20), OWN_TTL);
                self.own = format!("/a/{:020}", self.rank).into_bytes();
                let own = self.me();
                self.answer(step, |op| matches!(op, Op::Post { .. }), self.stamp(), Answer::Posted { own });
            }
            Refreshed(at) => self.refreshed(step, true, Some(Written { member: self.me(), at: *at })),
            NotOurs(at) => self.refreshed(step, false, Some(Written { member: self.me(), at: *at })),
            Another(revision) => {
                let member = Member { revision: *revision, ..self.me() };
                self.refreshed(step, false, Some(Written { member, at: *revision }));
            }
            NoEntry => self.refreshed(step, false, None),
            OpenedAt(endpoint, clock_s) => {
                let stamp = Stamp { clock_s: Some(*clock_s), ..self.stamp() };
                let is_open = |op: &Op| matches!(op, Op::Open { endpoint: at, .. } if at == endpoint);
                self.answer(step, is_open, stamp, Answer::Opened);
            }
            Left | WasGone | Spared => {
                let is_leave = |op: &Op| matches!(op, Op::Leave { .. } | Op::Withdraw { .. });
                let answer = match step {
                    Spared => Answer::Spared,
                    step => Answer::Left { was_there: matches!(step, Left) },
                };
                self.answer(step, is_leave, self.stamp(), answer);
            }
            Revoked => self.answer(step, |op| matches!(op, Op::Revoke { .. }), self.stamp(), Answer::Revoked),
            Fails(kind) => self.fail(step, Failure::new(*kind, "as the row says")),
            KeyDenied => {
                let failure = Failure::new(ErrorKind::Denied, "as the row says");
                self.fail(step, Failure { is_of_key: true, ..failure });
            }
            RenewDenied => {
                let failure = Failure::new(ErrorKind::Denied, "a key of the lease");
                let id = self.take(step, |op| matches!(op, Op::Renew { .. })).id;
                self.handle(Input::Reply { id, result: Err(Failure { is_of_key: true, ..failure }) });
            }
            Moved(moved) => {
                let answer = Answer::Touched { touched: *moved, found: None };
                self.answer(step, is_move, self.stamp(), answer);
            }
            Touched(at) => {
                self.revision = *at;
                let answer = Answer::Touched { touched: true, found: None };
                self.answer(step, is_touch, self.stamp(), answer);
            }
            WrittenBefore(at) => {
                self.revision = self.revision.max(*at);
                let found = Some(Written { member: self.me(), at: *at });
                let answer = Answer::Touched { touched: false, found };
                self.answer(step, |op| matches!(op, Op::Touch { .. }), self.stamp(), answer);
            }
            Copied(at) => {
                self.revision = self.revision.max(*at);
                let change = Change { at: *at, key: self.own.clone(), now: Some(self.me()), leads: false };
                self.watch_news(0, WatchNews::Changes { changes: vec![change] });
            }
            Listed(keys) => {
                let named =
                    |key: &&str| if key.ends_with('/') { format!("{key}{:x}", self.lease) } else { (*key).into() };
                let keys = keys.iter().map(|key| named(key).into_bytes()).chain([self.own.clone()]).collect();
                let stamp = Stamp { revision: 1, ..self.stamp() };
                self.answer(step, |op| matches!(op, Op::ListKeys { .. }), stamp, Answer::Listed { keys });
            }
            Found(revision) => {
                let found = Member { revision: *revision, ..self.me() };
                let found = vec![Some(found).filter(|_| *revision > 0)];
                self.answer(step, |op| matches!(op, Op::Confirm { .. }), self.stamp(), Answer::Confirmed { found });
            }
            Created => self.watch_news(0, WatchNews::Created { revision: self.revision }),
            CreatedAt(revision) => self.watch_news(0, WatchNews::Created { revision: *revision }),
            BothCreated => {
                for at in 0..2 {
                    self.watch_news(at, WatchNews::Created { revision: self.revision });
                }
            }
            Gone(keys) => self.play(&GoneOn(0, keys)),
            GoneOn(watch, keys) => {
                let key_of =
                    |word: &str| if word == "own" { self.own.clone() } else { format!("/a/other{word}").into_bytes() };
                let changes = keys
                    .iter()
                    .map(|(at, key)| Change { at: *at, key: key_of(key), now: None, leads: false })
                    .collect();
                self.revision = keys.iter().map(|(at, _)| *at).max().unwrap_or(0).max(self.revision);
                self.watch_news(*watch, WatchNews::Changes { changes });
            }
            Overwritten(at) => {
                self.revision = *at;
                let now = Some(Member { lease: 0, ..self.me() });
                self.watch_news(
                    0,
                    WatchNews::Changes { changes: vec![Change { at: *at, key: self.own.clone(), now, leads: false }] },
                );
            }
            SetAnew(at) => {
                self.revision = *at;
                let now = Some(Member { lease: 0, revision: *at, ..self.me() });
                self.watch_news(
                    0,
                    WatchNews::Changes { changes: vec![Change { at: *at, key: self.own.clone(), now, leads: false }] },
                );
            }
            Canceled => self.watch_news(0, WatchNews::Canceled { reason: "compacted".into() }),
            LinkBreaks => {
                let link = self.open.iter().rev().find(|request| request.op != Op::Close).expect("a link").link;
                let failure = Failure::new(ErrorKind::Unreachable, "as the row says");
                self.handle(Input::Broken { link, failure });
            }
            Jump => self.handle(Input::Jumped),
            Stop(holds) => self.handle(Input::Stop { candidate: self.id, holds: *holds }),
            Released => self.handle(Input::Release { candidate: self.id }),
            Expired(token) => self.handle(Input::Expired { candidate: self.id, token: *token }),
        }
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
