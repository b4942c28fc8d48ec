//! A crowd at one server that has a capacity: what it is asked for waits in a queue and costs time, and the check of a password
//! costs most. Machines that begin again what is late ask for ever more, and nobody is ever served.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use etcd_leader_rules::ErrorKind;
use etcd_leader_rules::config::{Api, Config, Secret};
use etcd_leader_rules::machine::crew::Crew;
use etcd_leader_rules::machine::{Change, Entropy, Failure, Input, LinkId, Op, Request, WatchId, WatchNews, Watched};
use etcd_leader_rules::member::Standing;
use etcd_leader_rules::time::Time;

use crate::cluster::{Cluster, Outcome};
use crate::cluster_v2::Stage;
use crate::rng::{MS, Ns, SECOND, US};

mod changes;
mod logins;
mod passwords;
mod v2;

use logins::LOGIN;
use v2::Poll;

/// What a read of the neighbours costs, and how much more for each entry: etcd sorts all of them (measured, SCALE.md).
const LOOK: Ns = 100 * US;
const SORTING: Ns = 2_200;
/// What it costs to make a watch, or to tell one of one change.
const TELL: Ns = 30 * US;
/// What it takes to start an election.
const STARTING: Ns = 50 * US;
/// One way between a process and the server.
const WAY: Ns = 500 * US;
/// How long etcd takes from its death to its first answer, if it is started again after a second.
const RESTART: Ns = 2_700 * MS;

enum Ev {
    Wake {
        proc: usize,
        due: Ns,
    },
    Deliver {
        proc: usize,
        input: Box<Input>,
    },
    Arrive {
        proc: usize,
        request: Box<Request>,
    },
    Done(Box<Asked>),
    /// v2: a long poll reaches the store.
    Poll(Box<Poll>),
    /// v2: entries whose time has come end.
    Sync,
    Restart,
    /// The next password is checked by now, unless others have come meanwhile.
    Checked {
        due: Ns,
    },
}

/// A request that the server is at work on.
struct Asked {
    proc: usize,
    request: Request,
    /// v2: which of its requests on the wire this is.
    stage: Stage,
    /// From when on a time to live counts.
    arrived: Ns,
}

struct Proc {
    crew: Crew,
    standing: Standing,
    links: Vec<LinkId>,
    wake_due: Ns,
    served_at: Option<Ns>,
    /// It is asked, told and heard no more.
    is_dead: bool,
}

/// What came of a day.
#[derive(Debug)]
struct Day {
    /// When the last one was served.
    served_at: Option<Ns>,
    opens: usize,
    /// Of these, how many beside a link that serves, to see whether another server is faster.
    beside: usize,
    requests: usize,
    /// Of these, all but renewals and watches.
    reads: usize,
    /// How often somebody lost the lead.
    losses: usize,
}

struct Crowd {
    now: Ns,
    cluster: Cluster,
    procs: Vec<Proc>,
    watches: Vec<(usize, LinkId, WatchId, Watched)>,
    /// v2: the long polls that wait for an event.
    polls: Vec<Poll>,
    /// Nobody needs to log in.
    is_open: bool,
    /// The server answers from then on; tokens of before are refused.
    up_at: Ns,
    /// How many have a link since the server was restarted.
    back: usize,
    /// The passwords that are being checked, all at once and so each the slower, with the work that is left as of `checked_at`,
    /// and what happens then.
    logins: Vec<(Ns, Ev)>,
    checked_at: Ns,
    next_check: Ns,
    /// Until when the server is busy with all else.
    others_until: Ns,
    queue: BinaryHeap<Reverse<(Ns, u64, usize)>>,
    events: Vec<Option<Ev>>,
    entropy: Entropy,
    day: Day,
}

