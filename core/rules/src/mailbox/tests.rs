use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Time {
    Time::ZERO + SECOND * seconds
}

fn leading(token: Revision, until: u32) -> Report {
    Report { standing: Standing::Leading { token, until: at(until) }, ..Report::default() }
}

fn following(name: &str, token: Revision) -> Report {
    let leader = Leader { name: name.into(), token };
    Report { standing: Standing::Following(Some(leader)), ..Report::default() }
}

fn out(kind: ErrorKind) -> Report {
    Report { lost: Some(Error::new(kind, "lost")), ..Report::default() }
}

fn trouble(detail: &str) -> Option<Arc<Trouble>> {
    Some(Arc::new(Trouble { error: Error::new(ErrorKind::Unreachable, detail), endpoint: Some(0) }))
}

/// All there is to tell now, as short words.
fn told(mailbox: &mut Mailbox, now: u32) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        words.push(match mailbox.take(at(now)) {
            Next::Nothing => return words,
            Next::Ended => "ended".into(),
            Next::Event(Event::Elected { token }) => format!("elected {token}"),
            Next::Event(Event::Unelected { why }) => format!("unelected {:?}", why.kind()),
            Next::Event(Event::Leader(leader)) => {
                leader.map_or("leader -".into(), |one| format!("leader {}", one.name))
            }
            Next::Event(Event::Retrying(trouble)) => {
                trouble.map_or("fine".into(), |one| format!("retrying {}", one.error.detail()))
            }
            Next::Event(Event::Ended(Ended { why, .. })) => {
                why.map_or("held to the end".into(), |why| format!("ended by {:?}", why.kind()))
            }
        });
        if words.last().is_some_and(|word| word == "ended") {
            return words;
        }
    }
}

fn mailbox() -> Mailbox {
    Mailbox::new("me", SECOND * 10, SECOND * 10)
}

#[test]
fn elected_then_leader_then_nothing() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    assert_eq!(told(&mut mailbox, 1), ["elected 7", "leader me"]);
    assert_eq!(told(&mut mailbox, 2), [""; 0]);
}

#[test]
fn elected_is_not_told_after_its_end() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    assert_eq!(told(&mut mailbox, 5), [""; 0]);
}

#[test]
fn unelected_comes_by_the_clock_alone() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    assert_eq!(told(&mut mailbox, 5), ["unelected Deadline", "leader -"]);
}

#[test]
fn a_term_that_has_ended_by_the_clock_is_not_prolonged() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    mailbox.set(leading(7, 8), at(4));
    assert_eq!((told(&mut mailbox, 7), mailbox.revived()), (vec![], None), "prolonged in time");
    mailbox.set(leading(7, 11), at(8));
    assert_eq!((mailbox.leads(at(8)), mailbox.revived()), (None, Some(7)), "too late");
    assert_eq!(told(&mut mailbox, 8), ["unelected Deadline", "leader -"]);
    mailbox.set(leading(9, 14), at(9));
    assert_eq!((told(&mut mailbox, 9), mailbox.revived()), (vec!["elected 9".into(), "leader me".into()], None));
    mailbox.end_term(9);
    mailbox.set(leading(9, 15), at(9));
    assert_eq!((told(&mut mailbox, 9)[0].as_str(), mailbox.revived()), ("unelected Deadline", Some(9)));
    mailbox.set(following("you", 11), at(10));
    mailbox.set(leading(9, 16), at(10));
    assert_eq!((mailbox.leads(at(10)), mailbox.revived()), (None, Some(9)), "nor after it was lost");
}

#[test]
fn the_reason_of_an_earlier_term_is_not_told_of_this_one() {
    let mut mailbox = mailbox();
    mailbox.set(Report { lost: out(ErrorKind::KeyLost).lost, ..leading(9, 8) }, at(0));
    assert_eq!(told(&mut mailbox, 1), ["elected 9", "leader me"]);
    assert_eq!(told(&mut mailbox, 8), ["unelected Deadline", "leader -"]);
}

#[test]
fn a_term_that_came_and_went_unseen_is_not_told() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    mailbox.set(following("you", 9), at(0));
    assert_eq!(told(&mut mailbox, 1), ["leader you"]);
}

#[test]
fn a_new_term_is_told_as_unelected_and_elected() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    mailbox.set(Report { lost: out(ErrorKind::KeyLost).lost, ..leading(9, 8) }, at(2));
    assert_eq!(told(&mut mailbox, 2), ["unelected KeyLost", "elected 9", "leader me"]);
}

