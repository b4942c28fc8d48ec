//! The tables of those who stop: what is given up, when, and what is left in doubt.

use std::time::Duration;

use etcd_leader_rules::time::Time;
use etcd_leader_rules::{Api, ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::tables::{LEADING, RENEWED, WAITING};
use crate::{Stage, check, timings, with};

#[test]
fn stopping() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("before anything was asked for", vec![Stop(false)], "close", "released"),
            ("a waiter leaves at once", with(&[WAITING, &[Stop(false)]]), "unwatch leave20", "out"),
            ("then the lease goes", with(&[WAITING, &[Stop(false), Left]]), "revoke", "released"),
            (
                "a leader's entry is kept until the work has ended",
                with(&[LEADING, &[Stop(true)]]),
                "",
                "leading 20 until 8000",
            ),
            ("and is renewed meanwhile", with(&[LEADING, &[Stop(true), At(2500)]]), "renew", "leading 20 until 8000"),
            ("the work has ended", with(&[LEADING, &[Stop(true), Released]]), "unwatch leave20", "out"),
            (
                "the work takes as long as it needs",
                with(&[LEADING, &[Stop(true)], RENEWED, &[At(10_000)]]),
                "renew",
                "leading 20 until 15500",
            ),
            (
                "a revoke that is refused is sent again",
                with(&[WAITING, &[Stop(false), Left, KeyDenied, At(750)]]),
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
                "watch unwatch leave20",
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
            (
                "or it is still denied when it can be there no more",
                with(&[&late, &[Revoked, KeyDenied, At(50_000), KeyDenied]]),
                // The link, and one that was to take its place while it was silent for so long.
                "close close",
                "ended",
            ),
            ("or the server has forgotten it", with(&[&late, &[LinkBreaks, At(41_500), At(60_000)]]), "", "ended"),
        ],
    );
}

/// The process was frozen past the end of its lease, and the stop is the first that reaches the machine.
#[test]
fn a_stop_that_comes_before_the_end_was_noticed_does_not_say_that_the_place_is_ours() {
    for (at, why) in [(7999, None), (8000, Some(Kind::Deadline))] {
        let mut stage = Stage::new(1, OnStoreReset::Continue);
        LEADING.iter().for_each(|step| stage.play(step));
        stage.now = Time::ZERO + Duration::from_millis(at);
        stage.play(&Stop(true));
        assert_eq!(stage.report.lost.as_ref().map(|lost| lost.kind()), why, "at {at} ms");
    }
}

#[test]
fn an_entry_that_is_found_to_be_gone_was_lost_while_the_work_went_on() {
    let released = with(&[LEADING, &[Stop(true), Released]]);
    let posted = vec![Opened(0), Posted, Looked(20, &[]), Created, Stop(true), Released];
    for (name, api, steps, lost) in [
        ("it was there", Api::V3, with(&[&released, &[Left]]), Kind::Stopped),
        ("it was gone", Api::V3, with(&[&released, &[WasGone]]), Kind::KeyLost),
        ("until its time was over", Api::V3, with(&[&released, &[At(8000), WasGone]]), Kind::Stopped),
        ("it may have run out in a pause", Api::V3, with(&[&released, &[Jump, WasGone]]), Kind::Stopped),
        (
            "it may have run out in a pause before we could ask",
            Api::V3,
            with(&[LEADING, &[Stop(true), LinkBreaks, Released, Jump, Opened(0), WasGone]]),
            Kind::Stopped,
        ),
        (
            "it may have run out in a pause between the end of the work and our leave",
            Api::V3,
            with(&[LEADING, &[Stop(true), Jump, Released, WasGone]]),
            Kind::Stopped,
        ),
        (
            "a request of ours may have deleted it",
            Api::V3,
            with(&[&released, &[Fails(Kind::NoSpace), At(60), WasGone]]),
            Kind::Stopped,
        ),
        ("v2: it was there", Api::V2, with(&[&posted, &[Left]]), Kind::Stopped),
        ("v2: it was gone", Api::V2, with(&[&posted, &[WasGone]]), Kind::KeyLost),
        ("v2: it may have run out", Api::V2, with(&[&posted, &[Jump, WasGone]]), Kind::Stopped),
        (
            "v2: also between the end of the work and our leave",
            Api::V2,
            with(&[&posted[..5], &[Jump, Released, WasGone]]),
            Kind::Stopped,
        ),
        ("v2: it is another's", Api::V2, with(&[&posted, &[Spared]]), Kind::KeyLost),
    ] {
        let mut stage = Stage::of(timings(1, api, OnStoreReset::Continue));
        steps.iter().for_each(|step| stage.play(step));
        assert_eq!(stage.report.lost.as_ref().map(|why| why.kind()), Some(lost), "{name}");
    }
}
