//! The machines, table by table: what happens, what is asked for in return, and where we stand then.
//!
//! Each row plays one bad (or good) day by hand. The simulation plays all the others.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_leader::config::{Config, SessionSettings};
use etcd_leader::error::ErrorKind;
use etcd_leader::machine::crew::Crew;
use etcd_leader::machine::{
    Answer, CandidateId, Change, Entropy, Failure, Input, LinkId, Op, Reply, Report, Request, Seen, Stamp, WatchId,
    WatchNews,
};
use etcd_leader::member::{LeaseId, Member, Standing};
use etcd_leader::time::Time;
use etcd_leader::{ErrorKind as Kind, OnStoreReset};

/// ttl 10 s, renewed every 5 s, step-down 2 s before the end, 1.5 s for an attempt.
fn settings(endpoints: usize, on_store_reset: OnStoreReset) -> SessionSettings {
    let endpoints = (0..endpoints).map(|at| format!("http://member-{at}:2379")).collect();
    let config = Config { endpoints, key: "/a".into(), name: "me".into(), on_store_reset, ..Config::default() };
    config.validate().expect("a good config").session
}

/// What happens next in a row of a table.
#[derive(Clone, Debug)]
enum Do {
    /// Time passes: to this many milliseconds after the start.
    At(u64),
    /// The oldest open of this endpoint is answered by cluster 1.
    Opened(usize),
    /// The same by this cluster.
    OpenedBy(usize, u64),
    OpenFails(usize, Kind),
    Granted,
    Renewed(i64),
    /// The confirming read: the raft term it is answered in (keepalives are answered in term 1), and whether our key
    /// is found.
    Confirmed(u64, bool),
    /// The join put our key, at revision 20; ahead of us are these revisions.
    Joined(&'static [u64]),
    /// The join found our key put by an earlier one, at this revision.
    FoundOwn(u64),
    /// A look at this revision: ahead of us are these.
    Looked(u64, &'static [u64]),
    /// A look at this revision finds our key gone.
    LookedGone(u64),
    Left,
    Revoked,
    Fails(Kind),
    Created,
    /// One response on the first watch: these changes, `(revision, key)`; our key is "own", others by their revision.
    Gone(&'static [(u64, &'static str)]),
    /// Somebody puts our key, without a lease, at this revision.
    Overwritten(u64),
    Canceled,
    LinkBreaks,
    Jump,
    Stop(bool),
    Entered,
    Acknowledged,
}
use Do::*;

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
        let mut crew = Crew::new(settings(endpoints, on_store_reset), Entropy::new(1, 0), Time::ZERO);
        let id = crew.add("/a", "me", Duration::from_secs(10), Time::ZERO);
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
                Op::Revoke { .. } => "revoke".into(),
                Op::Join { own, .. } => {
                    self.own.clone_from(own);
                    "join".into()
                }
                Op::Look { .. } => "look".into(),
                Op::Leave { revision, .. } => format!("leave{revision}"),
                Op::Watch { watch, start, .. } => {
                    self.watches.push((request.link, *watch));
                    format!("watch{start}")
                }
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
        Stamp { cluster: 1, revision: self.revision, term: 1 }
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
        all.truncate(2);
        Seen { own: Some(self.me()), latest, first: all }
    }

    fn watch_news(&mut self, news: WatchNews) {
        let (link, watch) = *self.watches.first().expect("a watch");
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
                }
                self.now = end;
                self.handle(Input::Tick);
            }
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
            LookedGone(at) => {
                self.revision = *at;
                self.answer(step, is_look, self.stamp(), Answer::Looked(Seen::default()));
            }
            Left => self.answer(step, |op| matches!(op, Op::Leave { .. }), self.stamp(), Answer::Left),
            Revoked => self.answer(step, |op| matches!(op, Op::Revoke { .. }), self.stamp(), Answer::Revoked),
            Fails(kind) => {
                let no_answer = |op: &Op| matches!(op, Op::Close | Op::Watch { .. } | Op::Unwatch { .. });
                let id = self.take(step, |op| !no_answer(op)).id;
                self.handle(Input::Reply { id, result: Err(Failure::new(*kind, "as the row says")) });
            }
            Created => self.watch_news(WatchNews::Created { revision: self.revision }),
            Gone(keys) => {
                let key_of =
                    |word: &str| if word == "own" { self.own.clone() } else { format!("/a/other{word}").into_bytes() };
                let changes = keys.iter().map(|(at, key)| Change { at: *at, key: key_of(key), now: None }).collect();
                self.revision = keys.iter().map(|(at, _)| *at).max().unwrap_or(0).max(self.revision);
                self.watch_news(WatchNews::Changes { changes });
            }
            Overwritten(at) => {
                self.revision = *at;
                let now = Some(Member { lease: 0, ..self.me() });
                self.watch_news(WatchNews::Changes { changes: vec![Change { at: *at, key: self.own.clone(), now }] });
            }
            Canceled => self.watch_news(WatchNews::Canceled { reason: "compacted".into() }),
            LinkBreaks => {
                let link = self.open.iter().rev().find(|request| request.op != Op::Close).expect("a link").link;
                let failure = Failure::new(ErrorKind::Unreachable, "as the row says");
                self.handle(Input::Broken { link, failure });
            }
            Jump => self.handle(Input::Jumped),
            Stop(led) => self.handle(Input::Stop { candidate: self.id, led: *led }),
            Entered => self.handle(Input::Entered { candidate: self.id }),
            Acknowledged => self.handle(Input::Acknowledged { candidate: self.id }),
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
    let mut wrong = String::new();
    for (name, steps, said, stands) in rows {
        let mut stage = Stage::new(endpoints, on_store_reset);
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

const LEADING: &[Do] = &[Opened(0), Granted, Joined(&[]), Created];
const WAITING: &[Do] = &[Opened(0), Granted, Joined(&[7]), Created];
const THIRD: &[Do] = &[Opened(0), Granted, Joined(&[7, 8]), Created];

#[test]
fn joining() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("a link first", vec![], "open0", "out"),
            ("then a lease", vec![Opened(0)], "grant", "out"),
            ("then a place", vec![Opened(0), Granted], "join", "out"),
            (
                "first in line leads without another read",
                vec![Opened(0), Granted, Joined(&[])],
                "watch21",
                "leading 20 until 8000",
            ),
            ("second waits", vec![Opened(0), Granted, Joined(&[7])], "watch21", "following other7"),
            (
                "third watches the leader too",
                vec![Opened(0), Granted, Joined(&[7, 8])],
                "watch21 watch21",
                "following other7",
            ),
            (
                "a join never moves the end",
                vec![Opened(0), Granted, At(1000), Joined(&[])],
                "watch21",
                "leading 20 until 8000",
            ),
            ("a lost join is sent again", vec![Opened(0), Granted, Fails(Kind::NoSpace), At(100)], "join", "out"),
            (
                "what it had put is adopted after a look",
                vec![Opened(0), Granted, Fails(Kind::NoSpace), At(100), FoundOwn(15)],
                "look",
                "following",
            ),
            (
                "a join without a lease starts with a new one",
                vec![Opened(0), Granted, Fails(Kind::LeaseLost)],
                "revoke grant",
                "out",
            ),
            (
                "a refused grant is tried again under another id",
                vec![Opened(0), Fails(Kind::Server), At(50)],
                "grant",
                "out",
            ),
        ],
    );
}

