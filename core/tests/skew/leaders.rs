//! Leading while the clock of the member that serves us is apart from the others'.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use etcd_leader::Api;

use super::candidate::{Candidate, Said, Setup};
use super::clock::shift;
use support::{Cluster, PATIENCE, Proxy, v2};

const KEY: &str = "/skew";
const TTL_S: u32 = 6;
const TTL: Duration = Duration::from_secs(TTL_S as u64);
/// More than anybody can lead with, at this ttl; and entries live for a while yet.
const APART_S: i64 = 4;
/// How often etcd and the candidate are asked.
const PACE: Duration = Duration::from_millis(5);

/// Three members, of which one can be made the only one to serve, and one is to be apart.
struct Stage {
    cluster: Cluster,
    serving: usize,
    moved: usize,
    proxies: Vec<Proxy>,
    /// All entries there ever were, and those that are gone.
    tokens: BTreeSet<u64>,
    gone: BTreeMap<u64, Instant>,
    /// For how long somebody claimed to lead by an entry that was gone.
    wrong: Duration,
}

impl Stage {
    /// `roles` says which member is to serve and which to be moved, if this one leads raft.
    fn new(roles: impl Fn(usize) -> (usize, usize)) -> Stage {
        let cluster = Cluster::of(3, &["--enable-v2=true"]);
        let (serving, moved) = roles(cluster.raft_leader());
        let proxies = (0..3).map(|at| Proxy::before(cluster.client_address(at))).collect();
        let (tokens, gone) = (BTreeSet::new(), BTreeMap::new());
        Stage { cluster, serving, moved, proxies, tokens, gone, wrong: Duration::ZERO }
    }

    fn start(&self, ttl_s: u32) -> Candidate {
        let urls: Vec<String> = self.proxies.iter().map(Proxy::url).collect();
        Setup { api: Api::V2, ..Setup::new(&urls, KEY, ttl_s) }.start("one")
    }

    fn shift(&mut self, seconds: i64) {
        let process = self.cluster.member(self.moved).pid().expect("it runs");
        shift(process, seconds);
    }

    /// From now on one member serves, or none.
    fn only_one_serves(&self) {
        for (at, proxy) in self.proxies.iter().enumerate() {
            if at != self.serving {
                proxy.refuse();
            }
            proxy.reset();
        }
    }

    fn all_serve(&self) {
        self.proxies.iter().for_each(Proxy::pass);
    }

    /// Every entry, asked of a member whose clock is not moved.
    fn entries(&self) -> Vec<v2::Entry> {
        v2::entries(self.cluster.client_address(next(self.moved)), KEY).expect("the list of members")
    }

    /// What etcd keeps, and then whether the candidate leads: it must not once its entry is gone.
    fn sample(&mut self, candidate: &mut Candidate) -> Option<u64> {
        std::thread::sleep(PACE);
        let now: BTreeSet<u64> = self.entries().iter().map(|entry| entry.created).collect();
        for token in self.tokens.difference(&now) {
            self.gone.entry(*token).or_insert_with(Instant::now);
        }
        self.tokens.extend(&now);
        let token = candidate.claims().strip_prefix("yes ").map(|token| token.parse().expect("a token"));
        if let Some(gone) = token.and_then(|token| self.gone.get(&token)) {
            self.wrong = self.wrong.max(gone.elapsed());
        }
        token
    }

    fn watch_for(&mut self, candidate: &mut Candidate, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.sample(candidate);
        }
    }

    /// Until the candidate is told of the clocks. What else is wrong, such as members that do not answer, is told too, and
    /// only one thing at a time.
    fn hears_of_clocks(&mut self, candidate: &mut Candidate) {
        let begun = Instant::now();
        while !candidate.has_said("retrying ClockSkew") {
            assert!(begun.elapsed() < PATIENCE, "it is not told of the clocks: {:#?}", said(candidate));
            self.sample(candidate);
        }
    }

    /// Until the candidate has led for so long in one term, by its own word.
    fn leads_for(&mut self, candidate: &mut Candidate, time: Duration) {
        let begun = Instant::now();
        let mut term: Option<(u64, Instant)> = None;
        while term.is_none_or(|(_, since)| since.elapsed() < time) {
            assert!(begun.elapsed() < 8 * TTL + time, "it does not lead for {time:?}: {:#?}", said(candidate));
            let token = self.sample(candidate);
            term = term.filter(|(same, _)| Some(*same) == token).or(token.map(|token| (token, Instant::now())));
        }
    }

    /// Stops the candidate, which must never have claimed to lead by an entry that was gone.
    fn ends(self, mut candidate: Candidate) {
        candidate.stop();
        let (wrong, said) = (self.wrong, said(&candidate));
        assert!(wrong.is_zero(), "it claimed to lead for {wrong:?} by an entry that was gone: {said:#?}");
    }
}

