//! Two elections that share a session, of which etcd denies one its key.

use etcd_leader_rules::OnStoreReset;
use etcd_leader_rules::machine::Reply;

use crate::*;

/// Two candidates whose session has a link and a lease.
struct Pair {
    crew: Crew,
    candidates: [CandidateId; 2],
    now: Time,
    open: Vec<Request>,
    reports: Vec<(CandidateId, Report)>,
}

impl Pair {
    fn new() -> Pair {
        let timings = timings(1, Api::V3, OnStoreReset::Continue);
        let mut crew = Crew::new(timings, Entropy::new(1, 0), Time::ZERO);
        let candidates = ["/a", "/b"].map(|key| crew.add(key, "me", Time::ZERO));
        let mut pair = Pair { crew, candidates, now: Time::ZERO, open: Vec::new(), reports: Vec::new() };
        pair.handle(Input::Tick);
        pair.answer(|op| matches!(op, Op::Open { .. }), |_| Answer::Opened);
        pair.answer(|op| matches!(op, Op::Grant { .. }), |_| Answer::Granted { ttl_s: 10 });
        pair
    }

    /// The join under this prefix is answered: we are behind this entry, or the first.
    fn join(&mut self, prefix: &str, ahead: Option<Member>) {
        let is_it = |op: &Op| matches!(op, Op::Join { prefix: at, .. } if at == prefix.as_bytes());
        self.answer(is_it, |op| {
            let Op::Join { own, lease, .. } = op else { unreachable!("a join") };
            let own = entry(own, 20, *lease);
            let first: Vec<Member> = ahead.into_iter().chain([own.clone()]).collect();
            let latest = first.iter().rev().cloned().collect();
            Answer::Joined { created: true, seen: Seen { own: Some(own), latest, count: first.len(), first } }
        });
    }

    fn refuse(&mut self, wanted: impl Fn(&Op) -> bool, kind: ErrorKind) {
        let request = self.take(wanted);
        let failure = Failure { is_of_key: kind == ErrorKind::Denied, ..Failure::new(kind, "as etcd says it") };
        self.handle(Input::Reply { id: request.id, result: Err(failure) });
    }

    fn handle(&mut self, input: Input) {
        self.crew.handle(input, self.now);
        self.open.extend(std::iter::from_fn(|| self.crew.poll_request()));
        self.reports.extend(std::iter::from_fn(|| self.crew.poll_report()));
    }

    fn take(&mut self, wanted: impl Fn(&Op) -> bool) -> Request {
        let at = self.open.iter().position(|request| wanted(&request.op)).expect("it is asked for");
        self.open.remove(at)
    }

    fn answer(&mut self, wanted: impl Fn(&Op) -> bool, answer: impl FnOnce(&Op) -> Answer) {
        let request = self.take(wanted);
        let stamp = Stamp { cluster: 1, revision: 30, term: 1, clock_s: None };
        let result = Ok(Reply { stamp, answer: answer(&request.op) });
        self.handle(Input::Reply { id: request.id, result });
    }

    fn at(&mut self, millis: u64) {
        self.now = Time::ZERO + Duration::from_millis(millis);
        self.handle(Input::Tick);
    }
}

fn entry(key: &[u8], revision: u64, lease: LeaseId) -> Member {
    Member { key: key.to_vec(), name: b"me".to_vec(), revision, lease }
}

/// Nobody may read our key. The renewals of the session, which others confirm, say nothing of it: whoever takes the lead over
/// by a watch leads no longer than was certain when the key was seen for the last time (law 3; simulation, seed 32450).
#[test]
fn a_takeover_is_no_more_certain_than_the_last_sight_of_our_key() {
    let mut pair = Pair::new();
    pair.join("/a/", None);
    pair.join("/b/", Some(entry(b"/b/other", 7, 1)));
    let watch = pair.take(|op| matches!(op, Op::Watch { range, .. } if range.from.starts_with(b"/b/")));
    let Op::Watch { watch: id, .. } = watch.op else { unreachable!("a watch") };
    pair.handle(Input::Watch { link: watch.link, watch: id, news: WatchNews::Created { revision: 30 } });

    pair.at(2500);
    pair.answer(|op| matches!(op, Op::Renew { .. }), |_| Answer::Renewed { ttl_s: 10 });
    pair.refuse(|op| matches!(op, Op::Confirm { .. }), ErrorKind::Denied);
    pair.answer(|op| matches!(op, Op::Renew { .. }), |_| Answer::Renewed { ttl_s: 10 });
    pair.answer(
        |op| matches!(op, Op::Confirm { .. }),
        |op| {
            let Op::Confirm { keys, .. } = op else { unreachable!("a confirming read") };
            assert!(keys[0].starts_with(b"/a/"), "each key is read alone");
            let lease = i64::from_str_radix(std::str::from_utf8(&keys[0][3..]).expect("text"), 16).expect("a number");
            Answer::Confirmed { found: vec![Some(entry(&keys[0], 20, lease))] }
        },
    );
    pair.at(3000);
    let gone = Change { at: 31, key: b"/b/other".to_vec(), now: None, sign: Sign::Nothing };
    pair.handle(Input::Watch { link: watch.link, watch: id, news: WatchNews::Changes { changes: vec![gone] } });
    let report =
        pair.reports.iter().rev().find(|(of, _)| *of == pair.candidates[1]).map(|(_, report)| &report.standing);
    let until = Time::ZERO + Duration::from_secs(8);
    assert_eq!(report, Some(&Standing::Leading { token: 20, until }));
}

