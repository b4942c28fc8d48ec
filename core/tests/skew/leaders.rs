//! Leading while the clock of the member that serves us is apart from the others'.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use etcd_leader::Api;

use super::candidate::{Candidate, Setup};
use super::clock::shift;
use super::support::{Cluster, Proxy, v2};

const KEY: &str = "/skew";
const TTL_S: u32 = 6;
const TTL: Duration = Duration::from_secs(TTL_S as u64);
/// Above ttl/4, so it is reported; below the ttl, so entries live for a while.
const APART_S: i64 = 4;
/// The other members answer that much later, so that the one in question is taken first.
const LATER: Duration = Duration::from_millis(150);

/// Three members, of which one is to be apart, and is the one that a candidate takes if it can.
struct Stage {
    cluster: Cluster,
    /// The member to be moved, and one that shows what etcd keeps.
    moved: usize,
    witness: SocketAddr,
    urls: Vec<String>,
    /// Held, since they go with it.
    _proxies: Vec<Proxy>,
    tokens: BTreeSet<u64>,
}

impl Stage {
    fn new(moves_raft_leader: bool) -> Stage {
        let cluster = Cluster::of(3, &["--enable-v2=true"]);
        let leader = cluster.raft_leader();
        let moved = if moves_raft_leader { leader } else { (leader + 1) % 3 };
        let others: Vec<SocketAddr> = (0..3).filter(|at| *at != moved).map(|at| cluster.client_address(at)).collect();
        let proxies: Vec<Proxy> = others.iter().map(|other| Proxy::before(*other)).collect();
        let mut urls = vec![cluster.urls()[moved].clone()];
        for proxy in &proxies {
            proxy.delay(LATER);
            urls.push(proxy.url());
        }
        Stage { cluster, moved, witness: others[0], urls, _proxies: proxies, tokens: BTreeSet::new() }
    }

    fn shift(&mut self, seconds: i64) {
        let process = self.cluster.member(self.moved).pid().expect("it runs");
        shift(process, seconds);
    }

    fn start(&self, name: &str) -> Candidate {
        Setup { api: Api::V2, ..Setup::new(&self.urls, KEY, TTL_S) }.start(name)
    }

    /// Looks again and again at what etcd keeps, and then asks whether the candidate leads: it must not once its entry is
    /// gone. Ends once the candidate has led for so long without a break, by its own word.
    fn leads_for(&mut self, candidate: &mut Candidate, time: Duration) -> u64 {
        let begun = Instant::now();
        let mut since: Option<(u64, Instant)> = None;
        loop {
            let entries = v2::entries(self.witness, KEY).expect("the list of members");
            let now: BTreeSet<u64> = entries.iter().map(|entry| entry.created).collect();
            let gone: BTreeSet<u64> = self.tokens.difference(&now).copied().collect();
            self.tokens.extend(&now);
            let claim = candidate.claims();
            let token = claim.strip_prefix("yes ").map(|token| token.parse().expect("a token"));
            if let Some(token) = token {
                assert!(!gone.contains(&token), "it claims to lead by an entry that is gone: {:#?}", candidate.log());
            }
            since = match (token, since) {
                (Some(token), Some((same, from))) if token == same => Some((same, from)),
                (Some(token), _) => Some((token, Instant::now())),
                (None, _) => None,
            };
            if let Some((token, from)) = since
                && from.elapsed() >= time
            {
                return token;
            }
            assert!(begun.elapsed() < 8 * TTL + time, "it does not lead for {time:?}: {:#?}", candidate.log());
        }
    }
}

fn reports_skew(candidate: &Candidate) -> bool {
    candidate.has_said("retrying ClockSkew")
}

/// Through the one that is behind, entries live shorter than we think; the others are there to lead through.
#[test]
fn the_member_that_is_taken_first_is_behind() {
    let mut stage = Stage::new(false);
    stage.shift(-APART_S);
    let mut one = stage.start("one");
    stage.leads_for(&mut one, 2 * TTL);
    assert!(reports_skew(&one), "{:#?}", one.log());
    one.stop();
}

/// Raft's leader has entries expire by its own clock: entries made through the others live longer than we think.
#[test]
fn the_raft_leader_is_taken_first_and_is_behind() {
    let mut stage = Stage::new(true);
    stage.shift(-APART_S);
    let mut one = stage.start("one");
    stage.leads_for(&mut one, 2 * TTL);
    assert!(reports_skew(&one), "{:#?}", one.log());
    one.stop();
}

/// Entries live longer than we think, so nothing is lost but time.
#[test]
fn the_member_that_is_taken_first_is_ahead() {
    let mut stage = Stage::new(false);
    stage.shift(APART_S);
    let mut one = stage.start("one");
    stage.leads_for(&mut one, 2 * TTL);
    one.stop();
}

/// The entries of all others expire early: leading is possible through this one alone.
#[test]
fn the_raft_leader_is_taken_first_and_is_ahead() {
    let mut stage = Stage::new(true);
    stage.shift(APART_S);
    let mut one = stage.start("one");
    stage.leads_for(&mut one, 2 * TTL);
    one.stop();
}

/// The worst moment: the entry of one who leads is renewed with a clock that has just been set back.
#[test]
fn a_clock_is_set_back_while_its_member_serves_a_leader() {
    let mut stage = Stage::new(false);
    let mut one = stage.start("one");
    stage.leads_for(&mut one, TTL);
    stage.shift(-APART_S);
    stage.leads_for(&mut one, 2 * TTL);
    assert!(reports_skew(&one), "{:#?}", one.log());
    one.stop();
}

/// All entries made through the others run out at once, also those that were renewed in time.
#[test]
fn the_raft_leaders_clock_is_set_ahead_while_another_serves_a_leader() {
    let mut stage = Stage::new(true);
    let mut one = stage.start("one");
    stage.leads_for(&mut one, TTL);
    stage.shift(APART_S);
    stage.leads_for(&mut one, 2 * TTL);
    one.stop();
}
