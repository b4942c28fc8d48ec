//! What is told of a server that is slow, and not dead.

use std::time::Duration;

use etcd_leader_rules::machine::{Failure, Input, Op, Step};
use etcd_leader_rules::{ErrorKind as Kind, OnStoreReset};

use crate::Do::*;
use crate::Stage;
use crate::tables::LEADING;

/// The step of an opening that is slow is named, with how long it has taken; and it goes on.
#[test]
fn a_slow_opening_is_named() {
    let steps = [
        (Step::ReadingFiles, "reading the certificate files"),
        (Step::LookUp, "the look-up of the host's name"),
        (Step::Connecting, "connecting"),
        (Step::Handshake, "the TLS handshake"),
        (Step::Reading, "the login, or the first read,"),
        (Step::Asking, "the connection, or the answer to the first request,"),
    ];
    for (step, words) in steps {
        let mut stage = Stage::new(1, OnStoreReset::Continue);
        let link = stage.open.front().expect("an opening").link;
        stage.handle(Input::Opening { link, step });
        stage.play(&At(1499));
        assert_eq!(stage.report.trouble, None, "{step:?}");
        stage.said.clear();
        stage.play(&At(1500));
        let trouble = stage.report.trouble.clone().expect("it is told");
        assert_eq!((trouble.error.kind(), trouble.endpoint), (Kind::Timeout, Some(0)));
        assert_eq!(trouble.error.detail(), format!("{words} has taken 1500 ms so far; it goes on"));
        // Once: the same opening is told no second time, is not begun again, and serves when it is answered.
        stage.play(&At(60_000));
        assert_eq!(stage.report.trouble.clone(), Some(trouble));
        assert_eq!(stage.said, Vec::<String>::new());
        stage.play(&Opened(0));
        assert_eq!(stage.said, ["grant"]);
    }
}

/// The link was broken: a look must show in time that we are still the first. One that fails is repeated as soon as a renewal is.
#[test]
fn a_leader_whose_looks_fail_tries_again_while_it_leads() {
    let mut stage = Stage::new(1, OnStoreReset::Continue);
    for step in LEADING.iter().chain(&[LinkBreaks, Opened(0), Listed(&[])]) {
        stage.play(step);
    }
    for _ in 0..8 {
        let is_look = |op: &Op| matches!(op, Op::Look { .. });
        let id = stage.take(&Fails(Kind::Server), is_look).id;
        stage.handle(Input::Reply { id, result: Err(Failure::new(Kind::Server, "it fails")) });
        let half_an_attempt = Duration::from_millis(750);
        let end = stage.now + half_an_attempt;
        while !stage.open.iter().any(|request| is_look(&request.op)) {
            stage.now = stage.crew.poll_timeout().expect("it wants the time").max(stage.now);
            assert!(stage.now <= end, "the next look comes later than {half_an_attempt:?}");
            stage.handle(Input::Tick);
        }
    }
}
