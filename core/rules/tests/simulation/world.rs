//! The world of one seed: virtual time, the queue of what will happen, and the loop that makes it happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use etcd_leader_rules::config::{Api, Config, OnStoreReset, Timings};
use etcd_leader_rules::machine::{Failure, Input, LinkId, RequestId};
use etcd_leader_rules::member::Revision;

use crate::chores::Chore;
use crate::cluster::Cluster;
use crate::links::{Call, Route};
use crate::plan::{Heal, Plan};
use crate::process::{Actor, Proc};
use crate::referee::Referee;
use crate::rng::{MS, Ns, Rng, SECOND};
use crate::stats::Stats;
use crate::trace::{Trace, note};
use crate::watchers::{NewWatch, Watcher};

/// What will happen.
pub(crate) enum Ev {
    /// A crew's timer.
    Wake { proc: usize, inc: u32, due: Ns },
    /// Something reaches a process.
    Deliver { proc: usize, inc: u32, link: Option<LinkId>, input: Box<Input> },
    /// A request reaches a member.
    Exec(Box<Call>),
    /// The transport gives up a connection on which this request, or its answer, was lost.
    Lost { proc: usize, inc: u32, link: LinkId, id: RequestId, failure: Box<Failure>, is_open: bool },
    /// A request for a watch reaches a member.
    NewWatch(Box<NewWatch>),
    /// A member hears that a watch, or a link with all its watches, is not wanted any more.
    Forget { proc: usize, inc: u32, link: LinkId, watch: Option<etcd_leader_rules::machine::WatchId> },
    /// A watcher sends what it has.
    Pump { cluster: usize, watcher: u64 },
    /// A lease may have run out.
    Expire { lease: i64, history: u32 },
    /// v2: the raft leader tells all what time it is.
    Sync,
    /// v2: a poll ends without news.
    PollEnds { cluster: usize, watcher: u64, poll: u64 },
    /// v2: those behind must have been shown who leads.
    Shown(crate::claims_v2::Showing),
    /// The members elect a raft leader.
    Elect { round: u64 },
    /// A leader that hears nobody gives up.
    StepDown { node: usize, round: u64 },
    /// Time for the next fault.
    Fault,
    /// A lasting fault ends.
    Heal(Heal),
    /// Something a process or its user does.
    Chore { proc: usize, inc: u32, chore: Chore },
    /// The referee has asked to look at a claim again.
    Check(crate::referee::Recheck),
    /// A look must have confirmed what a watch told.
    Agree(crate::claims::Agreement),
    /// Peace has lasted long enough: somebody must lead.
    Settled,
    /// It must have stayed so; everybody stops.
    Finale,
    /// Nothing of anybody may be left.
    End,
}

/// How unkind a seed is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Nothing fails; leaders stop and start. For what the election may cost at most.
    Quiet,
    /// The network is well, but admins delete keys and revoke leases. For how fast a loss must be noticed.
    Tampered,
    /// Everything at once.
    Storm,
}

pub(crate) const ELECTIONS: [&str; 3] = ["/e/a", "/e/ab", "/f"];

/// From here on the seeds are v2's.
pub(crate) const FIRST_V2: u64 = 1_000_000;

pub(crate) struct World {
    pub(crate) now: Ns,
    pub(crate) rng: Rng,
    pub(crate) mood: Mood,
    pub(crate) timings: Timings,
    pub(crate) elections: usize,
    /// The first is ours; the second is a stranger.
    pub(crate) clusters: [Cluster; 2],
    pub(crate) watchers: [Vec<Watcher>; 2],
    pub(crate) procs: Vec<Proc>,
    /// How each process reaches each endpoint.
    pub(crate) routes: Vec<Vec<Route>>,
    pub(crate) plan: Plan,
    pub(crate) referee: Referee,
    pub(crate) stats: Stats,
    pub(crate) trace: Trace,
    /// The revisions of entries that an accident brought back.
    pub(crate) orphans: Vec<Revision>,
    /// When the last unkindness happened, or its last effect.
    pub(crate) last_trouble: Ns,
    /// When the cluster itself was last unwell.
    pub(crate) unwell_at: Ns,
    /// When the keys of each election were last allowed to our user after they had been denied.
    pub(crate) allowed_at: [Ns; ELECTIONS.len()],
    pub(crate) calm: bool,
    pub(crate) ending: bool,
    pub(crate) rounds: u64,
    pub(crate) next_watcher: u64,
    /// What a restore would bring back.
    pub(crate) snapshot: Option<(u32, crate::store::Store)>,
    /// Leases that had ended, and that an accident brought back.
    pub(crate) leases_back: std::collections::BTreeSet<i64>,
    pub(crate) digest: u64,
    pub(crate) over: bool,
    /// Every process has a member of another cluster among its endpoints, from the start.
    pub(crate) strangers: bool,
    pub(crate) make: fn(Timings, u64, u64, etcd_leader_rules::time::Time) -> Box<dyn Actor>,
    queue: BinaryHeap<Reverse<(Ns, u64, usize)>>,
    slots: Vec<Option<Ev>>,
    free: Vec<usize>,
    seq: u64,
}

