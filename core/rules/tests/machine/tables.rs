//! The tables: a name, what happens, what is asked for after the last happening, and where we stand then.

use etcd_leader_rules::{ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::{Do, Stage, check, with};

pub(crate) const LEADING: &[Do] = &[Opened(0), Granted, Joined(&[]), Created];
pub(crate) const WAITING: &[Do] = &[Opened(0), Granted, Joined(&[7]), Created];
/// Three renewals, each confirmed: those of one that leads or is next in line.
pub(crate) const RENEWED: &[Do] = &[
    At(2500),
    Renewed(10),
    Confirmed(1, true),
    At(5000),
    Renewed(10),
    Confirmed(1, true),
    At(7500),
    Renewed(10),
    Confirmed(1, true),
];
pub(crate) const THIRD: &[Do] = &[Opened(0), Granted, Joined(&[7, 8]), Created];

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
                "watch",
                "leading 20 until 8000",
            ),
            ("second waits", vec![Opened(0), Granted, Joined(&[7])], "watch", "following other7"),
            (
                "third watches the leader too, and whoever says that it leads",
                vec![Opened(0), Granted, Joined(&[7, 8])],
                "watch watch21 follow",
                "following other7",
            ),
            (
                "a join never moves the end",
                vec![Opened(0), Granted, At(1000), Joined(&[])],
                "watch",
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
                with(&[LEADING, &[At(2500), Renewed(10), Confirmed(1, false)]]),
                "unwatch join",
                "out",
            ),
            ("a look misses it", with(&[WAITING, &[Canceled, LookedGone(30)]]), "join", "out"),
            (
                "a watch that ends is replaced after a look",
                with(&[WAITING, &[Canceled, Looked(30, &[7])]]),
                "watch",
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
            ("renewed after a quarter of the ttl", with(&[LEADING, &[At(2500)]]), "renew", "leading 20 until 8000"),
            ("so is that of the next in line", with(&[WAITING, &[At(2500)]]), "renew", "following other7"),
            ("those behind it renew after half the ttl", with(&[THIRD, &[At(4999)]]), "", "following other7"),
            ("", with(&[THIRD, &[At(5000)]]), "renew", "following other7"),
            (
                "an answer alone moves nothing",
                with(&[LEADING, &[At(2500), Renewed(10)]]),
                "confirm1",
                "leading 20 until 8000",
            ),
            (
                "the confirming read moves the end, from when the renewal was sent",
                with(&[LEADING, &[At(2500), Renewed(10), At(3400), Confirmed(1, true)]]),
                "",
                "leading 20 until 10500",
            ),
            (
                "a shorter ttl counts",
                with(&[LEADING, &[At(2500), Renewed(4), Confirmed(1, true)]]),
                "",
                "leading 20 until 4500",
            ),
            (
                "and is renewed sooner",
                with(&[LEADING, &[At(2500), Renewed(8), Confirmed(1, true), At(4500)]]),
                "renew",
                "leading 20 until 8500",
            ),
            (
                "a longer one does not",
                with(&[LEADING, &[At(2500), Renewed(60), Confirmed(1, true)]]),
                "",
                "leading 20 until 10500",
            ),
            (
                "another raft term proves nothing",
                with(&[LEADING, &[At(2500), Renewed(10), Confirmed(2, true)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "gone: out, and a new one",
                with(&[LEADING, &[At(2500), Renewed(0)]]),
                "revoke grant unwatch leave20",
                "out",
            ),
            (
                "no answer to the renewal: another connection beside it",
                with(&[LEADING, &[At(4000)]]),
                "renew open0",
                "leading 20 until 8000",
            ),
            (
                "the answer comes after all: it counts, and the other one is not needed",
                with(&[LEADING, &[At(4500), Renewed(10)]]),
                "close confirm1",
                "leading 20 until 8000",
            ),
            (
                "the other one is there first: it takes over",
                with(&[LEADING, &[At(4500), Opened(0)]]),
                "close renew list look",
                "leading 20 until 8000",
            ),
            (
                "not renewed in time: out at the margin",
                with(&[LEADING, &[At(7999)]]),
                "renew open0",
                "leading 20 until 8000",
            ),
            ("", with(&[LEADING, &[At(8000)]]), "renew open0 unwatch leave20", "out"),
            (
                "a leader's link breaks: another at once",
                with(&[LEADING, &[LinkBreaks]]),
                "close open0",
                "leading 20 until 8000",
            ),
            ("so for the next in line", with(&[WAITING, &[LinkBreaks]]), "close open0", "following other7"),
            ("the others spread theirs", with(&[THIRD, &[LinkBreaks]]), "close", "following other7"),
            ("over half a ttl", with(&[THIRD, &[LinkBreaks, At(5000)]]), "open0", "following other7"),
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
                "close renew list look",
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
    assert_eq!(stage.said.join(" "), "close renew list look");
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
    for at in [2500, 5000, 7500, 10_000] {
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