impl Crowd {
    /// So many candidates with a password; `lot` chooses their random numbers. Several servers share one machine.
    fn new(api: Api, servers: usize, count: usize, ttl_s: u32, lot: u64) -> Crowd {
        let endpoints = (1..=servers).map(|at| format!("http://10.0.0.{at}:2379")).collect();
        let (username, password) = (Some("worker".into()), Some(Secret::new("secret")));
        let (key, name) = ("/e".into(), "n".into());
        let config = Config { endpoints, api, key, name, ttl_s, username, password, ..Config::default() };
        let timings = config.validate().expect("a good config").session.timings;
        let day = Day { served_at: None, opens: 0, beside: 0, requests: 0, reads: 0, losses: 0 };
        let is_v2 = api == Api::V2;
        let mut crowd = Crowd {
            now: 0,
            cluster: if is_v2 { v2::cluster() } else { Cluster::new(0xc1, 1) },
            procs: Vec::new(),
            watches: Vec::new(),
            polls: Vec::new(),
            is_open: false,
            up_at: 0,
            back: 0,
            logins: Vec::new(),
            checked_at: 0,
            next_check: 0,
            others_until: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            entropy: Entropy::new(7, 0),
            day,
        };
        for at in 0..count {
            // One process starts them one after the other.
            crowd.now = at as Ns * STARTING;
            let now = Time::from_nanos(crowd.now);
            let mut crew = Crew::new(timings, Entropy::new(lot * 1_000 + at as u64 + 1, 0), now);
            crew.add("/e", &format!("c{at}"), now);
            let standing = Standing::Out;
            crowd.procs.push(Proc {
                crew,
                standing,
                links: Vec::new(),
                wake_due: Ns::MAX,
                served_at: None,
                is_dead: false,
            });
            crowd.drain(at);
        }
        if is_v2 {
            crowd.at(0, Ev::Sync);
        }
        crowd
    }

    fn at(&mut self, time: Ns, ev: Ev) {
        self.events.push(Some(ev));
        self.queue.push(Reverse((time, self.events.len() as u64, self.events.len() - 1)));
    }

    /// Until everybody is served, or so long, and then for as long again as a lease lives.
    fn play(&mut self, end: Ns, lease: Ns) {
        let mut end = end;
        while self.step(end) {
            if self.day.served_at.is_none() && self.procs.iter().all(|proc| proc.served_at.is_some()) {
                self.day.served_at = Some(self.now);
                end = self.now + lease;
            }
        }
        self.now = end;
    }

    /// The next that happens, if anything does by then.
    fn step(&mut self, end: Ns) -> bool {
        let Some(Reverse((time, _, at))) = self.queue.peek().copied().filter(|Reverse((time, ..))| *time <= end) else {
            self.now = end;
            return false;
        };
        self.queue.pop();
        self.now = time;
        match self.events[at].take().expect("an event happens once") {
            Ev::Wake { proc, due } if self.procs[proc].wake_due == due => {
                self.procs[proc].wake_due = Ns::MAX;
                self.give(proc, Input::Tick);
            }
            Ev::Wake { .. } => {}
            Ev::Deliver { proc, input } => self.give(proc, *input),
            Ev::Arrive { proc, request } => self.arrive(proc, request),
            Ev::Done(asked) => self.done(*asked),
            Ev::Poll(poll) => self.poll(*poll),
            Ev::Sync => self.sync(),
            Ev::Restart => self.restart(),
            Ev::Checked { due } if due == self.next_check => self.check(),
            Ev::Checked { .. } => {}
        }
        true
    }

    /// All links break; what is sent from now on waits for the server.
    fn restart(&mut self) {
        self.up_at = self.now + RESTART;
        self.others_until = self.up_at;
        self.logins.clear();
        self.watches.clear();
        self.polls.clear();
        for proc in 0..self.procs.len() {
            for link in std::mem::take(&mut self.procs[proc].links) {
                let failure = Failure::new(ErrorKind::Unreachable, "the server is away");
                self.give(proc, Input::Broken { link, failure });
            }
        }
    }

    fn give(&mut self, proc: usize, input: Input) {
        if self.procs[proc].is_dead {
            return;
        }
        self.procs[proc].crew.handle(input, Time::from_nanos(self.now));
        self.drain(proc);
    }

    fn drain(&mut self, proc: usize) {
        while let Some(request) = self.procs[proc].crew.poll_request() {
            match &request.op {
                Op::Close => {
                    self.procs[proc].links.retain(|link| *link != request.link);
                    self.watches.retain(|(of, link, ..)| (*of, *link) != (proc, request.link));
                    self.polls.retain(|poll| (poll.proc, poll.link) != (proc, request.link));
                }
                Op::Unwatch { watch } => self.unwatch(proc, *watch),
                op => {
                    if let Op::Open { is_proof, .. } = op {
                        self.procs[proc].links.push(request.link);
                        self.day.opens += 1;
                        self.day.beside += usize::from(*is_proof);
                    }
                    self.day.requests += 1;
                    self.day.reads += usize::from(!matches!(op, Op::Renew { .. } | Op::Watch { .. }));
                    self.at(self.now + WAY, Ev::Arrive { proc, request: Box::new(request) });
                }
            }
        }
        while let Some((_, report)) = self.procs[proc].crew.poll_report() {
            let is_served = match &report.standing {
                Standing::Leading { .. } => true,
                Standing::Following(leader) => leader.is_some(),
                Standing::Out => false,
            };
            self.day.losses += usize::from(report.lost.is_some());
            self.procs[proc].standing = report.standing;
            if is_served {
                self.procs[proc].served_at.get_or_insert(self.now);
            }
        }
        let due = self.procs[proc].crew.poll_timeout().map_or(Ns::MAX, |time| time.as_nanos().max(self.now));
        if due < self.procs[proc].wake_due {
            self.procs[proc].wake_due = due;
            self.at(due, Ev::Wake { proc, due });
        }
    }