/// Makes the actor under test.
pub(crate) type Make = fn(Timings, u64, u64, etcd_leader_rules::time::Time) -> Box<dyn Actor>;

impl World {
    pub(crate) fn new(seed: u64, mood: Option<Mood>, tracing: bool, make: Make) -> World {
        let mut rng = Rng::new(seed);
        let mood = mood.unwrap_or_else(|| match rng.below(10) {
            0 => Mood::Quiet,
            1 => Mood::Tampered,
            _ => Mood::Storm,
        });
        let members = if rng.permille(700) { 3 } else { 1 };
        let ttl_s = *rng.pick(&[1, 2, 2, 3, 3, 5, 10]);
        let count = rng.range(2, 8) as usize;
        let elections = *rng.pick(&[1, 1, 1, 2, 3]);
        let key = ELECTIONS[0].to_string();
        let endpoints = (0..members).map(|at| format!("http://10.0.0.{at}:2379")).collect();
        let stops = mood == Mood::Storm && rng.permille(150);
        let on_store_reset = if stops { OnStoreReset::Stop } else { OnStoreReset::Continue };
        let api = if seed < FIRST_V2 { Api::V3 } else { Api::V2 };
        let config = Config { endpoints, api, key, name: "n".into(), ttl_s, on_store_reset, ..Config::default() };
        let mut timings = config.validate().expect("a good config").session.timings;
        timings.few = [0, 2, 3, timings.few][seed as usize % 4];
        // On v2 it has a price: an opening does not read, and requests go one at a time.
        let shows_password = api == Api::V2 && seed.is_multiple_of(2);
        timings.checks_passwords = shows_password;
        let plan = match api {
            Api::V2 => Plan::draw_v2(&mut rng, mood, &timings),
            _ => Plan::draw(&mut rng, api, mood, timings.ttl()),
        };
        let clusters = [(0xc1, members), (0xf0, 1)].map(|(id, members)| match api {
            Api::V2 => {
                let cluster = Cluster::new_v2(id, members, plan.v2.kept);
                let each_counts = if shows_password { 8 } else { 1 };
                Cluster { checks_passwords: shows_password, each_counts, ..cluster }
            }
            _ => Cluster::new(id, members),
        });
        let mut world = World {
            now: 0,
            mood,
            elections,
            clusters,
            watchers: [Vec::new(), Vec::new()],
            procs: Vec::new(),
            routes: vec![vec![Route::Fine; members]; count],
            referee: Referee::new(&timings, elections, mood),
            timings,
            plan,
            stats: Stats::default(),
            trace: Trace::new(tracing),
            orphans: Vec::new(),
            last_trouble: 0,
            unwell_at: 0,
            allowed_at: [0; ELECTIONS.len()],
            calm: false,
            ending: false,
            rounds: 0,
            next_watcher: 0,
            snapshot: None,
            leases_back: std::collections::BTreeSet::new(),
            digest: seed,
            over: false,
            strangers: false,
            make,
            queue: BinaryHeap::with_capacity(256),
            slots: Vec::with_capacity(256),
            free: Vec::new(),
            seq: 0,
            rng,
        };
        // A delete that a watch of etcd's loses, or tells late, is found by the reads, each key in its turn: not in time.
        let is_narrow = seed.is_multiple_of(3) && mood != Mood::Storm;
        world.clusters[0].join_reads = [1, 2, 8][seed as usize % 3];
        world.clusters[0].max_reads = if is_narrow { 1 } else { usize::MAX };
        if seed.is_multiple_of(5) && mood == Mood::Storm {
            world.clusters[0].min_ttl_s = 3 * i64::from(ttl_s);
        }
        world.clusters[0].guards_leases = !seed.is_multiple_of(4);
        world.stats.seeds = 1;
        note!(world, "seed {seed}: {mood:?}, {count} processes, {members} members, ttl {ttl_s} s, {:?}", world.plan);
        for at in 0..count {
            let proc = Proc::new(at, &mut world.rng);
            world.procs.push(proc);
            let wait = world.rng.below(if at < 2 { 20 * MS } else { 2 * world.ttl() });
            world.at(wait, Ev::Chore { proc: at, inc: 0, chore: Chore::Start });
        }
        if world.is_v2() {
            (0..members).for_each(|node| world.set_clock(node));
            world.at(0, Ev::Sync);
        }
        let first = world.ttl() * 2;
        world.at(first, Ev::Fault);
        world.at(world.plan.peace_at, Ev::Heal(Heal::Peace));
        world
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.timings.api == Api::V2
    }