fn said(candidate: &Candidate) -> Vec<Said> {
    candidate.log().into_iter().filter(|said| !said.words.starts_with("claims")).collect()
}

fn next(member: usize) -> usize {
    (member + 1) % 3
}

/// The clocks are apart by so many seconds when a candidate starts; it sees all members once, and is then served by one.
fn apart(roles: impl Fn(usize) -> (usize, usize), seconds: i64) -> (Stage, Candidate) {
    let mut stage = Stage::new(roles);
    stage.shift(seconds);
    let mut one = stage.start(TTL_S);
    stage.leads_for(&mut one, TTL / 2);
    stage.only_one_serves();
    stage.watch_for(&mut one, 2 * TTL);
    (stage, one)
}

/// Entries made through this member end early: so nobody leads by them, that is told, and there are others.
fn early(roles: impl Fn(usize) -> (usize, usize), seconds: i64) {
    let (mut stage, mut one) = apart(roles, seconds);
    stage.hears_of_clocks(&mut one);
    assert_eq!(stage.sample(&mut one), None, "{:#?}", said(&one));
    stage.all_serve();
    stage.leads_for(&mut one, 2 * TTL);
    stage.ends(one);
}

/// Entries made through this member live as long as they should, or longer.
fn late(roles: impl Fn(usize) -> (usize, usize), seconds: i64) {
    let (mut stage, mut one) = apart(roles, seconds);
    stage.leads_for(&mut one, TTL);
    stage.ends(one);
}

#[test]
fn the_member_that_serves_is_behind() {
    early(|leader| (next(leader), next(leader)), -APART_S);
}

/// It need not be so: entries made through it live as long as they should. But who leads raft is not known to us.
#[test]
fn the_raft_leader_serves_and_is_behind() {
    early(|leader| (leader, leader), -APART_S);
}

#[test]
fn the_raft_leader_is_ahead_and_another_serves() {
    early(|leader| (next(leader), leader), APART_S);
}

#[test]
fn the_member_that_serves_is_ahead() {
    late(|leader| (next(leader), next(leader)), APART_S);
}

#[test]
fn the_raft_leader_serves_and_is_ahead() {
    late(|leader| (leader, leader), APART_S);
}

#[test]
fn a_clock_is_set_back_while_its_member_serves_a_leader() {
    let (mut stage, mut one) = apart(|leader| (next(leader), next(leader)), 0);
    stage.all_serve();
    stage.leads_for(&mut one, TTL);
    stage.shift(-APART_S);
    stage.leads_for(&mut one, 2 * TTL);
    stage.hears_of_clocks(&mut one);
    stage.ends(one);
}

/// At this ttl a leader can live with a clock that is so far behind, and its margin does not make up for it.
const LONG_TTL_S: u32 = 20;
const FAR_S: i64 = 5;
/// What goes to a member and comes back takes that long, each way.
const SLOW: Duration = Duration::from_millis(400);

/// The entry that it wrote down before does not live longer for that. The leader hears of the new clock when it connects
/// again, and of nothing after that: its next refresh does not arrive.
#[test]
fn a_clock_that_was_behind_is_set_right_and_no_refresh_follows() {
    let mut stage = Stage::new(|leader| (next(leader), next(leader)));
    stage.shift(-FAR_S);
    let mut one = stage.start(LONG_TTL_S);
    stage.leads_for(&mut one, TTL / 2);
    stage.only_one_serves();
    stage.leads_for(&mut one, TTL);
    let written = stage.entries();
    while stage.entries() == written {
        stage.sample(&mut one);
    }
    stage.shift(0);
    for proxy in &stage.proxies {
        proxy.delay(SLOW);
        proxy.reset();
    }
    // The question passes, and its answer; what is sent after the answer does not.
    stage.watch_for(&mut one, SLOW * 3 / 2);
    stage.proxies.iter().for_each(Proxy::hold_all);
    stage.watch_for(&mut one, Duration::from_secs(u64::from(LONG_TTL_S)));
    stage.proxies.iter().for_each(Proxy::pass);
    stage.ends(one);
}

/// Entries that were renewed in time run out all the same: nobody can know before. But it must not happen to every
/// term from then on.
#[test]
fn the_raft_leaders_clock_is_set_ahead_while_another_serves_a_leader() {
    let (mut stage, mut one) = apart(|leader| (next(leader), leader), 0);
    stage.all_serve();
    stage.leads_for(&mut one, TTL);
    stage.shift(APART_S);
    stage.hears_of_clocks(&mut one);
    stage.leads_for(&mut one, 2 * TTL);
    one.stop();
}
