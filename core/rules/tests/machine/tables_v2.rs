//! The tables of API v2: an entry with a time to live of its own, refreshed and checked.

use etcd_leader_rules::config::Timings;
use etcd_leader_rules::machine::Sign;
use etcd_leader_rules::{Api, ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::{Do, Row, Stage, check_on, timings, with};

const LEADING: &[Do] = &[Opened(0), Posted, Looked(20, &[]), Created];
const WAITING: &[Do] = &[Opened(0), Posted, Looked(20, &[7]), BothCreated];

fn check(rows: Vec<Row>) {
    check_on(&timings(1, Api::V2, OnStoreReset::Continue), rows);
}

#[test]
fn joining() {
    check(vec![
        ("a link first", vec![], "open0", "out"),
        ("then a place", vec![Opened(0)], "post", "out"),
        ("then a look", vec![Opened(0), Posted], "look", "following"),
        (
            "first in line leads, from when the post was sent",
            vec![Opened(0), At(300), Posted, At(700), Looked(20, &[])],
            "watch21",
            "leading 20 until 8000",
        ),
        ("second watches two keys", vec![Opened(0), Posted, Looked(20, &[7])], "watch21 watch21", "following other7"),
        (
            "third watches three",
            vec![Opened(0), Posted, Looked(20, &[7, 8])],
            "watch21 watch21 watch21",
            "following other7",
        ),
        ("a lost post is sent again", vec![Opened(0), Fails(Kind::Server), At(100)], "post", "out"),
        ("a post that never was answered too", vec![Opened(0), LinkBreaks, Opened(0)], "post", "out"),
        (
            "its ghost is nobody we know",
            vec![Opened(0), LinkBreaks, Opened(0), Posted, Looked(20, &[15])],
            "watch21 watch21",
            "following other15",
        ),
        ("a key that holds a value", vec![Opened(0), Fails(Kind::NotADirectory)], "close", "fatal NotADirectory"),
    ]);
}

#[test]
fn taking_over() {
    let gone = with(&[WAITING, &[GoneOn(1, &[(21, "7")])]]);
    check(vec![
        ("a watch makes nobody a leader: two have no order", gone.clone(), "look", "following other7"),
        ("the look does", with(&[&gone, &[Looked(21, &[])]]), "unwatch", "leading 20 until 8000"),
        (
            "a look without news after a ttl",
            with(&[WAITING, &[At(5000), Refreshed(21), At(10_000)]]),
            "refresh look",
            "following other7",
        ),
    ]);
}

#[test]
fn those_far_behind_know_the_line() {
    let fourth = with(&[&[Opened(0), Posted, Looked(20, &[7, 8, 9]), Created]]);
    let eight_leads = with(&[&fourth, &[GoneOn(2, &[(22, "7")])]]);
    check(vec![
        (
            "the leader's end: the next in line leads, and is watched from the look on",
            eight_leads.clone(),
            "unwatch watch21",
            "following other8",
        ),
        (
            "it had ended before: the one after it, whose end we watch anyway",
            with(&[&eight_leads, &[GoneOn(2, &[(21, "8")])]]),
            "unwatch",
            "following other9",
        ),
        (
            "so that we are the next",
            with(&[&eight_leads, &[GoneOn(2, &[(21, "8")]), GoneOn(1, &[(23, "9")])]]),
            "look",
            "following other9",
        ),
        (
            "the one before us ended: a look shows who is now, and the line",
            with(&[&fourth, &[GoneOn(1, &[(21, "9")]), GoneOn(2, &[(22, "7")])]]),
            "unwatch watch21",
            "following other8",
        ),
        (
            "nobody is known to stand between",
            with(&[&fourth, &[GoneOn(1, &[(21, "9")]), GoneOn(2, &[(22, "7")]), GoneOn(2, &[(23, "8")])]]),
            "",
            "following other8",
        ),
        (
            "its own refresh is newer than what the server shows a check",
            with(&[&fourth, &[At(5000), Refreshed(30), At(10_000)]]),
            "refresh look",
            "following other7",
        ),
    ]);
}

fn among_many(few: usize, rows: Vec<Row>) {
    check_on(&Timings { few, ..timings(1, Api::V2, OnStoreReset::Continue) }, rows);
}

/// The last of ten, four ttls later: none of its keys was heard of.
fn tenth() -> Vec<Do> {
    let mut tenth = vec![Opened(0), Posted, Looked(20, &[1, 2, 3, 4, 5, 6, 7, 8, 9]), Created];
    tenth.extend((1..8).flat_map(|turn| [At(5_000 * turn), Refreshed(30 + turn)]));
    tenth.push(At(39_999));
    tenth
}

#[test]
fn among_many_single_keys_are_read() {
    let then = |step: Do| with(&[&tenth(), &[step]]);
    among_many(
        9,
        vec![
            ("our own, the one before us, the leader's and the next one's", tenth(), "check4", "following other1"),
            ("all stand", then(Checked(37, &[])), "", "following other1"),
            ("the leader's is gone", then(Checked(37, &["1"])), "unwatch watch21 show", "following other2"),
            ("the next one's is gone", then(Checked(37, &["2"])), "unwatch watch21", "following other1"),
            ("both", then(Checked(37, &["1", "2"])), "unwatch watch21 unwatch watch21 show", "following other3"),
            ("the one before us is gone", then(Checked(37, &["9"])), "look", "following other1"),
            ("our own is gone", then(Checked(37, &["own"])), "unwatch unwatch unwatch post", "out"),
            ("the server lags: a look never does", then(Checked(36, &["own"])), "look", "following other1"),
        ],
    );
}

#[test]
fn many_watch_the_next_in_line_and_not_the_leader() {
    let idle = with(&[&tenth(), &[Checked(37, &[])]]);
    let wrote = with(&[&idle, &[Written(2, 38, 2, Sign::Nothing)]]);
    among_many(
        9,
        vec![
            ("it was written: does it lead?", wrote.clone(), "check1", "following other1"),
            ("it does", with(&[&wrote, &[Checked(38, &["1"])]]), "unwatch watch21 show", "following other2"),
            ("it does not", with(&[&wrote, &[Checked(38, &[])]]), "", "following other1"),
            (
                "what it wrote before that says nothing new",
                with(&[&wrote, &[Checked(40, &[]), Written(2, 39, 2, Sign::Nothing)]]),
                "",
                "following other1",
            ),
            ("it has ended", with(&[&idle, &[GoneOn(2, &[(38, "2")])]]), "unwatch watch21", "following other1"),
            (
                "the history is cleared: single keys are read",
                with(&[&idle, &[Canceled]]),
                "unwatch check4",
                "following other1",
            ),
        ],
    );
    let leads = &[At(5000), Refreshed(21), GoneOn(1, &[(22, "7")]), LookedFirst(22)];
    among_many(
        1,
        vec![
            ("who takes over says so at once", with(&[WAITING, leads]), "unwatch show", "leading 20 until 13000"),
            ("and once", with(&[WAITING, leads, &[Refreshed(23), At(9_999)]]), "", "leading 20 until 13000"),
        ],
    );
}

#[test]
fn the_entry() {
    let lost = with(&[LEADING, &[At(5000), LinkBreaks, Opened(0)]]);
    check(vec![
        ("the first refresh shows who leads", with(&[LEADING, &[At(5000)]]), "show", "leading 20 until 8000"),
        (
            "it counts from when it was sent",
            with(&[LEADING, &[At(5000), At(5400), Refreshed(21)]]),
            "",
            "leading 20 until 13000",
        ),
        (
            "the next is quiet",
            with(&[LEADING, &[At(5000), Refreshed(21), At(10_000)]]),
            "refresh",
            "leading 20 until 13000",
        ),
        (
            "no answer: the lead ends by itself",
            with(&[LEADING, &[At(5000), Fails(Kind::Server), At(8000)]]),
            "show open0 unwatch leave20",
            "out",
        ),
        ("it is gone", with(&[LEADING, &[At(5000), NoEntry]]), "unwatch post", "out"),
        ("written by somebody else", with(&[LEADING, &[At(5000), NotOurs(30)]]), "unwatch post", "out"),
        ("its name was given out again", with(&[LEADING, &[At(5000), Another(40)]]), "unwatch post", "out"),
        (
            "the answer was lost: our own write is gone on from",
            with(&[&lost, &[NotOurs(30)]]),
            "show",
            "leading 20 until 8000",
        ),
        (
            "and proves nothing by itself",
            with(&[&lost, &[NotOurs(30), At(5100), Refreshed(31)]]),
            "",
            "leading 20 until 13000",
        ),
        ("but not another's", with(&[&lost, &[Another(40), Looked(41, &[])]]), "post", "out"),
        (
            "and not once it may have ended",
            with(&[WAITING, &[At(5000), LinkBreaks, At(10_500), Opened(0), NotOurs(30), Looked(31, &[7])]]),
            "post",
            "out",
        ),
        (
            "set anew without a time to live: it would stay for ever",
            with(&[LEADING, &[SetAnew(25)]]),
            "unwatch leave25",
            "out",
        ),
        ("put over without a time to live", with(&[LEADING, &[Overwritten(25)]]), "unwatch leave20", "out"),
        ("a jump of the wall clock: ask at once", with(&[LEADING, &[At(1000), Jump]]), "show", "leading 20 until 2500"),
        (
            "what was sent before it proves nothing",
            with(&[LEADING, &[At(5000), Jump, Refreshed(21)]]),
            "refresh",
            "leading 20 until 6500",
        ),
    ]);
}

#[test]
fn who_leads_is_shown_to_those_behind_us() {
    let seen = with(&[WAITING, &[At(5000), Refreshed(21), GoneOn(1, &[(22, "7")])]]);
    check(vec![
        (
            "when it has changed, by the next refresh",
            with(&[&seen, &[Looked(22, &[])]]),
            "unwatch",
            "leading 20 until 13000",
        ),
        (
            "not oftener than we refresh anyway",
            with(&[&seen, &[Looked(22, &[]), At(9999)]]),
            "",
            "leading 20 until 13000",
        ),
        ("then", with(&[&seen, &[Looked(22, &[]), At(10_000)]]), "show", "leading 20 until 13000"),
        (
            "at once, if the last showing was long ago",
            with(&[
                WAITING,
                &[
                    At(5000),
                    Refreshed(21),
                    At(10_000),
                    Refreshed(22),
                    Looked(22, &[7]),
                    At(12_000),
                    GoneOn(1, &[(23, "7")]),
                    Looked(23, &[]),
                ],
            ]),
            "unwatch show",
            "leading 20 until 18000",
        ),
    ]);
}

#[test]
fn stopping() {
    check(vec![
        ("a waiter leaves at once", with(&[WAITING, &[Stop(false)]]), "unwatch unwatch leave20", "out"),
        ("then all is over", with(&[WAITING, &[Stop(false), Left]]), "close", "released"),
        (
            "a leader's entry is refreshed until the work has ended",
            with(&[LEADING, &[Stop(true), At(5000)]]),
            "show",
            "leading 20 until 8000",
        ),
        ("the work has ended", with(&[LEADING, &[Stop(true), Released]]), "unwatch leave20", "out"),
        (
            "what is left of it stays until then, whoever has written it",
            with(&[LEADING, &[Stop(true), Overwritten(25)]]),
            "unwatch",
            "out",
        ),
        ("and goes afterwards", with(&[LEADING, &[Stop(true), Overwritten(25), Released]]), "leave20", "out"),
        ("a post under way is waited for", vec![Opened(0), Stop(false), Posted], "leave20", "out"),
        (
            "another name has our key and number after a wipe: it is spared, and so may be an entry of ours",
            with(&[WAITING, &[Stop(false), Spared]]),
            "close",
            "ended",
        ),
        (
            "an entry of ours that somebody has refreshed under another name may be left",
            with(&[LEADING, &[LinkBreaks, Opened(0), Another(20), Stop(false)]]),
            "close",
            "ended",
        ),
        ("a ghost may be left", vec![Opened(0), LinkBreaks, Stop(false)], "close", "ended"),
        (
            "but not for ever",
            with(&[
                &[Opened(0), LinkBreaks, Opened(0), Posted, Looked(20, &[]), Created],
                &[
                    At(5000),
                    Refreshed(21),
                    At(10_000),
                    Refreshed(22),
                    At(15_000),
                    Refreshed(23),
                    At(20_000),
                    Refreshed(24),
                    At(21_000),
                    Stop(false),
                    Left,
                ],
            ]),
            "close",
            "released",
        ),
    ]);
}

#[test]
fn a_store_that_went_back_leaves_nothing_to_clear() {
    let mut stage = Stage::of(timings(1, Api::V2, OnStoreReset::Continue));
    with(&[LEADING, &[LinkBreaks]]).iter().for_each(|step| stage.play(step));
    stage.revision = 1;
    stage.said.clear();
    stage.play(&Opened(0));
    // What has our key's name by now may be another member's.
    assert_eq!((stage.said.join(" ").as_str(), stage.stand().as_str()), ("post", "out"));
    for step in [Posted, Looked(20, &[]), Created, At(5000), Refreshed(21), At(10_000), Refreshed(22), At(11_999)] {
        stage.play(&step);
    }
    assert_eq!(stage.stand(), "following");
    stage.play(&At(12_000));
    assert_eq!(stage.stand(), "leading 20 until 18000");
}

#[test]
fn a_clock_that_is_behind_shortens_the_lead() {
    let rows = |ahead_s: u64| {
        let mut stage = Stage::of(timings(2, Api::V2, OnStoreReset::Continue));
        // Of those that answer at first contact, the link that was opened first serves: whichever it is, it is behind.
        let first = if stage.said[0] == "open0" { 0 } else { 1 };
        stage.play(&OpenedAt(1 - first, 1_000 + ahead_s));
        stage.play(&OpenedAt(first, 1_000));
        stage
    };
    let mut stage = rows(2);
    [Posted, Looked(20, &[])].iter().for_each(|step| stage.play(step));
    assert_eq!(stage.stand(), "leading 20 until 7000", "at least one second is proven");
    assert_eq!(stage.report.trouble, None);

    let mut stage = rows(3 + 1);
    let trouble = stage.report.trouble.clone().expect("more than a quarter of the ttl");
    assert_eq!(trouble.error.kind(), Kind::ClockSkew);
    assert!(trouble.error.detail().contains("3000 ms behind"), "{trouble:?}");
    assert_eq!(stage.said.last().map(String::as_str), Some("open1"), "nobody could lead there: the other one serves");
    stage.play(&OpenFails(1, Kind::Unreachable));
    assert_eq!(stage.report.trouble, Some(trouble), "one that does not answer hides nothing");
}

#[test]
fn an_entry_that_is_made_ends_the_trouble() {
    let mut stage = Stage::of(timings(2, Api::V2, OnStoreReset::Continue));
    stage.play(&OpenFails(0, Kind::Unreachable));
    stage.play(&Opened(1));
    assert!(stage.report.trouble.is_some(), "nothing shows yet that it serves us");
    stage.play(&Posted);
    assert_eq!(stage.report.trouble, None);
}
