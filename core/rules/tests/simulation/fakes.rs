//! Negative controls: candidates that break a law on purpose. A referee that does not accuse them is asleep.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_leader_rules::config::Timings;
use etcd_leader_rules::error::{Error, ErrorKind};
use etcd_leader_rules::machine::crew::Crew;
use etcd_leader_rules::machine::{
    Answer, CandidateId, Entropy, Input, Op, Reply, Report, Request, RequestId, WatchNews,
};
use etcd_leader_rules::member::{Member, Standing};
use etcd_leader_rules::time::Time;

use crate::process::Actor;
use crate::world::{FIRST_V2, Make, World};

const AN_HOUR: Duration = Duration::from_secs(3600);
/// Seeds that each fake is given to be caught.
const SEEDS: u64 = 400;

/// How a fake differs from the real thing.
trait Lie: 'static {
    fn new(timings: &Timings) -> Self;
    /// What the crew hears; `None` keeps it from it.
    fn hear(&mut self, input: Input) -> Option<Input> {
        Some(input)
    }
    /// Requests that go out in the place of this one.
    fn ask(&mut self, request: Request) -> Vec<Request> {
        vec![request]
    }
    /// What is told in the place of this report.
    fn tell(&mut self, report: Report) -> Report {
        report
    }
    /// Whether it pretends to be over.
    fn is_over(&self) -> bool {
        false
    }
}

struct Fake<L> {
    crew: Crew,
    lie: L,
    requests: VecDeque<Request>,
}

fn fake<L: Lie>(timings: Timings, seed: u64, epoch_ms: u64, now: Time) -> Box<dyn Actor> {
    let lie = L::new(&timings);
    Box::new(Fake { crew: Crew::new(timings, Entropy::new(seed, epoch_ms), now), lie, requests: VecDeque::new() })
}

impl<L: Lie> Actor for Fake<L> {
    fn add(&mut self, key: &str, name: &str, now: Time) -> CandidateId {
        self.crew.add(key, name, now)
    }
    fn handle(&mut self, input: Input, now: Time) {
        self.lie.hear(input).into_iter().for_each(|input| self.crew.handle(input, now));
    }
    fn poll_request(&mut self) -> Option<Request> {
        if self.requests.is_empty() {
            let request = self.crew.poll_request()?;
            self.requests.extend(self.lie.ask(request));
        }
        self.requests.pop_front()
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.crew.poll_timeout()
    }
    fn poll_report(&mut self) -> Option<(CandidateId, Report)> {
        let (id, report) = self.crew.poll_report()?;
        Some((id, self.lie.tell(report)))
    }
    fn accepts(&self, key: &str) -> bool {
        self.crew.accepts(key)
    }
    fn is_over(&self) -> bool {
        self.lie.is_over() || self.crew.is_over()
    }
    fn is_suspect(&self) -> bool {
        self.crew.is_suspect()
    }
}

/// Once elected, it claims to lead for ever.
struct ClaimsForEver(Option<Standing>);

impl Lie for ClaimsForEver {
    fn new(_: &Timings) -> Self {
        ClaimsForEver(None)
    }
    fn tell(&mut self, mut report: Report) -> Report {
        match (&report.standing, &self.0) {
            (Standing::Leading { .. }, _) => self.0 = Some(report.standing.clone()),
            (_, Some(led)) if !report.ended => report.standing = led.clone(),
            _ => {}
        }
        report
    }
}

/// Its claims have no end.
struct NoDeadline;

impl Lie for NoDeadline {
    fn new(_: &Timings) -> Self {
        NoDeadline
    }
    fn tell(&mut self, mut report: Report) -> Report {
        if let Standing::Leading { until, .. } = &mut report.standing {
            *until = *until + AN_HOUR;
        }
        report
    }
}

/// It leads to the very end of its lease.
struct NoMargin(Duration);

impl Lie for NoMargin {
    fn new(timings: &Timings) -> Self {
        NoMargin(timings.margin)
    }
    fn tell(&mut self, mut report: Report) -> Report {
        if let Standing::Leading { until, .. } = &mut report.standing {
            *until = *until + self.0;
        }
        report
    }
}

/// Who follows a leader claims the leader's place.
struct Usurper;

impl Lie for Usurper {
    fn new(_: &Timings) -> Self {
        Usurper
    }
    fn tell(&mut self, mut report: Report) -> Report {
        if let Standing::Following(Some(leader)) = &report.standing {
            report.standing = Standing::Leading { token: leader.token, until: Time::ZERO + AN_HOUR * 100 };
        }
        report
    }
}