    pub(crate) fn ttl(&self) -> Ns {
        self.timings.ttl().as_nanos() as Ns
    }

    /// The time to live that the server gives.
    pub(crate) fn lease_time(&self) -> Ns {
        self.ttl().max(self.clusters[0].min_ttl_s as u64 * SECOND)
    }

    pub(crate) fn at(&mut self, time: Ns, ev: Ev) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(ev);
                slot
            }
            None => {
                self.slots.push(Some(ev));
                self.slots.len() - 1
            }
        };
        self.seq += 1;
        self.queue.push(Reverse((time.max(self.now), self.seq, slot)));
    }

    pub(crate) fn after(&mut self, wait: Ns, ev: Ev) {
        self.at(self.now + wait, ev);
    }

    /// Runs until the end, or until a law is broken.
    pub(crate) fn run(&mut self) {
        while let Some(Reverse((time, _, slot))) = self.queue.pop() {
            self.now = time;
            self.stats.events += 1;
            let ev = self.slots[slot].take().expect("a slot is used once");
            self.free.push(slot);
            self.digest = (self.digest ^ time).wrapping_mul(0x100_0000_01b3).rotate_left(23);
            self.happen(ev);
            if self.over || self.referee.verdict.is_some() {
                break;
            }
        }
        self.stats.virtual_ns = self.now;
        self.stats.stale_renewals = self.clusters[0].stale_renewals;
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::Wake { proc, inc, due } => self.wake(proc, inc, due),
            Ev::Deliver { proc, inc, link, input } => self.deliver(proc, inc, link, *input),
            Ev::Exec(call) => self.exec(call),
            Ev::Lost { proc, inc, link, id, failure, is_open } => self.lost(proc, inc, link, id, *failure, is_open),
            Ev::NewWatch(new) => self.new_watch(new),
            Ev::Forget { proc, inc, link, watch } => {
                for watchers in &mut self.watchers {
                    watchers.retain(|w| {
                        w.proc != proc || w.inc != inc || w.link != link || watch.is_some_and(|id| w.watch != id)
                    });
                }
            }
            Ev::Pump { cluster, watcher } => self.pump(cluster, watcher),
            Ev::Expire { lease, history } => self.expire(lease, history),
            Ev::Sync => self.sync(),
            Ev::PollEnds { cluster, watcher, poll } => self.end_poll(cluster, watcher, poll),
            Ev::Shown(showing) => self.shown(showing),
            Ev::Elect { round } => self.elect(round),
            Ev::StepDown { node, round } => self.step_down(node, round),
            Ev::Fault => self.next_fault(),
            Ev::Heal(heal) => self.heal(heal),
            Ev::Chore { proc, inc, chore } => self.chore(proc, inc, chore),
            Ev::Check(check) => {
                self.referee.recheck(check, self.now);
            }
            Ev::Agree(check) => self.agree(check),
            Ev::Settled => self.settled(),
            Ev::Finale => self.finale(),
            Ev::End => self.end(),
        }
    }
}
