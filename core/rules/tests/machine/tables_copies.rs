//! The tables of copies of a process, which hold its lease and write its entry (law 13).

use etcd_leader_rules::{ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::tables::{LEADING, THIRD};
use crate::{Do, check, with};

#[test]
fn a_copy_of_this_process() {
    const RELINKED: &[Do] = &[LinkBreaks, Opened(0)];
    const AGAIN: &[Do] = &[LinkBreaks, At(500), Opened(0)];
    const RENEWALS: &[Do] = &[
        At(3000),
        Renewed(10),
        Confirmed(1, true),
        At(5500),
        Renewed(10),
        Confirmed(1, true),
        At(8000),
        Renewed(10),
        Confirmed(1, true),
    ];
    const NEXT_AGAIN: &[Do] = &[Opened(0), Granted, Joined(&[7]), Created, LinkBreaks, At(500), Opened(0)];
    check(
        1,
        OnStoreReset::Continue,
        vec![
            ("a fresh lease is nobody else's", LEADING.to_vec(), "", "leading 20 until 8000"),
            (
                "on a new link a look comes first",
                with(&[LEADING, RELINKED]),
                "renew list look",
                "leading 20 until 8000",
            ),
            (
                "then the leader writes its entry once",
                with(&[LEADING, RELINKED, &[Looked(20, &[])]]),
                "watch announce",
                "leading 20 until 8000",
            ),
            (
                "a follower need not",
                with(&[THIRD, &[LinkBreaks, At(6000), Opened(0), Checked(20, &[])]]),
                "watch watch21 follow",
                "following other7",
            ),
            (
                "the next in line writes its entry, too",
                with(&[NEXT_AGAIN, &[Looked(20, &[7])]]),
                "watch mark",
                "following other7",
            ),
            (
                "a write of its that failed is made again after a ttl",
                with(&[
                    NEXT_AGAIN,
                    &[Looked(20, &[7]), Renewed(10), Confirmed(1, true), Listed(&[]), Fails(Kind::Timeout)],
                    RENEWALS,
                    &[At(10_500), Checked(20, &[])],
                ]),
                "mark?",
                "following other7",
            ),
            (
                "our own write is told",
                with(&[LEADING, RELINKED, &[Looked(20, &[]), Touched(25), Copied(25)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "also before it is answered",
                with(&[LEADING, RELINKED, &[Looked(20, &[]), Copied(25), Touched(25)]]),
                "",
                "leading 20 until 8000",
            ),
            (
                "somebody else's ends the session",
                with(&[LEADING, &[Copied(25)]]),
                "unwatch revoke grant leave20",
                "out",
            ),
            (
                "also if it is told while ours is not answered",
                with(&[LEADING, RELINKED, &[Looked(20, &[]), Copied(26), Touched(25)]]),
                "unwatch revoke grant leave20",
                "out",
            ),
            (
                "or found by our write",
                with(&[LEADING, RELINKED, &[Looked(20, &[]), WrittenBefore(25)]]),
                "unwatch revoke grant leave20",
                "out",
            ),
            (
                "a write that was not answered may have been ours: once more",
                with(&[LEADING, RELINKED, &[Looked(20, &[])], AGAIN, &[Looked(20, &[]), WrittenBefore(25)]]),
                "announce?",
                "leading 20 until 8000",
            ),
            (
                "nor is an older one somebody else's: a restored backup has lost ours",
                with(&[
                    LEADING,
                    RELINKED,
                    &[Looked(20, &[]), Touched(25)],
                    AGAIN,
                    &[Looked(25, &[]), WrittenBefore(20)],
                ]),
                "announce?",
                "leading 20 until 8000",
            ),
            (
                "but not twice",
                with(&[
                    LEADING,
                    RELINKED,
                    &[Looked(20, &[])],
                    AGAIN,
                    &[Looked(20, &[]), WrittenBefore(25), WrittenBefore(27)],
                ]),
                "unwatch revoke grant leave20",
                "out",
            ),
            (
                "a write that is refused for want of space is not asked for again on this link",
                with(&[
                    LEADING,
                    RELINKED,
                    &[Looked(20, &[]), Renewed(10), Confirmed(1, true), Listed(&[]), Fails(Kind::NoSpace)],
                ]),
                "",
                "leading 20 until 8000",
            ),
        ],
    );
}
