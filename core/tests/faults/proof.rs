//! That the checker sees what it should: each of its rules on a time line that breaks it, and on one that does not.

use libtest_mimic::Trial;

use super::checker::{Findings, check, elected_twice};
use super::reports::{Claim, Event, Told, Write};
use super::timeline::{Gone, Records};

fn claim(who: usize, before: i64, token: u64) -> Claim {
    Claim { who, before, after: before + 1, token }
}

fn findings(claims: &[Claim]) -> Findings {
    check(claims, &[], &[], |_| true)
}

/// Written as soon as it was claimed.
fn write(who: usize, before: i64, token: u64) -> Write {
    Write { claim: claim(who, before, token), at: before + 2, is_taken: true }
}

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, holds: fn() -> bool| {
        let work = move || if holds() { Ok(()) } else { Err("it is not so".into()) };
        Trial::test(format!("checker::{name}"), work)
    };
    vec![
        trial("one_after_the_other_is_well", || {
            let findings = findings(&[claim(0, 10, 1), claim(0, 30, 1), claim(1, 40, 2), claim(1, 60, 2)]);
            findings.accusations.is_empty() && findings.terms.len() == 2
        }),
        trial("two_at_once_are_accused", || {
            let findings = findings(&[claim(0, 10, 1), claim(1, 20, 2), claim(0, 30, 1), claim(1, 40, 2)]);
            findings.accuses(0) && findings.accuses(1) && findings.overlap == 30 - 21
        }),
        trial("a_single_claim_within_anothers_term_is_accused", || {
            findings(&[claim(0, 10, 2), claim(1, 20, 1), claim(0, 30, 2)]).accuses(1)
        }),
        trial("a_claim_after_that_of_a_newer_token_is_accused", || {
            let findings = findings(&[claim(1, 10, 2), claim(0, 20, 1)]);
            // The first stamp of the old one's last claim, less the second stamp of the new one's first.
            findings.accuses(0) && findings.overlap == 0 && findings.accusations[0].lasted == 20 - 11
        }),
        trial("the_same_token_twice_is_accused", || findings(&[claim(0, 10, 1), claim(1, 20, 1)]).accuses(1)),
        trial("one_that_is_elected_twice_with_one_token_is_named", || {
            let told = |at, told| Event { who: 0, at, told };
            let events =
                [told(10, Told::Elected(1)), told(20, Told::Unelected("late".into())), told(30, Told::Elected(1))];
            elected_twice(&events, &[]).is_some()
                && elected_twice(&events, &[25]).is_none()
                && elected_twice(&events[..2], &[]).is_none()
        }),
        trial("an_answer_that_took_long_accuses_nobody", || {
            let slow = Claim { who: 1, before: 5, after: 50, token: 2 };
            findings(&[claim(0, 10, 1), claim(0, 30, 1), slow, claim(1, 60, 2)]).accusations.is_empty()
        }),
        trial("no_is_no_claim", || {
            findings(&[claim(0, 10, 1), claim(1, 20, 0), claim(0, 30, 1)]).accusations.is_empty()
        }),
        trial("after_a_reset_tokens_begin_anew", || {
            let claims = [claim(0, 10, 9), claim(1, 30, 1)];
            check(&claims, &[], &[20], |_| true).accusations.is_empty() && !findings(&claims).accusations.is_empty()
        }),
        trial("a_write_after_that_of_a_newer_one_is_accused_if_it_had_asked_later", || {
            let writes = [write(1, 10, 2), write(0, 20, 1)];
            check(&[], &writes, &[], |_| true).accuses(0)
        }),
        trial("a_write_that_was_asked_for_before_is_late_and_no_more", || {
            let late = Write { claim: claim(0, 5, 1), at: 40, is_taken: false };
            let findings = check(&[], &[write(1, 10, 2), late], &[], |_| true);
            findings.accusations.is_empty() && findings.late_writes == 1
        }),
        trial("an_accusation_names_the_token_that_was_claimed_too_long", || {
            let both = findings(&[claim(0, 10, 1), claim(1, 20, 2), claim(0, 30, 1), claim(1, 40, 2)]);
            let late = findings(&[claim(1, 10, 2), claim(0, 20, 1)]);
            let wrote = check(&[], &[write(1, 10, 2), write(0, 20, 1)], &[], |_| true);
            [both, late, wrote].iter().flat_map(|findings| &findings.accusations).all(|one| one.old == 1)
        }),
        trial("members_disagree_from_the_first_that_tells_of_an_end_to_the_last", || {
            let gone = |at, member, token| Gone { at, member, token };
            let gone = vec![gone(5, 0, 1), gone(10, 0, 2), gone(12, 1, 2), gone(40, 2, 2), gone(90, 0, 3)];
            let records = Records { gone, ..Records::default() };
            [1, 2, 4].map(|token| records.members_disagreed(token)) == [0, 30, 0]
        }),
        trial("who_does_not_count_accuses_nobody", || {
            let claims = [claim(0, 10, 1), claim(1, 20, 2), claim(0, 30, 1), claim(1, 40, 2)];
            check(&claims, &[], &[], |who| who == 0).accusations.is_empty()
        }),
    ]
}
