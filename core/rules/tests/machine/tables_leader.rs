//! The tables of how a leader makes itself known, and of what those far behind it need not ask.

use etcd_leader_rules::machine::Sign;
use etcd_leader_rules::{Api, ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::tables::{RENEWED, THIRD, WAITING};
use crate::{Do, check, check_on, timings, with};

/// We are the fourth: 7 leads, 9 is just before us.
const FOURTH: &[Do] = &[Opened(0), Granted, Joined(&[7, 8, 9]), Created];
const EIGHT_LEADS: &[Do] = &[Written(2, 30, 8, Sign::Leads)];
/// A ttl later.
const CHECKS: &[Do] = &[At(5000), Renewed(10), At(10_000)];

#[test]
fn a_leader_makes_itself_known() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "a new leader with others behind it writes its entry once",
                with(&[WAITING, &[Gone(&[(30, "7")]), LookedFirst(30)]]),
                "unwatch watch announce",
                "leading 20 until 8000",
            ),
            (
                "its own write is no copy's",
                with(&[WAITING, &[Gone(&[(30, "7")]), LookedFirst(30), Copied(31), Touched(31)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "an answer to it from another cluster breaks the link",
                with(&[WAITING, &[Gone(&[(30, "7")]), LookedFirst(30), Fails(Kind::ClusterMismatch)]]),
                "close",
                "leading 20 until 8000",
            ),
            (
                "that is enough",
                with(&[WAITING, &[Gone(&[(30, "7")]), LookedFirst(30), Touched(31)], RENEWED, &[At(10_000)]]),
                "renew",
                "leading 20 until 15500",
            ),
            (
                "but others may have missed it if a look made it lead: it writes once more after a ttl",
                with(&[
                    WAITING,
                    &[LinkBreaks, Opened(0), Renewed(10), Confirmed(1, true), LookedFirst(30), Touched(31)],
                    RENEWED,
                    &[At(10_000)],
                ]),
                "renew mark",
                "leading 20 until 15500",
            ),
            (
                "on a new link it writes its entry, and does not seem to wait meanwhile",
                with(&[
                    WAITING,
                    &[Gone(&[(30, "7")]), LookedFirst(30), Touched(31), LinkBreaks, Opened(0), LookedFirst(31)],
                ]),
                "watch mark",
                "leading 20 until 8000",
            ),
            (
                "also if the write before was never answered",
                with(&[WAITING, &[Gone(&[(30, "7")]), LookedFirst(30), LinkBreaks, Opened(0), LookedFirst(31)]]),
                "watch announce?",
                "leading 20 until 8000",
            ),
            (
                "if it fails, again after a ttl",
                with(&[WAITING, &[Gone(&[(30, "7")]), LookedFirst(30), Fails(Kind::Timeout)], RENEWED, &[At(10_000)]]),
                "renew announce?",
                "leading 20 until 15500",
            ),
            (
                "with nobody behind it, it need not",
                with(&[WAITING, &[Gone(&[(30, "7")]), Looked(30, &[])]]),
                "unwatch watch",
                "leading 20 until 8000",
            ),
            ("others report it, and ask nothing", with(&[FOURTH, EIGHT_LEADS]), "unwatch watch31", "following other8"),
            (
                "the one just behind it looks",
                with(&[FOURTH, &[Written(2, 30, 9, Sign::Leads)]]),
                "unwatch unwatch look",
                "following other9",
            ),
            (
                "a write of one that waits says nothing",
                with(&[FOURTH, &[Written(2, 30, 8, Sign::Waits)]]),
                "",
                "following other7",
            ),
            (
                "unless it said that it leads just before",
                with(&[FOURTH, EIGHT_LEADS, &[Written(2, 31, 8, Sign::Waits)]]),
                "",
                "following other7",
            ),
            (
                "the first of two writes says nothing: one that waits writes its entry",
                with(&[FOURTH, EIGHT_LEADS, &[Written(1, 31, 9, Sign::Nothing), At(100)]]),
                "",
                "following other8",
            ),
            (
                "nor is a word taken back by it: the leader writes its entry",
                with(&[FOURTH, EIGHT_LEADS, &[Written(2, 31, 8, Sign::Nothing), At(100)]]),
                "",
                "following other8",
            ),
            (
                "nor does one behind us lead",
                with(&[FOURTH, &[Written(2, 30, 25, Sign::Leads)]]),
                "",
                "following other7",
            ),
            (
                "what was said before is older",
                with(&[FOURTH, EIGHT_LEADS, &[Written(2, 29, 7, Sign::Leads)]]),
                "",
                "following other8",
            ),
            (
                "it proves nothing: we are next in line, and do not lead",
                with(&[WAITING, &[Written(0, 30, 7, Sign::Leads)]]),
                "",
                "following other7",
            ),
            (
                "the leader's end is waited for to be explained",
                with(&[FOURTH, &[GoneOn(1, &[(30, "7")]), At(19)]]),
                "",
                "following other7",
            ),
            (
                "by the next one's word",
                with(&[FOURTH, &[GoneOn(1, &[(30, "7")]), Written(2, 31, 8, Sign::Leads), At(100)]]),
                "",
                "following other8",
            ),
            (
                "a leader of another library says nothing: we check",
                with(&[FOURTH, &[GoneOn(1, &[(30, "7")]), At(40)]]),
                "check3",
                "following other7",
            ),
            (
                "and look",
                with(&[FOURTH, &[GoneOn(1, &[(30, "7")]), At(40), Checked(31, &["7"])]]),
                "look",
                "following other7",
            ),
        ],
    );
}