/// It keeps the reason of a loss to itself.
struct GivesNoReason;

impl Lie for GivesNoReason {
    fn new(_: &Timings) -> Self {
        GivesNoReason
    }
    fn tell(&mut self, mut report: Report) -> Report {
        report.lost = None;
        report
    }
}

/// It gives its entry up before its user's work has ended.
struct Impatient;

impl Lie for Impatient {
    fn new(_: &Timings) -> Self {
        Impatient
    }
    fn hear(&mut self, input: Input) -> Option<Input> {
        Some(if let Input::Stop { candidate, .. } = input { Input::Stop { candidate, holds: false } } else { input })
    }
}

/// Asked to stop, it walks away from its key.
struct WalksAway(bool);

impl Lie for WalksAway {
    fn new(_: &Timings) -> Self {
        WalksAway(false)
    }
    fn hear(&mut self, input: Input) -> Option<Input> {
        self.0 |= matches!(input, Input::Stop { .. });
        Some(input)
    }
    fn is_over(&self) -> bool {
        self.0
    }
}

/// It never hears what its watches say.
struct Deaf;

impl Lie for Deaf {
    fn new(_: &Timings) -> Self {
        Deaf
    }
    fn hear(&mut self, input: Input) -> Option<Input> {
        Some(input).filter(|input| !matches!(input, Input::Watch { news: WatchNews::Changes { .. }, .. }))
    }
}

/// It never gets an answer to a join, and so never leads.
struct NeverJoins;

impl Lie for NeverJoins {
    fn new(_: &Timings) -> Self {
        NeverJoins
    }
    fn ask(&mut self, request: Request) -> Vec<Request> {
        if matches!(request.op, Op::Join { .. } | Op::Post { .. }) { Vec::new() } else { vec![request] }
    }
}

/// It asks for everything twice.
struct Greedy(u64);

impl Lie for Greedy {
    fn new(_: &Timings) -> Self {
        Greedy(u64::MAX)
    }
    fn ask(&mut self, request: Request) -> Vec<Request> {
        if !matches!(request.op, Op::Look { .. }) {
            return vec![request];
        }
        self.0 -= 1;
        vec![request.clone(), Request { id: RequestId(self.0), ..request }]
    }
}

/// It gives up at the first trouble.
struct GivesUp;

impl Lie for GivesUp {
    fn new(_: &Timings) -> Self {
        GivesUp
    }
    fn tell(&mut self, mut report: Report) -> Report {
        if report.trouble.is_some() {
            report.fatal = Some(Error::new(ErrorKind::Unreachable, "it did not work"));
        }
        report
    }
}

/// It renews its lease without asking whether the member that answered is still the raft leader: the confirming reads
/// go out, but all that comes back has the term of the renewal.
struct TrustsEveryMember(u64);

impl Lie for TrustsEveryMember {
    fn new(_: &Timings) -> Self {
        TrustsEveryMember(0)
    }
    fn hear(&mut self, mut input: Input) -> Option<Input> {
        if let Input::Reply { result: Ok(reply), .. } = &mut input {
            match reply.answer {
                Answer::Renewed { .. } => self.0 = reply.stamp.term,
                Answer::Confirmed { .. } if self.0 > 0 => reply.stamp.term = self.0,
                _ => {}
            }
        }
        Some(input)
    }
}

/// It never sees what time it is elsewhere.
struct BlindToClocks;

impl Lie for BlindToClocks {
    fn new(_: &Timings) -> Self {
        BlindToClocks
    }
    fn hear(&mut self, mut input: Input) -> Option<Input> {
        if let Input::Reply { result: Ok(reply), .. } = &mut input {
            reply.stamp.clock_s = None;
        }
        Some(input)
    }
}

/// It takes each refresh for carried out.
struct TrustsEveryRefresh;

impl Lie for TrustsEveryRefresh {
    fn new(_: &Timings) -> Self {
        TrustsEveryRefresh
    }
    fn hear(&mut self, mut input: Input) -> Option<Input> {
        if let Input::Reply { result: Ok(Reply { answer: Answer::Refreshed { applied, .. }, .. }), .. } = &mut input {
            *applied = true;
        }
        Some(input)
    }
}

/// It shows nobody who leads.
struct Secretive;

