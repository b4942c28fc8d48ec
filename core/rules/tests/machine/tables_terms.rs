//! The tables of terms: how they begin by a watch, and how they end.

use etcd_leader_rules::{ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::tables::{LEADING, RENEWED, THIRD, WAITING};
use crate::{Do, check, with};

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
                "unwatch watch",
                "leading 20 until 8000",
            ),
            (
                "the look disagrees",
                with(&[WAITING, &[Gone(&[(30, "7")]), Looked(30, &[7])]]),
                "unwatch leave20",
                "following other7",
            ),
            (
                "a look that is older than what the watch has told since does not count, and is taken again",
                with(&[THIRD, &[Canceled, GoneOn(0, &[(32, "7")]), Looked(31, &[7, 8])]]),
                "look",
                "following other7",
            ),
            ("the look does not come", with(&[WAITING, &[Gone(&[(30, "7")])], RENEWED]), "", "leading 20 until 8000"),
            (
                "then the term ends when it would have ended without renewals",
                with(&[WAITING, &[Gone(&[(30, "7")])], RENEWED, &[At(8000)]]),
                "unwatch leave20",
                "following other7",
            ),
            (
                "a check from before does not count",
                with(&[WAITING, RENEWED, &[At(10_000), Gone(&[(30, "7")]), Checked(29, &[])]]),
                "",
                "leading 20 until 15500",
            ),
            (
                "a watch that began later than our view proves nothing before a check: others may have written in between",
                vec![Opened(0), Granted, Joined(&[7]), CreatedAt(25)],
                "check2",
                "following other7",
            ),
            ("", vec![Opened(0), Granted, Joined(&[7]), CreatedAt(25), Gone(&[(30, "7")])], "look", "following other7"),
            (
                "after that it does",
                vec![Opened(0), Granted, Joined(&[7]), CreatedAt(25), Checked(26, &[]), Gone(&[(30, "7")])],
                "look",
                "leading 20 until 8000",
            ),
            (
                "a check that is older than the watch does not do",
                vec![Opened(0), Granted, Joined(&[7]), CreatedAt(25), Checked(24, &[])],
                "check2",
                "following other7",
            ),
            (
                "a watch that began in the future is not asked about in a loop",
                vec![Opened(0), Granted, Joined(&[7]), CreatedAt(90), Checked(26, &[]), Checked(27, &[])],
                "",
                "following other7",
            ),
            (
                "a leader checks its own entry",
                vec![Opened(0), Granted, Joined(&[]), CreatedAt(25)],
                "check1",
                "leading 20 until 8000",
            ),
            (
                "which has gone",
                vec![Opened(0), Granted, Joined(&[]), CreatedAt(25), Checked(26, &["own"])],
                "unwatch join",
                "out",
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
                "without news a waiter checks after a ttl what it knows",
                with(&[WAITING, RENEWED, &[At(10_000)]]),
                "check2 renew",
                "following other7",
            ),
        ],
    );
}

/// Tokens differ from term to term.
#[test]
fn the_end_of_a_term() {
    const LATE: &[Do] = &[Opened(0), Granted, At(5000), Renewed(10), Confirmed(1, true)];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "an entry that has led and lost the lead is left",
                with(&[LEADING, &[Expired(20)]]),
                "unwatch leave20",
                "following",
            ),
            ("and joined afresh", with(&[LEADING, &[Expired(20), Left]]), "join", "out"),
            (
                "if the leave is lost, it is sent again",
                with(&[LEADING, &[Expired(20), Fails(Kind::NoSpace), At(100)]]),
                "leave20",
                "out",
            ),
            (
                "and what stands there is not led from",
                with(&[LEADING, &[Expired(20), Left, FoundOwn(20)]]),
                "leave20",
                "out",
            ),
            (
                "an answer that is read after the end prolongs nothing",
                with(&[LEADING, &[At(2500), Renewed(10), FrozenTo(8000), Confirmed(1, true)]]),
                "renew unwatch leave20",
                "following",
            ),
            (
                "it does a moment before",
                with(&[LEADING, &[At(2500), Renewed(10), FrozenTo(7999), Confirmed(1, true)]]),
                "renew",
                "leading 20 until 10500",
            ),
            (
                "nor does one that was in time, if the user has seen the end",
                with(&[LEADING, &[At(2500), Renewed(10), Confirmed(1, true), Expired(20)]]),
                "unwatch leave20",
                "following",
            ),
            ("which is said of this term", with(&[LEADING, &[Expired(19)]]), "", "leading 20 until 8000"),
            (
                "a renewal that was sent before the join was answered says nothing of our entry",
                with(&[LATE, &[At(5500), Joined(&[])]]),
                "watch",
                "leading 20 until 8000",
            ),
            (
                "the next one does",
                with(&[LATE, &[At(5500), Joined(&[]), Created, At(7500), Renewed(10), Confirmed(1, true)]]),
                "",
                "leading 20 until 15500",
            ),
            (
                "an answer that comes later makes no leader before that",
                with(&[LATE, &[At(8500), Joined(&[])]]),
                "watch look",
                "out",
            ),
            (
                "but one after it",
                with(&[LATE, &[At(8500), Joined(&[]), Created, Looked(20, &[]), Renewed(10), Confirmed(1, true)]]),
                "",
                "leading 20 until 16500",
            ),
        ],
    );
}
