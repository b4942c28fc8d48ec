//! A crowd whose passwords are checked: at each login (v3), or with each request (v2).

use super::logins::CHECK;
use super::*;

/// When what the candidates must ask for fits the server's capacity, everybody is served in the time that it takes, repeated
/// requests stay below a tenth of the first ones, and nobody who leads loses the lead meanwhile.
#[test]
fn a_crowd_is_served_in_the_time_that_its_logins_take() {
    for (count, ttl_s) in [(3, 5), (40, 5), (100, 10), (300, 10)] {
        let logins = count as Ns * LOGIN;
        let lease = u64::from(ttl_s) * SECOND;
        let mut crowd = Crowd::new(Api::V3, 1, count, ttl_s, 0);
        crowd.play(2 * logins + 10 * SECOND, lease);
        let day = crowd.day;
        println!("{count} at ttl {ttl_s} s: {day:?}");
        let broken = format!("seed {count} breaks law 7: a crowd of {count}: {day:?}");
        assert!(day.served_at.is_some_and(|at| at < logins + logins / 10 + SECOND), "{broken}");
        assert!(day.opens <= count + count / 10, "{broken}");
        assert_eq!(day.losses, 0, "{broken}");
    }
}

/// etcd forgets tokens when it is restarted, and everybody logs in again: the leader before its lead is over.
#[test]
fn the_lead_is_kept_although_a_crowd_logs_in_again() {
    for count in [3, 40, 100] {
        let (logins, lease) = (count as Ns * LOGIN, 10 * SECOND);
        let mut crowd = Crowd::new(Api::V3, 1, count, 10, 0);
        crowd.play(2 * logins + 10 * SECOND, lease);
        crowd.at(crowd.now, Ev::Restart);
        let opens = crowd.day.opens;
        crowd.play(crowd.now + RESTART + 2 * logins + lease, lease);
        println!("{count} after a restart: {} back, {:?}", crowd.back, crowd.day);
        let broken = format!("seed {count} breaks law 7: a crowd of {count} after a restart: {:?}", crowd.day);
        assert_eq!((crowd.day.losses, crowd.back), (0, count), "{broken}");
        assert!(crowd.day.opens - opens <= count + count / 10, "{broken}");
    }
}

/// On v2 a candidate must ask for three things: its entry, who was there before it, and the end of the one before it. Candidates that
/// begin together do not go on together: no refresh takes so long that another connection is tried.
#[test]
fn a_crowd_is_served_in_the_time_that_its_requests_take_on_v2() {
    let all = [(3, 5), (20, 10), (40, 10)].map(|(count, ttl_s)| [(1, count, ttl_s), (3, count, ttl_s)]);
    for (servers, count, ttl_s) in all.into_iter().flatten() {
        let must = 3 * count as Ns * CHECK;
        let lease = u64::from(ttl_s) * SECOND;
        let mut crowd = Crowd::new(Api::V2, servers, count, ttl_s, 0);
        crowd.play(4 * must + 10 * SECOND, 3 * lease);
        let day = crowd.day;
        println!("v2, {servers} servers, {count} at ttl {ttl_s} s: {day:?}");
        let broken = format!("seed {count} breaks law 7: a crowd of {count} at {servers} servers on v2: {day:?}");
        assert!(day.served_at.is_some_and(|at| at < must + must / 10 + SECOND), "{broken}");
        assert!(day.beside <= count / 5, "{broken}");
        assert_eq!(day.losses, 0, "{broken}");
    }
}

/// etcd checks the password of each refresh. If all refreshed at once when it is back, that of the leader would come too late.
#[test]
fn the_lead_is_kept_although_a_crowd_comes_back_on_v2() {
    // How far apart their refreshes are when etcd goes away is a matter of luck.
    let lots = (0..20).flat_map(|lot| [(1, 40, lot), (3, 40, lot)]);
    for (servers, count, lot) in [(1, 3, 0), (1, 20, 0)].into_iter().chain(lots) {
        let lease = 10 * SECOND;
        let mut crowd = Crowd::new(Api::V2, servers, count, 10, lot);
        crowd.play(12 * count as Ns * CHECK + 10 * SECOND, lease);
        crowd.at(crowd.now, Ev::Restart);
        crowd.play(crowd.now + RESTART + 3 * lease, lease);
        let day = crowd.day;
        println!("v2, {servers} servers, {count} after a restart: {} back, {day:?}", crowd.back);
        let broken = format!("seed {count} breaks law 7: a crowd of {count} at {servers} servers on v2: {day:?}");
        assert_eq!(day.losses, 0, "{broken}");
        assert!(crowd.back >= count, "{broken}");
        assert!(day.beside <= count / 5, "{broken}");
    }
}
