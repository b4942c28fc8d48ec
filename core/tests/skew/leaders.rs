//! Leading while the clock of the member that serves us is apart from the others'.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use etcd_leader::Api;

use super::candidate::{Candidate, Said, Setup};
use super::clock::shift;
use super::support::{Cluster, Proxy, v2};

const KEY: &str = "/skew";
const TTL_S: u32 = 6;
const TTL: Duration = Duration::from_secs(TTL_S as u64);
/// Above ttl/4, so it is reported; below the ttl, so entries live for a while.
const APART_S: i64 = 4;
/// The other members answer that much later, so that the one in question is taken first.
const LATER: Duration = Duration::from_millis(150);

/// Three members, of which one serves the candidate, if it wants, and one is to be apart.
struct Stage {
    cluster: Cluster,
    moved: usize,
    /// A member that shows what etcd keeps.
    witness: SocketAddr,
    urls: Vec<String>,
    /// Held, since they go with it.
    _proxies: Vec<Proxy>,
    /// All entries there ever were.
    tokens: BTreeSet<u64>,
}

impl Stage {
    /// `roles` says who serves and who is to be moved, if this one leads raft.
    fn new(roles: impl Fn(usize) -> (usize, usize)) -> Stage {
        let cluster = Cluster::of(3, &["--enable-v2=true"]);
        let (serving, moved) = roles(cluster.raft_leader());
        let others = (0..3).filter(|at| *at != serving).map(|at| Proxy::before(cluster.client_address(at)));
        let proxies: Vec<Proxy> = others.collect();
        let mut urls = vec![cluster.urls()[serving].clone()];
        for proxy in &proxies {
            proxy.delay(LATER);
            urls.push(proxy.url());
        }
        let witness = (0..3).find(|at| *at != moved).expect("another");
        let witness = cluster.client_address(witness);
        Stage { cluster, moved, witness, urls, _proxies: proxies, tokens: BTreeSet::new() }
    }

    fn shift(&mut self, seconds: i64) {
        let process = self.cluster.member(self.moved).pid().expect("it runs");
        shift(process, seconds);
    }

    fn start(&self, name: &str) -> Candidate {
        Setup { api: Api::V2, ..Setup::new(&self.urls, KEY, TTL_S) }.start(name)
    }

    /// Looks again and again at what etcd keeps, and then asks whether the candidate leads. Ends once the candidate has
    /// led for so long without a break, by its own word; says for how long it has claimed to by an entry that was gone.
    fn leads_for(&mut self, candidate: &mut Candidate, time: Duration) -> Duration {
        let begun = Instant::now();
        let mut since: Option<(u64, Instant)> = None;
        let mut gone: BTreeMap<u64, Instant> = BTreeMap::new();
        let mut wrong = Duration::ZERO;
        loop {
            let entries = v2::entries(self.witness, KEY).expect("the list of members");
            let now: BTreeSet<u64> = entries.iter().map(|entry| entry.created).collect();
            for token in self.tokens.difference(&now) {
                gone.entry(*token).or_insert_with(Instant::now);
            }
            self.tokens.extend(&now);
            let claim = candidate.claims();
            let token = claim.strip_prefix("yes ").map(|token| token.parse::<u64>().expect("a token"));
            if let Some(gone) = token.and_then(|token| gone.get(&token)) {
                wrong = wrong.max(gone.elapsed());
            }
            since = match (token, since) {
                (Some(token), Some((same, from))) if token == same => Some((same, from)),
                (Some(token), _) => Some((token, Instant::now())),
                (None, _) => None,
            };
            if since.is_some_and(|(_, from)| from.elapsed() >= time) {
                return wrong;
            }
            assert!(begun.elapsed() < 8 * TTL + time, "it does not lead for {time:?}: {:#?}", said(candidate));
        }
    }

    /// The same, and it must never claim to lead by an entry that is gone.
    fn leads_truly_for(&mut self, candidate: &mut Candidate, time: Duration) {
        let wrong = self.leads_for(candidate, time);
        assert!(wrong.is_zero(), "it claimed to lead for {wrong:?} by an entry that was gone: {:#?}", said(candidate));
    }
}

fn said(candidate: &Candidate) -> Vec<Said> {
    candidate.log().into_iter().filter(|said| !said.words.starts_with("claims")).collect()
}

fn check_reported(candidate: &Candidate) {
    assert!(candidate.has_said("retrying ClockSkew"), "{:#?}", said(candidate));
}

fn next(member: usize) -> usize {
    (member + 1) % 3
}

/// A candidate starts when the clocks are apart by so many seconds already.
fn starts(roles: impl Fn(usize) -> (usize, usize), seconds: i64) -> Candidate {
    let mut stage = Stage::new(roles);
    stage.shift(seconds);
    let mut one = stage.start("one");
    stage.leads_truly_for(&mut one, 2 * TTL);
    one.stop();
    one
}

/// Entries made through it live shorter than we think; there are others.
#[test]
fn the_member_that_serves_is_behind() {
    check_reported(&starts(|leader| (next(leader), next(leader)), -APART_S));
}

/// Entries made through it live as long as they should, those made through others longer.
#[test]
fn the_raft_leader_serves_and_is_behind() {
    check_reported(&starts(|leader| (leader, leader), -APART_S));
}

/// Entries live longer than we think.
#[test]
fn the_member_that_serves_is_ahead() {
    starts(|leader| (next(leader), next(leader)), APART_S);
}

/// Entries made through it live as long as they should.
#[test]
fn the_raft_leader_serves_and_is_ahead() {
    starts(|leader| (leader, leader), APART_S);
}

/// Entries made through the others live shorter than we think, and there is only the raft leader to lead through.
#[test]
fn the_raft_leader_is_ahead_and_another_serves() {
    check_reported(&starts(|leader| (next(leader), leader), APART_S));
}

/// The entry of one who leads is renewed with a clock that has just been set back.
#[test]
fn a_clock_is_set_back_while_its_member_serves_a_leader() {
    let mut stage = Stage::new(|leader| (next(leader), next(leader)));
    let mut one = stage.start("one");
    stage.leads_truly_for(&mut one, TTL);
    stage.shift(-APART_S);
    stage.leads_truly_for(&mut one, 2 * TTL);
    check_reported(&one);
    one.stop();
}

/// Entries that were renewed in time run out all the same, and nothing can be known before: not a case that anybody can
/// survive. But then we are told at once.
#[test]
fn the_raft_leaders_clock_is_set_ahead_while_another_serves_a_leader() {
    let mut stage = Stage::new(|leader| (next(leader), leader));
    let mut one = stage.start("one");
    stage.leads_truly_for(&mut one, TTL);
    stage.shift(APART_S);
    let wrong = stage.leads_for(&mut one, 2 * TTL);
    println!("claimed to lead for {wrong:?} after the entry was seen to be gone");
    assert!(wrong < Duration::from_millis(500), "{wrong:?}: {:#?}", said(&one));
    one.stop();
}