    /// The server works off what it was asked for, also what nobody waits for any more.
    fn arrive(&mut self, proc: usize, mut request: Box<Request>) {
        // A login in the place of a token that the restart ended waits for any part of its patience.
        if let Op::Open { patience, .. } = &mut request.op
            && !self.is_v2()
            && self.up_at > 0
            && !patience.is_zero()
        {
            let part = self.entropy.spread(std::mem::take(patience));
            let start = self.now.max(self.up_at) + u64::try_from(part.as_nanos()).expect("a short time");
            return self.at(start, Ev::Arrive { proc, request });
        }
        if matches!(request.op, Op::Open { .. }) && self.now < self.up_at {
            return self.at(self.up_at, Ev::Arrive { proc, request });
        }
        let cost = match &request.op {
            Op::Look { .. } => LOOK + SORTING * self.cluster.store.entries.len() as Ns,
            Op::Watch { .. } => TELL,
            _ => 200 * US,
        };
        let passwords = self.passwords(&request.op);
        let asked = Asked { proc, request: *request, stage: Stage::default(), arrived: self.now };
        if passwords > 0 {
            return self.log_in(passwords, Ev::Done(Box::new(asked)));
        }
        self.others_until = self.now.max(self.others_until) + cost;
        self.at(self.others_until, Ev::Done(Box::new(asked)));
    }

    fn done(&mut self, asked: Asked) {
        let (proc, request) = (asked.proc, &asked.request);
        if !self.procs[proc].links.contains(&request.link) {
            return;
        }
        self.back += usize::from(self.up_at > 0 && matches!(request.op, Op::Open { .. }));
        let input = match &request.op {
            Op::Watch { watch, range } if self.is_v2() => {
                return self.poll(Poll::new(proc, request.link, *watch, range));
            }
            Op::Watch { watch, range } => {
                self.watches.push((proc, request.link, *watch, range.clone()));
                let news = WatchNews::Created { revision: self.cluster.store.revision };
                Input::Watch { link: request.link, watch: *watch, news }
            }
            op => {
                let from = self.cluster.store.log.len();
                let outcome = if self.is_v2() {
                    let taken = (self.cluster.wall(0, asked.arrived), 0);
                    self.cluster.perform_v2(0, op, asked.stage, taken, self.now)
                } else {
                    self.cluster.perform(0, op, self.now)
                };
                self.tell(from);
                match outcome {
                    Outcome::Done(result) => Input::Reply { id: request.id, result },
                    Outcome::Next(stage) => {
                        return self.log_in(1, Ev::Done(Box::new(Asked { stage, arrived: self.now, ..asked })));
                    }
                    Outcome::Stuck => unreachable!("the server is well"),
                }
            }
        };
        self.at(self.now + WAY, Ev::Deliver { proc, input: Box::new(input) });
    }

    /// Those who watch hear of the changes since this entry of the log, one after the other, in no order that anybody knows.
    fn tell(&mut self, from: usize) {
        if self.is_v2() {
            return self.answer_polls();
        }
        let mut told = self.others_until.max(self.now);
        let changes: Vec<Change> = self.cluster.store.log[from..].to_vec();
        let mut news = Vec::new();
        for (proc, link, watch, range) in &self.watches {
            let wants = |change: &&Change| {
                range.from <= change.key && change.key < range.to && (change.now.is_some() || !range.puts_only)
            };
            let changes: Vec<Change> = changes.iter().filter(wants).cloned().collect();
            if !changes.is_empty() {
                let news_of_it = WatchNews::Changes { changes };
                news.push((*proc, Input::Watch { link: *link, watch: *watch, news: news_of_it }));
            }
        }
        while !news.is_empty() {
            let next = usize::try_from(self.entropy.draw()).expect("64 bits") % news.len();
            let (proc, input) = news.swap_remove(next);
            told += TELL;
            self.at(told + WAY, Ev::Deliver { proc, input: Box::new(input) });
        }
        self.others_until = told;
    }
}