#[test]
fn taking_over() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "the delete of the only one ahead elects at once, and a look follows",
                with(&[WAITING, &[Gone(&[(30, "7")])]]),
                "look",
                "leading 20 until 8000",
            ),
            (
                "the look agrees",
                with(&[WAITING, &[Gone(&[(30, "7")]), Looked(30, &[])]]),
                "unwatch watch31",
                "leading 20 until 8000",
            ),
            ("the look disagrees", with(&[WAITING, &[Gone(&[(30, "7")]), Looked(30, &[7])]]), "", "following other7"),
            (
                "the look does not come",
                with(&[WAITING, &[Gone(&[(30, "7")]), At(1500)]]),
                "close open0",
                "following other7",
            ),
            (
                "a look from before does not count",
                with(&[
                    WAITING,
                    &[At(5000), Renewed(10), Confirmed(1, true), At(10_000), Gone(&[(30, "7")]), Looked(29, &[7])],
                ]),
                "look",
                "leading 20 until 13000",
            ),
            (
                "not if the same response ends us",
                with(&[WAITING, &[Gone(&[(30, "7"), (30, "own")])]]),
                "unwatch join",
                "out",
            ),
            (
                "not on a watch that is not live",
                vec![Opened(0), Granted, Joined(&[7]), Gone(&[(30, "7")])],
                "look",
                "following other7",
            ),
            ("not by an event from before the look", with(&[WAITING, &[Gone(&[(20, "7")])]]), "", "following other7"),
            ("not if another is ahead too", with(&[THIRD, &[Gone(&[(30, "8")])]]), "look", "following other7"),
            ("a change of others says nothing", with(&[WAITING, &[Gone(&[(30, "99")])]]), "", "following other7"),
            (
                "without news a waiter looks again after a ttl",
                with(&[WAITING, &[At(5000), Renewed(10), Confirmed(1, true), At(10_000)]]),
                "renew look",
                "following other7",
            ),
        ],
    );
}

