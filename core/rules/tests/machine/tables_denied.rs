//! The tables of keys that etcd denies us, and of entries on our lease that nobody owns.

use etcd_leader_rules::{ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::tables::{LEADING, RENEWED, WAITING};
use crate::{Do, check, with};

/// The renewal at 2,500 ms is denied, and another lease is granted; the old one is certain until 8,000 ms.
const REPLACED: &[Do] = &[At(2500), RenewDenied, At(2900), Granted];

#[test]
fn a_lease_that_is_denied_is_left() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "another is granted",
                with(&[LEADING, &[At(2500), RenewDenied, At(2900)]]),
                "grant",
                "leading 20 until 8000",
            ),
            ("our entry is moved there", with(&[LEADING, REPLACED]), "move", "leading 20 until 8000"),
            ("and is as certain as the move", with(&[LEADING, REPLACED, &[Moved(true)]]), "", "leading 20 until 10526"),
            (
                "a renewal from before the answer does not prolong the term",
                with(&[LEADING, REPLACED, &[At(5100), Renewed(10), Confirmed(1, true), Moved(true)]]),
                "",
                "leading 20 until 10900",
            ),
            (
                "news of a write from before the move does not end the term when it comes after the answer",
                with(&[LEADING, REPLACED, &[Gone(&[(30, "9")]), Moved(true), Overwritten(25)]]),
                "",
                "leading 20 until 10526",
            ),
            (
                "but news of a later write that takes our key off the lease does",
                with(&[LEADING, REPLACED, &[Gone(&[(30, "9")]), Moved(true), Overwritten(31)]]),
                "unwatch leave20",
                "out",
            ),
            ("it was somebody else's by then", with(&[LEADING, REPLACED, &[Moved(false)]]), "unwatch join", "out"),
            (
                "our key is the one that is denied",
                with(&[LEADING, REPLACED, &[KeyDenied]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "then the term ends with the old lease",
                with(&[LEADING, REPLACED, &[KeyDenied, At(2999), KeyDenied, FrozenTo(8000), At(8000)]]),
                "renew unwatch join",
                "out",
            ),
            (
                "a move that nobody answers may have been applied: it is sent again",
                with(&[LEADING, REPLACED, &[LinkBreaks, Opened(0)]]),
                "renew move list",
                "leading 20 until 8000",
            ),
            (
                "and once more from there, if it was",
                with(&[LEADING, REPLACED, &[LinkBreaks, Opened(0), WrittenBefore(25)]]),
                "move",
                "leading 20 until 8000",
            ),
            (
                "nor can one that was told meanwhile be ours, if etcd refuses the move",
                with(&[LEADING, REPLACED, &[Copied(25), KeyDenied]]),
                "unwatch revoke revoke grant",
                "out",
            ),
            (
                "a write that cannot be ours is a copy's",
                with(&[LEADING, REPLACED, &[WrittenBefore(25)]]),
                "unwatch revoke revoke grant leave20 confirm1",
                "out",
            ),
        ],
    );
}

/// Simulation, UNKIND seeds 2955 and 7125.
#[test]
fn a_lease_that_is_lost_while_more_hangs_on_it() {
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "a user that has still to hear keeps its entry on the lease before",
                with(&[LEADING, REPLACED, &[KeyDenied, Stop(true), At(5200), Renewed(0)]]),
                "revoke grant",
                "out",
            ),
            (
                "a join that was not answered may still come, once the entry that another one made is deleted",
                with(&[&[Opened(0), Granted, LinkBreaks, Opened(0), Joined(&[]), At(2500), Renewed(0)]]),
                "close revoke grant unwatch leave20 confirm1",
                "out",
            ),
        ],
    );
}

