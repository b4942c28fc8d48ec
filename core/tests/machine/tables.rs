//! The tables: a name, what happens, what is asked for after the last happening, and where we stand then.

use std::time::Duration;

use etcd_leader::time::Time;
use etcd_leader::{ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::{Do, Stage, check, with};

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

/// Not only the one that serves us says how far the store has come.
#[test]
fn what_another_endpoint_said_of_the_store_counts() {
    for (revision, trouble) in [(12, None), (11, Some(Kind::StoreReset))] {
        let mut stage = Stage::new(2, OnStoreReset::Continue);
        stage.play(&Opened(0));
        stage.revision = 12;
        stage.play(&Opened(1));
        stage.revision = revision;
        stage.play(&Granted);
        assert_eq!(stage.report.trouble.as_ref().map(|trouble| trouble.error.kind()), trouble, "revision {revision}");
    }
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
                "a revoke that is refused is sent again",
                with(&[WAITING, &[Stop(false), Left, Fails(Kind::Denied), At(750)]]),
                "revoke",
                "released",
            ),
            ("a revoke is waited for without a stir", with(&[WAITING, &[Stop(false), Left, At(1000)]]), "", "released"),
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
                "and even if it is given up at once, nothing is fatal any more",
                vec![Opened(0), Granted, Stop(false), Joined(&[]), LinkBreaks, OpenFails(0, Kind::Denied)],
                "close",
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
    let late =
        with(&[WAITING, &[LinkBreaks, Stop(false), At(20500), OpenFails(0, Kind::Unreachable), At(23_000), Opened(0)]]);
    let found = with(&[&late, &[Revoked, Confirmed(1, true)]]);
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("what was left behind is looked at once more", late.clone(), "revoke confirm1", "ended"),
            (
                "nothing was there before the lease had ended: it may have come since",
                with(&[&late, &[Confirmed(1, false), Revoked, At(23_400)]]),
                "confirm1",
                "ended",
            ),
            (
                "it has gone with the lease",
                with(&[&late, &[Confirmed(1, false), Revoked, At(23_400), Confirmed(1, false)]]),
                "close",
                "ended",
            ),
            ("somebody put over it: it is deleted", found.clone(), "leave20", "ended"),
            ("until it is gone", with(&[&found, &[Left, Confirmed(1, false)]]), "close", "ended"),
            ("or the server has forgotten it", with(&[&late, &[LinkBreaks, At(41_500), At(60_000)]]), "", "ended"),
        ],
    );
}

/// The process was frozen past the end of its lease, and the stop is the first that reaches the machine.
#[test]
fn a_stop_that_comes_before_the_end_was_noticed_does_not_say_that_the_place_is_ours() {
    for (at, why) in [(7999, Kind::Stopped), (8000, Kind::Deadline)] {
        let mut stage = Stage::new(1, OnStoreReset::Continue);
        LEADING.iter().for_each(|step| stage.play(step));
        stage.now = Time::ZERO + Duration::from_millis(at);
        stage.play(&Stop(true));
        assert_eq!(stage.report.lost.as_ref().map(|lost| lost.kind()), Some(why), "at {at} ms");
    }
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
