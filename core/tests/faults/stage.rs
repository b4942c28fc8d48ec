//! Where a fault happens: etcd, candidates, the cables between them, and the register they write into.

use std::sync::Arc;
use std::time::Duration;

use etcd_leader::Api;
use nix::sys::signal::Signal;

use super::candidate::{Binding, Candidate, Judge, Spec};
use super::register;
use super::reports::Nanos;
use super::timeline::{Records, Timeline};
use support::netns::{Network, Place};
use support::{Cluster, Proxy};

/// Beside the ttl, what the end of a process may take on a machine that is busy with many others.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What all of them campaign for.
pub(crate) const KEY: &str = "/faults/election";
/// How the first candidate, who leads when the fault comes, reaches etcd. The others know the addresses of all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// As the others.
    Direct,
    /// It knows only the member that leads raft.
    RaftLeader,
    /// Through a proxy that can be told to go elsewhere.
    Proxy,
    /// Through such a proxy, or without it.
    ProxyOrDirect,
    /// By a name that can stop to be known.
    Name,
}

/// What a fault needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) members: usize,
    /// Places for members that join later.
    pub(crate) spare: usize,
    pub(crate) ttl_s: u32,
    pub(crate) flags: &'static [&'static str],
    pub(crate) reach: Reach,
    /// Users and passwords, or certificates.
    pub(crate) door: Door,
}

/// What stands before etcd's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Users,
    Tls,
}

pub(crate) struct Stage {
    pub(crate) api: Api,
    pub(crate) ttl: Duration,
    pub(crate) scene: Scene,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) tls: Option<super::access::Certificates>,
    pub(crate) cluster: Cluster,
    pub(crate) network: Network,
    pub(crate) timeline: Arc<Timeline>,
    /// How long the leading work between asking and writing takes.
    pub(crate) work: Duration,
    register: std::path::PathBuf,
    healed: Option<Nanos>,
}

/// As many as have a namespace of their own; more share them.
const PLACES: usize = 4;

impl Stage {
    /// etcd is healthy, and there are no candidates yet.
    pub(crate) fn set(api: Api, scene: Scene) -> Stage {
        let network = Network::of(scene.members + scene.spare, PLACES);
        let mut flags: Vec<String> = ["--enable-v2=true", "--pre-vote=true"].map(String::from).to_vec();
        flags.extend(scene.flags.iter().map(|flag| flag.to_string()));
        let tls = (scene.door == Door::Tls).then(|| super::access::Certificates::new(&network));
        flags.extend(tls.iter().flat_map(|tls| tls.flags(&network)));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let cluster = network.cluster_of(scene.members, &flags);
        let timeline = Arc::new(Timeline::default());
        if api == Api::V3 && scene.door == Door::Open {
            super::witness::watch(&cluster, &timeline);
        }
        // Names are `c0`, `c1`, ...
        let register =
            register::serve(cluster.directory(), &timeline, |name| name[1..].parse().expect("a candidate's name"));
        let proxy = matches!(scene.reach, Reach::Proxy | Reach::ProxyOrDirect)
            .then(|| Proxy::at(&network.address(Place::Here), cluster.client_address(0)));
        let ttl = Duration::from_secs(scene.ttl_s.into());
        let (candidates, work, healed) = (Vec::new(), Duration::ZERO, None);
        let stage =
            Stage { api, ttl, scene, candidates, proxy, tls, cluster, network, timeline, work, register, healed };
        if scene.door == Door::Users {
            super::access::guard(&stage);
        }
        stage
    }

    /// Starts one more candidate.
    pub(crate) fn start(&mut self, binding: Binding, judge: Judge) -> usize {
        let who = self.candidates.len();
        let place = Place::Client(who % PLACES);
        let mut spec = Spec {
            binding,
            judge,
            api: self.api,
            endpoints: self.endpoints(who),
            name: format!("c{who}"),
            ttl_s: self.scene.ttl_s,
            place,
            register: self.register.clone(),
            errors: self.cluster.directory().join(format!("c{who}.err")),
            environment: Vec::new(),
            hosts: None,
        };
        if self.scene.door == Door::Users {
            spec.environment.push(("FAULTS_USER", "worker".into()));
            spec.environment.push(("FAULTS_PASSWORD", super::access::password()));
        }
        if let Some(tls) = &self.tls {
            spec.environment.push(("FAULTS_CA", tls.ca_file().display().to_string()));
        }
        if !self.work.is_zero() {
            spec.environment.push(("FAULTS_WORK_MS", self.work.as_millis().to_string()));
        }
        if who == 0 && self.scene.reach == Reach::Name {
            spec.hosts = Some(super::names::Hosts::new(self.cluster.directory(), &self.network));
        }
        self.candidates.push(Candidate::start(spec, who, &self.network, &self.timeline));
        who
    }