#[test]
fn a_key_that_nobody_can_see() {
    const RELINKED: &[Do] = &[LinkBreaks, Opened(0)];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "a look on the new link shows our key",
                with(&[LEADING, &[At(2500)], RELINKED, &[Looked(20, &[]), Renewed(10), Confirmed(1, true)]]),
                "",
                "leading 20 until 10500",
            ),
            (
                "renewals alone do not prolong the term",
                with(&[LEADING, &[At(2500)], RELINKED, &[Renewed(10), Confirmed(1, true)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "a denied look ends it when it would have ended without them",
                with(&[
                    LEADING,
                    &[At(2500)],
                    RELINKED,
                    &[Renewed(10), Confirmed(1, true), Listed(&[]), KeyDenied, FrozenTo(8000), At(8000)],
                ]),
                "renew leave20",
                "following",
            ),
        ],
    );
}

/// Before 3.4.42, 3.5.28 and 3.6.9 etcd renews a lease whatever hangs on it.
#[test]
fn an_entry_that_we_may_not_delete_ends_with_its_lease() {
    // The confirming read is denied, and nothing is certain beyond 8,000 ms.
    // The confirming read is denied, and nothing is certain beyond 8,000 ms.
    const DENIED: &[Do] = &[At(2500), Renewed(10), KeyDenied];
    const OVER: &[Do] = &[FrozenTo(8000), At(8000), Renewed(10)];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            (
                "one that was led from is to be deleted",
                with(&[LEADING, DENIED, &[KeyDenied, FrozenTo(8000), At(8000)]]),
                "renew unwatch leave20",
                "out",
            ),
            (
                "if it cannot be, another lease is granted",
                with(&[LEADING, DENIED, &[KeyDenied], OVER, &[KeyDenied, KeyDenied, At(8400)]]),
                "grant leave20",
                "out",
            ),
            (
                "and used",
                with(&[LEADING, DENIED, &[KeyDenied], OVER, &[KeyDenied, KeyDenied, At(8400), Granted]]),
                "join",
                "out",
            ),
            (
                "one that waits is looked for once more",
                with(&[WAITING, DENIED, &[FrozenTo(8000), At(8000)]]),
                "renew look",
                "out",
            ),
            (
                "and kept if it is seen",
                with(&[WAITING, DENIED, OVER, &[Looked(30, &[7]), Confirmed(1, true)]]),
                "",
                "following other7",
            ),
            (
                "or deleted, if it cannot be seen",
                with(&[WAITING, DENIED, OVER, &[KeyDenied, Confirmed(1, true), At(8400)]]),
                "leave20",
                "out",
            ),
        ],
    );
}

#[test]
fn entries_on_our_lease_that_nobody_owns() {
    const ASKED: &[Do] = &[LinkBreaks, Opened(0), Looked(20, &[]), Renewed(10), Confirmed(1, true)];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("our own is ours", with(&[LEADING, ASKED, &[Listed(&[])]]), "", "leading 20 until 8000"),
            ("another's is not our matter", with(&[LEADING, ASKED, &[Listed(&["/b/1"])]]), "", "leading 20 until 8000"),
            (
                "one that bears the name of our lease is read",
                with(&[LEADING, ASKED, &[Listed(&["/b/"])]]),
                "confirm1",
                "leading 20 until 8000",
            ),
            ("and deleted", with(&[LEADING, ASKED, &[Listed(&["/b/"]), Found(7)]]), "leave7", "leading 20 until 8000"),
            (
                "until it is gone",
                with(&[LEADING, ASKED, &[Listed(&["/b/"]), Found(7), Left]]),
                "confirm1",
                "leading 20 until 8000",
            ),
            (
                "then it is forgotten",
                with(&[LEADING, ASKED, &[Listed(&["/b/"]), Found(0)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "a server that cannot say now is asked again",
                with(&[LEADING, ASKED, &[Fails(Kind::NoQuorum), At(5100)]]),
                "renew open0 list",
                "leading 20 until 8000",
            ),
            (
                "a server that cannot say is asked on the next link only",
                with(&[LEADING, ASKED, &[Fails(Kind::Unsupported)], RENEWED]),
                "",
                "leading 20 until 15500",
            ),
        ],
    );
}