#[test]
fn our_own_key() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "deleted while we lead: out, and join again",
                with(&[LEADING, &[Gone(&[(30, "own")])]]),
                "unwatch join",
                "out",
            ),
            (
                "overwritten: what is there is deleted first",
                with(&[LEADING, &[Overwritten(30)]]),
                "unwatch leave20",
                "out",
            ),
            ("then joined again", with(&[LEADING, &[Overwritten(30), Left]]), "join", "out"),
            (
                "a burnt revision is not adopted",
                with(&[LEADING, &[Overwritten(30), Left, FoundOwn(20)]]),
                "leave20",
                "out",
            ),
            ("deleted while we wait", with(&[WAITING, &[Gone(&[(30, "own")])]]), "unwatch join", "out"),
            (
                "the confirming read misses it",
                with(&[LEADING, &[At(5000), Renewed(10), Confirmed(1, false)]]),
                "unwatch join",
                "out",
            ),
            ("a look misses it", with(&[WAITING, &[Canceled, LookedGone(30)]]), "join", "out"),
            (
                "a watch that ends is replaced after a look",
                with(&[WAITING, &[Canceled, Looked(30, &[7])]]),
                "watch31",
                "following other7",
            ),
        ],
    );
}

#[test]
fn the_lease() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("renewed after half a ttl", with(&[LEADING, &[At(5000)]]), "renew", "leading 20 until 8000"),
            (
                "an answer alone moves nothing",
                with(&[LEADING, &[At(5000), Renewed(10)]]),
                "confirm1",
                "leading 20 until 8000",
            ),
            (
                "the confirming read moves the end, from when the renewal was sent",
                with(&[LEADING, &[At(5000), Renewed(10), At(5900), Confirmed(1, true)]]),
                "",
                "leading 20 until 13000",
            ),
            (
                "a shorter ttl counts",
                with(&[LEADING, &[At(5000), Renewed(4), Confirmed(1, true)]]),
                "",
                "leading 20 until 7000",
            ),
            (
                "and is renewed sooner",
                with(&[LEADING, &[At(5000), Renewed(8), Confirmed(1, true), At(9000)]]),
                "renew",
                "leading 20 until 11000",
            ),
            (
                "a longer one does not",
                with(&[LEADING, &[At(5000), Renewed(60), Confirmed(1, true)]]),
                "",
                "leading 20 until 13000",
            ),
            (
                "another raft term proves nothing",
                with(&[LEADING, &[At(5000), Renewed(10), Confirmed(2, true)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "gone: out, and a new one",
                with(&[LEADING, &[At(5000), Renewed(0)]]),
                "revoke grant unwatch leave20",
                "out",
            ),
            (
                "not renewed in time: out at the margin",
                with(&[LEADING, &[At(7999)]]),
                "renew close open0",
                "leading 20 until 8000",
            ),
            ("", with(&[LEADING, &[At(8000)]]), "renew close open0 close", "out"),
            (
                "renewed late: a look shows that we are still first",
                with(&[LEADING, &[At(9000), Opened(0), Renewed(10), Confirmed(1, true), Looked(30, &[])]]),
                "watch31",
                "leading 20 until 17000",
            ),
            (
                "no answer to the renewal: another link",
                with(&[LEADING, &[At(6500)]]),
                "renew close open0",
                "leading 20 until 8000",
            ),
            ("a jump of the wall clock: renew at once", with(&[LEADING, &[Jump]]), "renew", "leading 20 until 1500"),
            ("", with(&[LEADING, &[Jump, Renewed(10), Confirmed(1, true)]]), "", "leading 20 until 8000"),
        ],
    );
}