/// A session writes one entry on a new link (law 13), and the links of others say nothing of ours. So each announcement that went
/// with the link before is made again.
#[test]
fn each_announcement_that_a_broken_link_took_along_is_made_again() {
    let mut pair = Pair::new();
    let leads = |key: &[u8], lease| {
        let (own, behind) = (entry(key, 20, lease), entry(b"/x/other", 25, 1));
        let (first, latest) = (vec![own.clone(), behind], vec![own.clone()]);
        Seen { own: Some(own), latest, count: 2, first }
    };
    for _ in 0..2 {
        pair.answer(
            |op| matches!(op, Op::Join { .. }),
            |op| {
                let Op::Join { own, lease, .. } = op else { unreachable!("a join") };
                Answer::Joined { created: true, seen: leads(own, *lease) }
            },
        );
    }
    let announces = |op: &Op| matches!(op, Op::Touch { sign: Sign::Leads, .. });
    let link = [pair.take(announces), pair.take(announces)][0].link;
    pair.handle(Input::Broken { link, failure: Failure::new(ErrorKind::Unreachable, "it breaks") });
    pair.now = Time::ZERO + Duration::from_millis(500);
    pair.handle(Input::Tick);
    pair.answer(|op| matches!(op, Op::Open { .. }), |_| Answer::Opened);
    for _ in 0..2 {
        pair.answer(
            |op| matches!(op, Op::Look { .. }),
            |op| {
                let Op::Look { own, .. } = op else { unreachable!("a look") };
                let lease = i64::from_str_radix(std::str::from_utf8(&own[3..]).expect("text"), 16).expect("a number");
                Answer::Looked(leads(own, lease))
            },
        );
    }
    assert_eq!(pair.open.iter().filter(|request| announces(&request.op)).count(), 2, "{:#?}", pair.open);
}

/// Etcd denies the lease for the sake of one key, and another is granted and lost. A move to that one which waits to be sent
/// when it is given up is not sent any more (law 8; simulation, seed 56377).
#[test]
fn no_entry_is_moved_to_a_lease_that_was_given_up() {
    let mut pair = Pair::new();
    pair.join("/a/", None);
    pair.join("/b/", None);
    pair.at(2500);
    pair.refuse(|op| matches!(op, Op::Renew { .. }), ErrorKind::Denied);
    pair.at(2900);
    pair.answer(|op| matches!(op, Op::Grant { .. }), |_| Answer::Granted { ttl_s: 10 });
    let moves = |prefix: &'static [u8]| move |op: &Op| matches!(op, Op::Touch { key, .. } if key.starts_with(prefix));
    pair.refuse(moves(b"/a/"), ErrorKind::Denied);
    // By then the first one would ask again.
    pair.now = Time::ZERO + Duration::from_millis(4900);
    pair.refuse(moves(b"/b/"), ErrorKind::LeaseLost);
    pair.take(|op| matches!(op, Op::Revoke { .. }));
    assert!(!pair.open.iter().any(|request| matches!(request.op, Op::Touch { .. })), "{:?}", pair.open);
}

/// A key in doubt whose watch ends is read again: what appears there later would stay for as long as others keep the lease (law 8).
#[test]
fn a_key_in_doubt_whose_watch_ends_is_read_again() {
    let mut pair = Pair::new();
    pair.join("/a/", None);
    let candidate = pair.candidates[1];
    pair.handle(Input::Stop { candidate, holds: false });
    pair.refuse(|op| matches!(op, Op::Join { prefix, .. } if prefix.starts_with(b"/b/")), ErrorKind::Timeout);
    let reads = |op: &Op| matches!(op, Op::Confirm { keys, .. } if keys.iter().any(|key| key.starts_with(b"/b/")));
    pair.answer(reads, |_| Answer::Confirmed { found: vec![None] });
    let watch = pair.take(|op| matches!(op, Op::Watch { range, .. } if range.from.starts_with(b"/b/")));
    let Op::Watch { watch: id, .. } = watch.op else { unreachable!("a watch") };
    for news in [WatchNews::Created { revision: 30 }, WatchNews::Canceled { reason: "compacted".into() }] {
        pair.handle(Input::Watch { link: watch.link, watch: id, news });
    }
    pair.at(1500);
    pair.take(reads);
}

/// A link carries so many requests of candidates at a time. A join that was not sent when its election is stopped never is.
#[test]
fn a_join_that_was_not_sent_is_taken_back_by_a_stop() {
    let mut pair = Pair::new();
    let ids: Vec<CandidateId> = (0..200).map(|n| pair.crew.add(&format!("/c{n}"), "me", pair.now)).collect();
    pair.handle(Input::Tick);
    let is_joining = |pair: &Pair, n: usize| {
        let prefix = format!("/c{n}/").into_bytes();
        pair.open.iter().any(|request| matches!(&request.op, Op::Join { prefix: of, .. } if *of == prefix))
    };
    assert!(is_joining(&pair, 0) && !is_joining(&pair, 199));
    for holds in [true, false] {
        pair.handle(Input::Stop { candidate: ids[199], holds });
        pair.handle(Input::Release { candidate: ids[199] });
    }
    let report = pair.reports.iter().rev().find(|(of, _)| *of == ids[199]).map(|(_, report)| report);
    assert!(report.is_some_and(|report| report.ended && report.released), "{report:?}");
    while pair.open.iter().any(|request| matches!(request.op, Op::Join { .. })) {
        pair.refuse(|op| matches!(op, Op::Join { .. }), ErrorKind::NoSpace);
        assert!(!is_joining(&pair, 199));
    }
}