#[test]
fn a_new_term_is_hidden_until_the_end_of_the_old_one_was_told() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    assert_eq!(mailbox.leads(at(1)), Some(7), "before it is told");
    told(&mut mailbox, 1);
    mailbox.set(Report { lost: out(ErrorKind::KeyLost).lost, ..leading(9, 8) }, at(2));
    assert_eq!((mailbox.leads(at(2)), mailbox.leader(at(2))), (None, None), "its work of term 7 goes on");
    assert!(matches!(mailbox.take(at(2)), Next::Event(Event::Unelected { .. })));
    assert_eq!((mailbox.leads(at(2)), mailbox.is_due(at(2))), (None, true), "it is hearing of the end");
    assert_eq!(told(&mut mailbox, 2), ["elected 9", "leader me"]);
    assert_eq!(mailbox.leads(at(2)), Some(9));
}

#[test]
fn after_stop_only_unelected_and_the_end() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    mailbox.stop(at(1));
    assert_eq!(mailbox.leads(at(1)), None);
    mailbox.set(Report { trouble: trouble("x"), ..following("you", 9) }, at(1));
    assert!(matches!(mailbox.take_in_turn(at(1)), Next::Event(Event::Unelected { .. })));
    assert!(mailbox.is_working() && !mailbox.is_due(at(1)), "when its work has ended is for the user to say");
    assert_eq!(mailbox.released_at(), None, "the work of the user is waited for");
    assert_eq!(mailbox.take_in_turn(at(3)), Next::Nothing);
    assert_eq!(mailbox.released_at(), Some(at(3)));
    assert!(!mailbox.is_working() && !mailbox.is_due(at(3)));
    mailbox.set(Report { ended: true, ..Report::default() }, at(4));
    assert_eq!(told(&mut mailbox, 4), ["ended by Deadline", "ended"], "it followed another when the work ended");
}

#[test]
fn what_was_lost_before_the_stop_is_the_verdict_though_the_work_ended_before_it_was_told() {
    for (report, over, why) in
        [(Some(out(ErrorKind::KeyLost)), None, "KeyLost"), (None, Some(7), "Deadline"), (None, None, "held to the end")]
    {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5), at(0));
        told(&mut mailbox, 1);
        if let Some(report) = report {
            mailbox.set(report, at(2));
        }
        if let Some(token) = over {
            mailbox.end_term(token);
        }
        mailbox.stop(at(3));
        mailbox.release(at(3));
        mailbox.set(Report { ended: true, ..out(ErrorKind::Stopped) }, at(4));
        let said = told(&mut mailbox, 4);
        assert!(said[1].ends_with(why), "{said:?}");
    }
}

#[test]
fn what_ended_the_election_before_the_stop_is_the_verdict() {
    let mut mailbox = mailbox();
    mailbox.set(Report { fatal: Some(Error::new(ErrorKind::Denied, "no")), ..Report::default() }, at(0));
    mailbox.stop(at(1));
    mailbox.set(Report { ended: true, ..Report::default() }, at(2));
    assert_eq!(told(&mut mailbox, 2), ["ended by Denied", "ended"]);
}

#[test]
fn on_a_clock_that_may_have_lost_time_nothing_was_held() {
    let verdict = |is_suspect| {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5), at(0));
        told(&mut mailbox, 1);
        mailbox.stop(at(1));
        told(&mut mailbox, 1);
        mailbox.suspect(is_suspect);
        mailbox.release(at(2));
        mailbox.set(Report { ended: true, ..Report::default() }, at(3));
        told(&mut mailbox, 3).remove(0)
    };
    assert_eq!((verdict(false).as_str(), verdict(true).as_str()), ("held to the end", "ended by Deadline"));
}

#[test]
fn work_that_is_held_is_not_over_when_the_user_comes_for_an_event() {
    for is_told in [false, true] {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 50), at(0));
        told(&mut mailbox, 1);
        mailbox.stop(at(1));
        if is_told {
            assert!(matches!(mailbox.take_in_turn(at(1)), Next::Event(Event::Unelected { .. })));
        }
        mailbox.hold();
        for _ in 0..2 {
            mailbox.take_in_turn(at(2));
        }
        assert!(mailbox.holds() && !mailbox.has_release(), "told: {is_told}");
        mailbox.release(at(3));
        assert!(!mailbox.holds() && mailbox.has_release());
    }
}

