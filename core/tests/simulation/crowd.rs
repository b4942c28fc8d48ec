//! A crowd at one server that has a capacity: what it is asked for waits in a queue and costs time, and a login costs most.
//! Machines that begin again what is late ask for ever more, and nobody is ever served.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use etcd_leader::config::{Config, SessionSettings};
use etcd_leader::machine::crew::Crew;
use etcd_leader::machine::{Entropy, Input, LinkId, Op, Request, WatchNews};
use etcd_leader::member::Standing;
use etcd_leader::time::Time;

use crate::cluster::{Cluster, Outcome};
use crate::rng::{MS, Ns, SECOND, US};

/// What the check of a password costs: bcrypt, on one processor.
const LOGIN: Ns = 100 * MS;
/// One way between a process and the server.
const WAY: Ns = 500 * US;

enum Ev {
    Wake { proc: usize, due: Ns },
    Deliver { proc: usize, input: Box<Input> },
    Arrive { proc: usize, request: Box<Request> },
    Done { proc: usize, request: Box<Request> },
}

struct Proc {
    crew: Crew,
    links: Vec<LinkId>,
    wake_due: Ns,
    served_at: Option<Ns>,
}

/// What came of a day.
#[derive(Debug)]
struct Day {
    /// When the last one was served.
    served_at: Option<Ns>,
    opens: usize,
    requests: usize,
    /// How often somebody lost the lead.
    losses: usize,
}

struct Crowd {
    now: Ns,
    cluster: Cluster,
    procs: Vec<Proc>,
    /// Until when the server is busy with passwords, and with all else.
    logins_until: Ns,
    others_until: Ns,
    queue: BinaryHeap<Reverse<(Ns, u64, usize)>>,
    events: Vec<Option<Ev>>,
    day: Day,
}

impl Crowd {
    fn new(settings: &SessionSettings, count: usize) -> Crowd {
        let day = Day { served_at: None, opens: 0, requests: 0, losses: 0 };
        let mut crowd = Crowd {
            now: 0,
            cluster: Cluster::new(0xc1, 1),
            procs: Vec::new(),
            logins_until: 0,
            others_until: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            day,
        };
        for at in 0..count {
            let mut crew = Crew::new(settings.clone(), Entropy::new(at as u64 + 1, 0), Time::ZERO);
            crew.add("/e", &format!("c{at}"), Duration::from_secs(10), Time::ZERO);
            crowd.procs.push(Proc { crew, links: Vec::new(), wake_due: Ns::MAX, served_at: None });
            crowd.drain(at);
        }
        crowd
    }

    fn at(&mut self, time: Ns, ev: Ev) {
        self.events.push(Some(ev));
        self.queue.push(Reverse((time, self.events.len() as u64, self.events.len() - 1)));
    }

    /// Until everybody is served, or so long, and then for as long again as a lease lives.
    fn play(mut self, end: Ns, lease: Ns) -> Day {
        let mut end = end;
        while let Some(Reverse((time, _, at))) = self.queue.pop().filter(|Reverse((time, ..))| *time <= end) {
            self.now = time;
            match self.events[at].take().expect("an event happens once") {
                Ev::Wake { proc, due } if self.procs[proc].wake_due == due => {
                    self.procs[proc].wake_due = Ns::MAX;
                    self.give(proc, Input::Tick);
                }
                Ev::Wake { .. } => {}
                Ev::Deliver { proc, input } => self.give(proc, *input),
                Ev::Arrive { proc, request } => self.arrive(proc, request),
                Ev::Done { proc, request } => self.done(proc, *request),
            }
            if self.day.served_at.is_none() && self.procs.iter().all(|proc| proc.served_at.is_some()) {
                self.day.served_at = Some(self.now);
                end = self.now + lease;
            }
        }
        self.day
    }

    fn give(&mut self, proc: usize, input: Input) {
        self.procs[proc].crew.handle(input, Time::from_nanos(self.now));
        self.drain(proc);
    }

    fn drain(&mut self, proc: usize) {
        while let Some(request) = self.procs[proc].crew.poll_request() {
            match &request.op {
                Op::Close => self.procs[proc].links.retain(|link| *link != request.link),
                Op::Unwatch { .. } => {}
                op => {
                    if let Op::Open { .. } = op {
                        self.procs[proc].links.push(request.link);
                        self.day.opens += 1;
                    }
                    self.day.requests += 1;
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
    fn arrive(&mut self, proc: usize, request: Box<Request>) {
        let (busy_until, cost) = match &request.op {
            Op::Open { .. } => (&mut self.logins_until, LOGIN),
            Op::Join { .. } | Op::Look { .. } => (&mut self.others_until, MS),
            _ => (&mut self.others_until, 200 * US),
        };
        *busy_until = self.now.max(*busy_until) + cost;
        let done = *busy_until;
        self.at(done, Ev::Done { proc, request });
    }

    fn done(&mut self, proc: usize, request: Request) {
        if !self.procs[proc].links.contains(&request.link) {
            return;
        }
        let input = match &request.op {
            Op::Watch { watch, .. } => {
                let news = WatchNews::Created { revision: self.cluster.store.revision };
                Input::Watch { link: request.link, watch: *watch, news }
            }
            op => match self.cluster.perform(0, op, self.now) {
                Outcome::Done(result) => Input::Reply { id: request.id, result },
                Outcome::Stuck | Outcome::Next(_) => unreachable!("the server is well"),
            },
        };
        self.at(self.now + WAY, Ev::Deliver { proc, input: Box::new(input) });
    }
}

/// When what the candidates must ask for fits the server's capacity, everybody is served in the time that it takes, repeated
/// requests stay below a tenth of the first ones, and nobody who leads loses the lead meanwhile.
#[test]
fn a_crowd_is_served_in_the_time_that_its_logins_take() {
    for (count, ttl_s) in [(3, 5), (40, 5), (100, 10), (300, 10)] {
        let endpoints = vec!["http://10.0.0.1:2379".into()];
        let config = Config { endpoints, key: "/e".into(), name: "n".into(), ttl_s, ..Config::default() };
        let settings = config.validate().expect("a good config").session;
        let logins = count as Ns * LOGIN;
        let lease = u64::from(ttl_s) * SECOND;
        let day = Crowd::new(&settings, count).play(2 * logins + 10 * SECOND, lease);
        println!("{count} at ttl {ttl_s} s: {day:?}");
        let broken = format!("seed {count} breaks law 7: a crowd of {count}: {day:?}");
        assert!(day.served_at.is_some_and(|at| at < logins + logins / 10 + SECOND), "{broken}");
        assert!(day.opens <= count + count / 10, "{broken}");
        assert_eq!(day.losses, 0, "{broken}");
    }
}