#[test]
fn checks() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("each ttl", with(&[FOURTH, CHECKS]), "check3 renew", "following other7"),
            ("all stands", with(&[FOURTH, CHECKS, &[Checked(30, &[])]]), "", "following other7"),
            (
                "our entry does not",
                with(&[FOURTH, CHECKS, &[Checked(30, &["own"])]]),
                "unwatch unwatch unwatch join",
                "out",
            ),
            ("the one before does not", with(&[FOURTH, CHECKS, &[Checked(30, &["9"])]]), "look", "following other7"),
            (
                "the leader does not: it may be about to be explained",
                with(&[FOURTH, CHECKS, &[Checked(30, &["7"])]]),
                "",
                "following other7",
            ),
            ("", with(&[FOURTH, CHECKS, &[Checked(30, &["7"]), At(10_040)]]), "check3", "following other7"),
            (
                "or is not",
                with(&[FOURTH, CHECKS, &[Checked(30, &["7"]), At(10_040), Checked(30, &["7"])]]),
                "look",
                "following other7",
            ),
            (
                "the leader before, too, until it is known to be gone",
                with(&[FOURTH, EIGHT_LEADS, CHECKS]),
                "check4 renew",
                "following other8",
            ),
            ("", with(&[FOURTH, EIGHT_LEADS, CHECKS, &[Checked(40, &["7"])]]), "", "following other8"),
            (
                "what was said was not so",
                with(&[FOURTH, EIGHT_LEADS, CHECKS, &[Checked(40, &[])]]),
                "unwatch watch41",
                "following other7",
            ),
            (
                "a new connection: what we know is checked",
                with(&[FOURTH, &[LinkBreaks, At(6000), Opened(0)]]),
                "renew list check3",
                "following other7",
            ),
            (
                "and watched again",
                with(&[FOURTH, &[LinkBreaks, At(6000), Opened(0), Checked(30, &[])]]),
                "watch watch31 follow",
                "following other7",
            ),
        ],
    );
}

/// Those behind the next in line do not confirm renewals, until they may lead.
#[test]
fn confirmation_by_role() {
    const NEXT: &[Do] = &[At(5000), Renewed(10), Gone(&[(30, "8")]), Looked(30, &[7])];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "a renewal is enough for those who wait",
                with(&[THIRD, &[At(5000), Renewed(10)]]),
                "",
                "following other7",
            ),
            (
                "for as long as it lasts",
                with(&[THIRD, &[At(5000), Renewed(10), At(12_999)]]),
                "check3 renew open0",
                "following other7",
            ),
            (
                "who becomes next confirms at once",
                with(&[THIRD, NEXT]),
                "unwatch unwatch unwatch watch confirm1",
                "following other7",
            ),
            (
                "before that it does not lead",
                with(&[THIRD, NEXT, &[Created, Gone(&[(31, "7")])]]),
                "look",
                "following other7",
            ),
            (
                "then it does",
                with(&[THIRD, NEXT, &[Created, Gone(&[(31, "7")]), Confirmed(1, true)]]),
                "",
                "leading 20 until 13000",
            ),
            (
                "another raft term proves nothing",
                with(&[THIRD, NEXT, &[Created, Gone(&[(31, "7")]), Confirmed(2, true)]]),
                "",
                "following other7",
            ),
            (
                "a jump of the wall clock needs proof",
                with(&[THIRD, &[Jump, Renewed(10)]]),
                "confirm1",
                "following other7",
            ),
            (
                "of a renewal that was sent after it",
                with(&[THIRD, &[At(5000), Renewed(10), Jump]]),
                "renew",
                "following other7",
            ),
        ],
    );
}

/// In a large fleet nobody but the next in line watches an end: telling a thousand of it would keep that one waiting.
#[test]
fn a_large_fleet() {
    let mut large = timings(1, Api::V3, OnStoreReset::Continue);
    large.few = 3;
    // The keys of the others say that they joined in these days.
    const LATE: &[Do] = &[Opened(0), At(1000), Granted, Joined(&[7, 8, 9])];
    check_on(
        &large,
        vec![
            ("three are few", vec![Opened(0), Granted, Joined(&[7, 8])], "watch watch21 follow", "following other7"),
            ("four are not", vec![Opened(0), At(1000), Granted, Joined(&[7, 8, 9])], "watch", "following other7"),
            ("they wait until the others have joined", with(&[LATE, &[At(2000)]]), "", "following other7"),
            ("", with(&[LATE, &[At(3000)]]), "follow", "following other7"),
            ("they look by rank", with(&[FOURTH, &[Gone(&[(30, "9")])]]), "", "following other7"),
            ("", with(&[FOURTH, &[Gone(&[(30, "9")]), At(1)]]), "look", "following other7"),
        ],
    );
}