#[test]
fn links() {
    check(
        2,
        OnStoreReset::Continue,
        vec![
            ("all endpoints are asked", vec![OpenFails(0, Kind::Unreachable), OpenedBy(1, 1)], "close grant", "out"),
            ("the first that answers waits for the others", vec![Opened(0)], "", "out"),
            ("but not for ever", vec![Opened(0), At(500)], "close grant", "out"),
            ("two clusters in one list", vec![OpenedBy(0, 1), OpenedBy(1, 2)], "close close", "fatal ClusterMismatch"),
            (
                "denied by all",
                vec![OpenFails(0, Kind::Denied), OpenFails(1, Kind::Denied)],
                "close close",
                "fatal Denied",
            ),
            (
                "denied by all that can be reached",
                vec![OpenFails(0, Kind::Denied), OpenFails(1, Kind::Unreachable)],
                "close close",
                "fatal Denied",
            ),
            (
                "denied by one, not by the other",
                vec![OpenFails(0, Kind::Denied), OpenFails(1, Kind::Server)],
                "close close",
                "out",
            ),
            (
                "unreachable is never fatal",
                vec![OpenFails(0, Kind::Unreachable), OpenFails(1, Kind::Unreachable)],
                "close close",
                "out",
            ),
            (
                "a broken link is replaced at once",
                vec![
                    Opened(0),
                    OpenFails(1, Kind::Unreachable),
                    Granted,
                    Joined(&[]),
                    Created,
                    LinkBreaks,
                    OpenFails(0, Kind::Unreachable),
                    Opened(1),
                ],
                "close renew look",
                "leading 20 until 8000",
            ),
        ],
    );
    // Which endpoint is asked first is drawn by lot; what counts is that both are.
    let mut stage = Stage::new(2, OnStoreReset::Continue);
    stage.said.sort();
    assert_eq!(stage.said, ["open0", "open1"]);
    // Later a stranger is put aside, and its word does not count.
    for step in [Opened(0), Opened(1), Granted, Joined(&[]), LinkBreaks, OpenedBy(1, 2)] {
        stage.play(&step);
    }
    assert_eq!(stage.report.trouble.as_ref().map(|trouble| trouble.error.kind()), Some(Kind::ClusterMismatch));
    stage.said.clear();
    stage.play(&Opened(0));
    assert_eq!(stage.said.join(" "), "close renew look");
}

