//! Two elections that share a session, of which etcd denies one its key.

use etcd_leader::OnStoreReset;
use etcd_leader::machine::Reply;

use crate::*;

struct Pair {
    crew: Crew,
    now: Time,
    open: Vec<Request>,
    reports: Vec<(CandidateId, Report)>,
}

impl Pair {
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
    let settings = settings(1, Api::V3, OnStoreReset::Continue);
    let crew = Crew::new(settings, Entropy::new(1, 0), Time::ZERO);
    let mut pair = Pair { crew, now: Time::ZERO, open: Vec::new(), reports: Vec::new() };
    let ten = Duration::from_secs(10);
    let [_, second] = ["/a", "/b"].map(|key| pair.crew.add(key, "me", ten, Time::ZERO));
    pair.handle(Input::Tick);
    pair.answer(|op| matches!(op, Op::Open { .. }), |_| Answer::Opened);
    pair.answer(|op| matches!(op, Op::Grant { .. }), |_| Answer::Granted { ttl_s: 10 });
    // We lead the one, and are next in line in the other.
    for (prefix, ahead) in [("/a/", None), ("/b/", Some(entry(b"/b/other", 7, 1)))] {
        let is_it = |op: &Op| matches!(op, Op::Join { prefix: at, .. } if at == prefix.as_bytes());
        pair.answer(is_it, |op| {
            let Op::Join { own, lease, .. } = op else { unreachable!("a join") };
            let own = entry(own, 20, *lease);
            let first: Vec<Member> = ahead.clone().into_iter().chain([own.clone()]).collect();
            let latest = first.iter().rev().cloned().collect();
            Answer::Joined { created: true, seen: Seen { own: Some(own), latest, first } }
        });
    }
    let watch = pair.take(|op| matches!(op, Op::Watch { from, .. } if from.starts_with(b"/b/")));
    let Op::Watch { watch: id, .. } = watch.op else { unreachable!("a watch") };
    pair.handle(Input::Watch { link: watch.link, watch: id, news: WatchNews::Created { revision: 30 } });

    pair.at(2500);
    pair.answer(|op| matches!(op, Op::Renew { .. }), |_| Answer::Renewed { ttl_s: 10 });
    let both = pair.take(|op| matches!(op, Op::Confirm { .. }));
    let denied = Failure { is_of_key: true, ..Failure::new(ErrorKind::Denied, "of one of the keys") };
    pair.handle(Input::Reply { id: both.id, result: Err(denied) });
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
    let gone = Change { at: 31, key: b"/b/other".to_vec(), now: None };
    pair.handle(Input::Watch { link: watch.link, watch: id, news: WatchNews::Changes { changes: vec![gone] } });
    let report = pair.reports.iter().rev().find(|(of, _)| *of == second).map(|(_, report)| &report.standing);
    let until = Time::ZERO + Duration::from_secs(8);
    assert_eq!(report, Some(&Standing::Leading { token: 20, until }));
}
