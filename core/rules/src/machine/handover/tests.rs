use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// Of a user that was told to lead, with an entry that is certain until the second 8.
fn leading() -> Handover {
    let mut handover = Handover::new(TIMEOUT);
    handover.begin_term(at(8));
    handover
}

/// The same, asked to stop in the second 1.
fn stopped_leading() -> Handover {
    let mut handover = leading();
    handover.stop(at(1), true);
    assert_eq!(commands(&mut handover), [Command::Stop { holds: true }]);
    handover
}

fn commands(handover: &mut Handover) -> Vec<Command> {
    std::iter::from_fn(|| handover.poll_command()).collect()
}

fn verdict(handover: &Handover) -> Option<ErrorKind> {
    handover.verdict().map(|why| why.kind())
}

fn lost(kind: ErrorKind) -> Result<Time, Error> {
    Err(Error::new(kind, "lost"))
}

#[test]
fn work_that_ends_in_time_gives_the_entry_up_and_the_verdict_says_that_it_was_held() {
    let mut handover = stopped_leading();
    assert_eq!((handover.timeout(), handover.is_working()), (at(11), false));
    handover.enter();
    assert_eq!((handover.timeout(), handover.is_working()), (Time::NEVER, true), "it takes as long as it needs");
    handover.report(Ok(at(100)));
    handover.let_time_pass(at(99));
    assert_eq!(commands(&mut handover), []);
    handover.release(at(99));
    assert_eq!((commands(&mut handover), verdict(&handover)), (vec![Command::Release], None));
    assert_eq!((handover.timeout(), handover.released_at()), (at(109), Some(at(99))));
    handover.report(lost(ErrorKind::Stopped));
    handover.end();
    assert_eq!((verdict(&handover), handover.timeout(), handover.has_ended()), (None, Time::NEVER, true));
}

#[test]
fn etcd_is_not_waited_for_beyond_the_timeout() {
    let mut handover = stopped_leading();
    handover.enter();
    handover.release(at(2));
    handover.let_time_pass(at(11));
    assert!(!handover.has_ended());
    handover.let_time_pass(at(12));
    assert_eq!((handover.has_ended(), verdict(&handover)), (true, None));
}

#[test]
fn a_release_counts_wherever_the_user_is_and_is_asked_for_once() {
    let mut handover = stopped_leading();
    handover.release(at(2));
    handover.enter();
    handover.release(at(3));
    handover.let_time_pass(at(11));
    assert_eq!((commands(&mut handover), verdict(&handover)), (vec![Command::Release], None));
    assert_eq!(handover.released_at(), Some(at(2)));
}

#[test]
fn before_a_stop_a_release_means_nothing() {
    let mut handover = leading();
    handover.release(at(1));
    assert_eq!((commands(&mut handover), handover.released_at()), (vec![], None));
    handover.stop(at(2), true);
    assert_eq!((commands(&mut handover), handover.holds()), (vec![Command::Stop { holds: true }], true));
}

#[test]
fn work_that_says_nothing_is_waited_for_and_the_verdict_says_so() {
    let mut handover = stopped_leading();
    handover.report(Ok(at(100)));
    handover.let_time_pass(at(10));
    assert_eq!(commands(&mut handover), []);
    handover.let_time_pass(at(13));
    assert_eq!((commands(&mut handover), verdict(&handover)), (vec![Command::Release], Some(ErrorKind::Overrun)));
    assert_eq!((handover.released_at(), handover.timeout()), (Some(at(11)), at(21)));
    handover.enter();
    handover.release(at(14));
    assert_eq!((commands(&mut handover), verdict(&handover)), (vec![], Some(ErrorKind::Overrun)));
}

#[test]
fn what_is_lost_while_the_work_ends_is_the_verdict() {
    let mut handover = stopped_leading();
    handover.enter();
    handover.report(lost(ErrorKind::KeyLost));
    handover.report(lost(ErrorKind::LeaseLost));
    handover.release(at(3));
    assert_eq!(verdict(&handover), Some(ErrorKind::KeyLost), "the first reason");
    let mut handover = stopped_leading();
    handover.report(lost(ErrorKind::KeyLost));
    handover.enter();
    handover.release(at(3));
    assert_eq!(verdict(&handover), Some(ErrorKind::KeyLost), "also before Unelected was taken");
    // The process was frozen: no report says so, but the clock.
    for (ends, why) in [(7, None), (8, Some(ErrorKind::Deadline))] {
        let mut handover = stopped_leading();
        handover.enter();
        handover.release(at(ends));
        assert_eq!(verdict(&handover), why, "at {ends} s");
    }
}

#[test]
fn a_key_that_etcd_no_longer_had_at_the_release_is_the_verdict() {
    for (kind, why) in [(ErrorKind::KeyLost, Some(ErrorKind::KeyLost)), (ErrorKind::Stopped, None)] {
        let mut handover = stopped_leading();
        handover.enter();
        handover.release(at(3));
        handover.report(lost(kind));
        handover.end();
        assert_eq!(verdict(&handover), why);
    }
}

#[test]
fn what_was_lost_before_the_stop_is_the_verdict() {
    let mut handover = leading();
    handover.report(lost(ErrorKind::KeyLost));
    handover.lose(Error::new(ErrorKind::KeyLost, "lost"));
    handover.stop(at(3), false);
    assert_eq!((commands(&mut handover), handover.timeout()), (vec![Command::Stop { holds: false }], at(13)));
    handover.end();
    assert_eq!(verdict(&handover), Some(ErrorKind::KeyLost));
    // A term after that is judged for itself.
    let mut handover = leading();
    handover.lose(Error::new(ErrorKind::KeyLost, "lost"));
    handover.begin_term(at(20));
    handover.stop(at(3), true);
    handover.enter();
    handover.release(at(4));
    assert_eq!(verdict(&handover), None);
}

#[test]
fn one_that_never_led_was_stopped() {
    let mut handover = Handover::new(TIMEOUT);
    handover.stop(at(1), false);
    handover.stop(at(2), true);
    assert_eq!(commands(&mut handover), [Command::Stop { holds: false }]);
    handover.end();
    assert_eq!(verdict(&handover), Some(ErrorKind::Stopped));
}

#[test]
fn a_handle_that_goes_releases_whatever_state_it_is_in() {
    let mut handover = leading();
    handover.close(at(1));
    assert_eq!((commands(&mut handover), handover.released_at()), (vec![Command::Stop { holds: false }], Some(at(1))));
    let mut handover = stopped_leading();
    handover.close(at(2));
    assert_eq!((commands(&mut handover), handover.released_at()), (vec![Command::Release], Some(at(2))));
    handover.close(at(3));
    assert_eq!((commands(&mut handover), handover.released_at()), (vec![], Some(at(2))));
}