#[test]
fn stopping() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("before anything was asked for", vec![Stop(false)], "close", "released"),
            ("a waiter leaves at once", with(&[WAITING, &[Stop(false)]]), "unwatch leave20", "out"),
            ("then the lease goes", with(&[WAITING, &[Stop(false), Left]]), "revoke", "released"),
            ("a leader's place is kept until the user has heard", with(&[LEADING, &[Stop(true)]]), "", "out"),
            ("and is renewed meanwhile", with(&[LEADING, &[Stop(true), At(5000)]]), "renew", "out"),
            ("the user has heard", with(&[LEADING, &[Stop(true), Entered, Acknowledged]]), "unwatch leave20", "out"),
            (
                "the user does not listen",
                with(&[LEADING, &[Stop(true), At(5000), Renewed(10), Confirmed(1, true), At(10_000)]]),
                "renew unwatch leave20",
                "out",
            ),
            (
                "the user is being told: no hurry",
                with(&[LEADING, &[Stop(true), Entered, At(5000), Renewed(10), Confirmed(1, true), At(10_000)]]),
                "renew",
                "out",
            ),
            (
                "a lost leave is sent again",
                with(&[WAITING, &[Stop(false), Fails(Kind::NoSpace), At(60)]]),
                "leave20",
                "out",
            ),
            (
                "a join under way is waited for",
                vec![Opened(0), Granted, Stop(false), Joined(&[])],
                "watch21 unwatch leave20",
                "out",
            ),
            (
                "a lost join ends with the lease",
                vec![Opened(0), Granted, Stop(false), Fails(Kind::NoSpace)],
                "revoke confirm1",
                "ended",
            ),
        ],
    );
    // The answer to a join is lost, and then the lease.
    let lost = vec![Opened(0), Granted, LinkBreaks, Opened(0), Renewed(0)];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("a join that was not answered is looked for", lost.clone(), "revoke grant confirm1", "out"),
            ("it came, and was put over", with(&[&lost, &[Confirmed(1, true)]]), "leave20", "out"),
        ],
    );
    // Cut off for so long that the candidate does not wait any longer, then linked again.
    let late = with(&[
        WAITING,
        &[LinkBreaks, Stop(false), At(20_000), OpenFails(0, Kind::Unreachable), At(23_000), Opened(0)],
    ]);
    let found = with(&[&late, &[Revoked, Confirmed(1, true)]]);
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("what was left behind is looked at once more", late.clone(), "revoke confirm1", "ended"),
            ("it has gone with the lease", with(&[&late, &[Revoked, Confirmed(1, false)]]), "close", "ended"),
            ("somebody put over it: it is deleted", found.clone(), "leave20", "ended"),
            ("until it is gone", with(&[&found, &[Left, Confirmed(1, false)]]), "close", "ended"),
            ("or the server has forgotten it", with(&[&late, &[LinkBreaks, At(41_500), At(60_000)]]), "", "ended"),
        ],
    );
}

#[test]
fn a_store_that_went_back() {
    let wiped = with(&[LEADING, &[LinkBreaks]]);
    let back = |stage: &mut Stage| {
        stage.revision = 1;
        stage.said.clear();
        stage.play(&Opened(0));
    };
    let mut stage = Stage::new(1, OnStoreReset::Continue);
    wiped.iter().for_each(|step| stage.play(step));
    back(&mut stage);
    assert_eq!((stage.said.join(" ").as_str(), stage.stand().as_str()), ("revoke grant leave20", "out"));
    assert_eq!(stage.report.trouble.as_ref().map(|trouble| trouble.error.kind()), Some(Kind::StoreReset));
    // First in the new history, but quiet for one ttl and a margin.
    for step in [Revoked, Granted, Left, Joined(&[]), Created] {
        stage.play(&step);
    }
    assert_eq!(stage.stand(), "following");
    for at in [5000, 10_000] {
        for step in [At(at), Renewed(10), Confirmed(1, true)] {
            stage.play(&step);
        }
    }
    stage.play(&At(11_999));
    assert_eq!(stage.stand(), "following");
    stage.play(&At(12_000));
    assert_eq!(stage.stand(), "leading 20 until 18000");

    let mut stage = Stage::new(1, OnStoreReset::Stop);
    wiped.iter().for_each(|step| stage.play(step));
    back(&mut stage);
    assert_eq!(stage.stand(), "fatal StoreReset");
}
