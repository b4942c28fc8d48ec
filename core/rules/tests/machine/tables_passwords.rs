//! API v2 with a password, which etcd checks with each request at the cost of its processor: so requests go one at a time, a
//! refresh first, and of many candidates each asks for little.

use etcd_leader_rules::{Api, OnStoreReset};

use crate::Do::*;
use crate::{Do, Row, check_on, timings, with};

/// The next in line.
const NEXT: &[Do] = &[Opened(0), Posted, Looked(20, &[7])];
/// The third of three.
const FEW: &[Do] = &[Opened(0), Posted, Looked(20, &[7, 8])];
/// The last of eleven.
const MANY: &[Do] = &[Opened(0), Posted, Looked(20, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])];

fn check(rows: Vec<Row>) {
    let mut timings = timings(1, Api::V2, OnStoreReset::Continue);
    timings.checks_passwords = true;
    check_on(&timings, rows);
}

#[test]
fn few_watch_the_leader_and_many_do_not() {
    check(vec![
        ("not our own key: a refresh shows that it is gone", FEW.to_vec(), "watch21 watch21", "following other7"),
        ("a leader watches its own", vec![Opened(0), Posted, Looked(20, &[])], "watch21", "leading 20 until 8000"),
        ("of many, the one before alone", MANY.to_vec(), "watch21", "following other1"),
        (
            "few know who stood behind the leader when that is gone",
            with(&[FEW, &[GoneOn(1, &[(21, "7")])]]),
            "unwatch",
            "following other8",
        ),
        (
            "and look at once when that one is gone, too",
            with(&[FEW, &[GoneOn(1, &[(21, "7")]), GoneOn(0, &[(22, "8")])]]),
            "look",
            "following other8",
        ),
        (
            "few hear of all, and look seldom",
            with(&[FEW, &[At(5000), Refreshed(21), At(10_000)]]),
            "refresh",
            "following other7",
        ),
        (
            "but the next in line looks every ttl",
            with(&[NEXT, &[At(5000), Refreshed(21), At(10_000), Refreshed(22)]]),
            "look",
            "following other7",
        ),
    ]);
}

#[test]
fn a_refresh_goes_first_and_alone() {
    let both_are_due = with(&[MANY, &[At(5000), Refreshed(21), At(10_000)]]);
    check(vec![
        ("before a look", both_are_due.clone(), "refresh", "following other1"),
        ("and then the look", with(&[&both_are_due, &[Refreshed(22)]]), "look", "following other1"),
        (
            "the next in line refreshes at once on a new link",
            with(&[NEXT, &[LinkBreaks, At(5200), Opened(0)]]),
            "show",
            "following other7",
        ),
        ("then it looks", with(&[NEXT, &[LinkBreaks, At(5200), Opened(0), Refreshed(21)]]), "look", "following other7"),
        (
            "others look at once if they are few",
            with(&[FEW, &[LinkBreaks, At(5200), Opened(0)]]),
            "look",
            "following other7",
        ),
        (
            "and refresh in half of the time that they have left, if that was due",
            with(&[FEW, &[LinkBreaks, At(5200), Opened(0), Looked(20, &[7, 8]), At(6600)]]),
            "show",
            "following other7",
        ),
        (
            "or when it is due",
            with(&[FEW, &[LinkBreaks, At(4000), Opened(0), Looked(20, &[7, 8]), At(4900)]]),
            "",
            "following other7",
        ),
        ("many look in their turn", with(&[MANY, &[LinkBreaks, At(5200), Opened(0)]]), "", "following other1"),
        ("which comes soon", with(&[MANY, &[LinkBreaks, At(5200), Opened(0), At(6600)]]), "look", "following other1"),
        (
            "a refresh that waits for a look is not sent once that shows our entry gone",
            with(&[FEW, &[GoneOn(0, &[(21, "8")]), At(5000), LookedGone(22)]]),
            "unwatch unwatch post",
            "out",
        ),
    ]);
}