impl Lie for Secretive {
    fn new(_: &Timings) -> Self {
        Secretive
    }
    fn ask(&mut self, mut request: Request) -> Vec<Request> {
        if let Op::Refresh { visible, .. } = &mut request.op {
            *visible = false;
        }
        vec![request]
    }
}

/// It writes visibly each time, as those of 2015 do.
struct Noisy;

impl Lie for Noisy {
    fn new(_: &Timings) -> Self {
        Noisy
    }
    fn ask(&mut self, mut request: Request) -> Vec<Request> {
        if let Op::Refresh { visible, .. } = &mut request.op {
            *visible = true;
        }
        vec![request]
    }
}

/// It reads our name in whatever a look shows as ours, and so never loses its entry.
struct SeesOnlyItself(Option<Member>);

impl Lie for SeesOnlyItself {
    fn new(_: &Timings) -> Self {
        SeesOnlyItself(None)
    }
    fn hear(&mut self, mut input: Input) -> Option<Input> {
        if let Input::Reply { result: Ok(reply), .. } = &mut input {
            match &mut reply.answer {
                Answer::Posted { own } => self.0 = Some(own.clone()),
                Answer::Looked(seen) => {
                    seen.own.clone_from(&self.0);
                    seen.first = self.0.iter().cloned().collect();
                }
                _ => {}
            }
        }
        Some(input)
    }
}

type Row = (&'static str, Make, &'static [u32], u64);

fn catch(rows: &[Row], base: u64) {
    for (name, make, laws, seeds) in rows {
        let caught = (base + 1..=base + seeds).find_map(|seed| {
            let mut world = World::new(seed, None, false, *make);
            world.run();
            world.referee.verdict.take().map(|verdict| (seed, verdict))
        });
        let (seed, verdict) = caught.unwrap_or_else(|| panic!("{name} was not caught in {seeds} seeds"));
        println!("{name}: seed {seed}, law {}: {}", verdict.law, verdict.what);
        assert!(laws.contains(&verdict.law), "{name} was caught by law {} in place of {laws:?}", verdict.law);
    }
}

#[test]
fn fakes_are_caught() {
    let rows: [Row; 12] = [
        ("claims for ever", fake::<ClaimsForEver>, &[1, 2, 5, 8], SEEDS),
        ("no deadline", fake::<NoDeadline>, &[1], SEEDS),
        ("no margin", fake::<NoMargin>, &[1], SEEDS),
        ("usurper", fake::<Usurper>, &[2], SEEDS),
        ("gives no reason", fake::<GivesNoReason>, &[5], SEEDS),
        ("impatient", fake::<Impatient>, &[6], SEEDS),
        ("walks away", fake::<WalksAway>, &[8], SEEDS),
        ("deaf", fake::<Deaf>, &[3, 11], SEEDS),
        ("never joins", fake::<NeverJoins>, &[7], SEEDS),
        ("greedy", fake::<Greedy>, &[11], SEEDS),
        ("gives up", fake::<GivesUp>, &[7], SEEDS),
        ("trusts every member", fake::<TrustsEveryMember>, &[1], 4_000),
    ];
    catch(&rows, 0);
}

#[test]
fn fakes_are_caught_on_v2() {
    let rows: [Row; 16] = [
        ("claims for ever", fake::<ClaimsForEver>, &[1, 2, 3, 5, 8], SEEDS),
        ("no deadline", fake::<NoDeadline>, &[1], SEEDS),
        ("no margin", fake::<NoMargin>, &[1], SEEDS),
        ("usurper", fake::<Usurper>, &[2], SEEDS),
        ("gives no reason", fake::<GivesNoReason>, &[5], SEEDS),
        ("impatient", fake::<Impatient>, &[6], SEEDS),
        ("walks away", fake::<WalksAway>, &[8], SEEDS),
        ("deaf", fake::<Deaf>, &[3, 11], SEEDS),
        ("never joins", fake::<NeverJoins>, &[7], SEEDS),
        ("greedy", fake::<Greedy>, &[1, 11], SEEDS),
        ("gives up", fake::<GivesUp>, &[7], SEEDS),
        ("blind to clocks", fake::<BlindToClocks>, &[1], SEEDS),
        ("trusts every refresh", fake::<TrustsEveryRefresh>, &[1, 3, 8], SEEDS),
        ("secretive", fake::<Secretive>, &[11], SEEDS),
        ("noisy", fake::<Noisy>, &[11], SEEDS),
        ("sees only itself", fake::<SeesOnlyItself>, &[1, 2], SEEDS),
    ];
    catch(&rows, FIRST_V2);
}
