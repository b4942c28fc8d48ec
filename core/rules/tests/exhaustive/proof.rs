//! Negative controls: a judge that does not accuse these is asleep.

use etcd_leader_rules::machine::{LinkId, Op, Request, RequestId};
use etcd_leader_rules::member::Standing;

use crate::action::Action;
use crate::judge::Broken;
use crate::process::{Process, Said};
use crate::roots::Root;
use crate::state::{SECOND, State};

fn law(verdict: Result<(), Broken>) -> u32 {
    verdict.expect_err("it is accused").law
}

/// The same state, in which a process says that it leads for so many seconds.
fn claiming(state: &State, at: usize, seconds: u64) -> State {
    let mut lying = state.clone();
    let token = lying.store.ranked()[at].revision;
    let until = lying.local(at) + std::time::Duration::from_nanos(seconds * SECOND);
    lying.processes[at].change().report.standing = Standing::Leading { token, until };
    lying
}

#[test]
fn leading_without_an_entry_or_behind_one_or_for_too_long_is_accused() {
    let line = Root::Line.state(1);
    assert!(line.clone().judge_claims().is_ok());
    assert_eq!(law(claiming(&line, 1, 1).judge_claims()), 2, "the next in line");
    assert_eq!(law(claiming(&line, 0, 5).judge_claims()), 1, "no margin is left");
    let mut robbed = line.clone();
    let key = robbed.store.ranked()[0].key.clone();
    robbed.store.change().delete(std::slice::from_ref(&key));
    assert_eq!(law(robbed.judge_claims()), 1, "the entry is gone");
    let deleted = |seconds: u64| claiming(&line, 0, seconds).step(&Action::Delete { key: key.clone() }).map(drop);
    assert!(deleted(1).is_ok(), "it cannot know yet");
    assert_eq!(law(deleted(9)), 3, "it must know by then");
}

#[test]
fn a_term_that_has_ended_and_begins_again_is_accused() {
    let mut line = Root::Line.state(0);
    let leads = line.processes[0].report.clone();
    let mut out = leads.clone();
    out.standing = Standing::Out;
    let said = Said { reports: vec![leads.clone(), out, leads], ..Said::default() };
    assert_eq!(law(line.judge_said(0, None, &said)), 4);
}

#[test]
fn what_is_given_up_too_early_or_left_behind_is_accused() {
    let mut stop = Root::Stop.state(0);
    let entry = stop.store.ranked()[0].clone();
    let op = Op::Leave { key: entry.key, revision: entry.revision };
    let requests = vec![Request { id: RequestId(99), link: LinkId(2), op }];
    assert_eq!(law(stop.judge_said(0, None, &Said { requests, ..Said::default() })), 6, "its user still works");
    assert_eq!(law(stop.judge_said(0, None, &Said { is_over: true, ..Said::default() })), 8, "its entry is there");
    let released = |process: &Process| {
        let mut report = process.report.clone();
        (report.ended, report.released) = (true, true);
        Said { reports: vec![report], ..Said::default() }
    };
    let said = released(&stop.processes[0]);
    assert_eq!(law(stop.judge_said(0, None, &said)), 8, "its key is not gone");
}