#[test]
fn what_was_lost_before_the_stop_is_told_with_its_own_reason() {
    for (lost, report, why) in
        [("by the clock", None, "Deadline"), ("by a fact", Some(out(ErrorKind::KeyLost)), "KeyLost")]
    {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5), at(0));
        told(&mut mailbox, 1);
        if let Some(report) = report {
            mailbox.set(report, at(1));
        }
        mailbox.stop(at(6));
        assert_eq!(told(&mut mailbox, 7), [format!("unelected {why}")], "lost {lost}");
    }
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    mailbox.stop(at(4));
    assert_eq!(told(&mut mailbox, 7), ["unelected Stopped"], "the stop was first, though it is told late");
}

#[test]
fn the_reason_is_that_of_the_term_which_the_user_was_told_of() {
    // The only candidate joins again at once, and leads again before anybody has heard of the loss.
    let lost_and_won_again = || {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5), at(0));
        told(&mut mailbox, 1);
        mailbox.set(out(ErrorKind::KeyLost), at(2));
        mailbox.set(Report { lost: out(ErrorKind::KeyLost).lost, ..leading(9, 8) }, at(3));
        mailbox
    };
    let mut mailbox = lost_and_won_again();
    mailbox.stop(at(4));
    assert_eq!(told(&mut mailbox, 4), ["unelected KeyLost"], "the stop ended another term");
    let mut mailbox = lost_and_won_again();
    mailbox.stop(at(4));
    mailbox.set(out(ErrorKind::Stopped), at(4));
    assert_eq!(told(&mut mailbox, 4), ["unelected KeyLost"]);
    let mut mailbox = lost_and_won_again();
    mailbox.set(out(ErrorKind::Deadline), at(4));
    assert_eq!(told(&mut mailbox, 4), ["unelected KeyLost", "leader -"]);
}

#[test]
fn a_stop_after_somebody_saw_the_end_by_the_clock_is_not_the_reason() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    // In time for the engine, but not for the reader who had asked just before.
    mailbox.set(leading(7, 9), at(4));
    mailbox.end_term(7);
    mailbox.stop(at(5));
    assert_eq!(told(&mut mailbox, 5), ["unelected Deadline"]);
}

#[test]
fn a_stop_before_elected_was_told_tells_nothing() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    mailbox.stop(at(1));
    assert_eq!(told(&mut mailbox, 1), [""; 0]);
    assert!(!mailbox.holds());
    assert_eq!(mailbox.released_at(), Some(at(1)), "nobody works");
}

#[test]
fn troubles_are_told_at_once_then_once_in_a_while_and_their_end_at_once() {
    let mut mailbox = mailbox();
    mailbox.set(Report { trouble: trouble("a"), ..Report::default() }, at(0));
    assert_eq!(told(&mut mailbox, 1), ["retrying a"]);
    mailbox.set(Report { trouble: trouble("b"), ..Report::default() }, at(2));
    assert_eq!(told(&mut mailbox, 2), [""; 0]);
    assert_eq!(mailbox.due_at(), at(11));
    assert_eq!(told(&mut mailbox, 11), ["retrying b"]);
    mailbox.set(Report::default(), at(12));
    assert_eq!(told(&mut mailbox, 12), ["fine"]);
}

/// It may be over before the next trouble is due.
#[test]
fn a_store_reset_is_told_at_once_whatever_was_told_before() {
    let mut mailbox = mailbox();
    mailbox.set(Report { trouble: trouble("slow"), ..Report::default() }, at(0));
    assert_eq!(told(&mut mailbox, 1), ["retrying slow"]);
    let error = Error::new(ErrorKind::StoreReset, "gone back");
    let reset = Some(Arc::new(Trouble { error, endpoint: None }));
    mailbox.set(Report { trouble: reset, ..Report::default() }, at(2));
    assert_eq!(told(&mut mailbox, 2), ["retrying gone back"]);
}

#[test]
fn what_ends_an_election_comes_after_unelected() {
    let mut mailbox = mailbox();
    mailbox.set(leading(7, 5), at(0));
    told(&mut mailbox, 1);
    let fatal = Some(Error::new(ErrorKind::StoreReset, "gone back"));
    mailbox.set(Report { fatal, ..out(ErrorKind::StoreReset) }, at(2));
    assert_eq!(told(&mut mailbox, 2), ["unelected StoreReset", "ended by StoreReset", "ended"]);
}