    fn endpoints(&self, who: usize) -> Vec<String> {
        if self.tls.is_some() {
            return vec![super::access::Certificates::url(&self.network)];
        }
        if let (0, Some(proxy)) = (who, &self.proxy) {
            let direct = (self.scene.reach == Reach::ProxyOrDirect).then(|| self.cluster.urls().remove(0));
            return [proxy.url()].into_iter().chain(direct).collect();
        }
        match self.scene.reach {
            Reach::RaftLeader if who == 0 => vec![self.cluster.urls()[self.cluster.raft_leader()].clone()],
            Reach::Name if who == 0 => vec![super::names::url()],
            _ => (0..self.scene.members + self.scene.spare)
                .map(|at| format!("http://{}:2379", self.network.address(Place::Member(at))))
                .collect(),
        }
    }

    /// Lets the fault last for so many ttls.
    pub(crate) fn last(&self, ttls: f64) {
        std::thread::sleep(self.ttl.mul_f64(ttls));
    }

    pub(crate) fn mark(&self, what: impl Into<String>) -> Nanos {
        self.timeline.mark(what)
    }

    /// From now on nothing is in the way of leading: the clock of the recovery runs.
    pub(crate) fn healed(&mut self) {
        let at = self.mark("healed");
        self.healed = Some(at);
    }

    pub(crate) fn healed_at(&mut self) -> Nanos {
        if self.healed.is_none() {
            self.healed();
        }
        self.healed.expect("set")
    }

    pub(crate) fn signal(&self, who: usize, signal: Signal) {
        self.mark(format!("{signal} to c{who}"));
        self.candidates[who].signal(signal);
    }

    /// Kills it (-9).
    pub(crate) fn kill(&mut self, who: usize) {
        self.mark(format!("c{who} is killed"));
        self.candidates[who].kill();
    }

    /// Asks it to stop, waits until it has ended, and says what is wrong with how it did.
    pub(crate) fn stop(&mut self, who: usize) -> Result<(), String> {
        self.mark(format!("c{who} is to stop"));
        self.candidates[who].signal(Signal::SIGTERM);
        self.candidates[who].ends_well(self.ttl + ENDS_WITHIN)
    }

    /// Asks all to stop at once.
    pub(crate) fn stop_all(&mut self) -> Result<(), String> {
        let living = self.living();
        for who in &living {
            self.signal(*who, Signal::SIGTERM);
        }
        living.into_iter().try_for_each(|who| self.candidates[who].ends_well(self.ttl + ENDS_WITHIN))
    }

    /// Cuts a candidate off from every member.
    pub(crate) fn cut_off(&mut self, who: usize) {
        self.mark(format!("c{who} is cut off"));
        for member in 0..self.scene.members {
            self.network.cut(Place::Client(who), Place::Member(member));
        }
    }

    /// Undoes every cut.
    pub(crate) fn mend(&mut self) {
        self.network.heal_all();
        self.mark("all cables are whole");
    }

    pub(crate) fn living(&self) -> Vec<usize> {
        (0..self.candidates.len()).filter(|who| self.candidates[*who].is_running()).collect()
    }

    /// Whom those believe to lead who do: told so, alive, and claiming it.
    pub(crate) fn leader(records: &Records) -> Option<usize> {
        let leads = |(who, standing): (&usize, &super::timeline::Standing)| {
            let claims = standing.claim.is_some_and(|claim| claim.token != 0);
            (standing.is_elected && !standing.is_dead && claims).then_some(*who)
        };
        records.standings.iter().find_map(leads)
    }

    /// Waits until somebody leads; gives up after `patience`.
    pub(crate) fn await_leader(&self, patience: Duration) -> Result<usize, String> {
        let all_ended = |records: &Records| records.standings.values().all(|one| one.is_dead);
        let leads = |records: &Records| match Stage::leader(records) {
            None if !records.standings.is_empty() && all_ended(records) => Some(Err("all have ended".to_string())),
            leader => leader.map(Ok),
        };
        self.timeline.wait("somebody to lead", patience, leads)?
    }

    /// Waits until this one leads, and every other living candidate names it.
    pub(crate) fn await_agreement(&self, leader: usize, patience: Duration) -> Result<(), String> {
        match self.await_all_agree(patience)? {
            who if who == leader => Ok(()),
            who => Err(format!("c{who} leads, and c{leader} should")),
        }
    }

    /// Waits until somebody leads, and every other living candidate names that one.
    pub(crate) fn await_all_agree(&self, patience: Duration) -> Result<usize, String> {
        let living = self.living();
        self.timeline.wait("all to know one leader", patience, |records| {
            let leader = Stage::leader(records)?;
            let name = format!("c{leader}");
            let knows = |who: &usize| {
                *who == leader || records.standings.get(who).is_some_and(|one| one.leader.as_ref() == Some(&name))
            };
            living.iter().all(knows).then_some(leader)
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for candidate in &mut self.candidates {
            candidate.kill();
        }
        register::close(&self.register);
    }
}
