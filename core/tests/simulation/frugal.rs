//! What an election may cost at most, checked where nothing fails (the quiet mood).

use std::collections::BTreeMap;

use etcd_leader::config::SessionSettings;
use etcd_leader::machine::members_of;

use crate::referee::Cause;
use crate::rng::{MS, Ns};
use crate::store::Store;
use crate::world::{ELECTIONS, Mood};

/// How long after a change its costs are counted.
const WINDOW: Ns = 60 * MS;

/// What one process did in an election since the last change of its leader.
#[derive(Default, Clone)]
struct Costs {
    looks: u32,
    heard: u32,
}

pub(crate) struct Frugal {
    active: bool,
    pub(crate) renewals: u64,
    pub(crate) confirms: u64,
    prefixes: Vec<Vec<u8>>,
    /// The last leave of a leader: when, in which election, and who is next.
    change: Option<(Ns, usize, Vec<u8>)>,
    costs: BTreeMap<(usize, usize), Costs>,
    now: Ns,
}

impl Frugal {
    pub(crate) fn new(_settings: &SessionSettings, mood: Mood) -> Frugal {
        Frugal {
            active: mood == Mood::Quiet,
            renewals: 0,
            confirms: 0,
            prefixes: ELECTIONS.iter().map(|key| members_of(key)).collect(),
            change: None,
            costs: BTreeMap::new(),
            now: 0,
        }
    }

    pub(crate) fn looked(&mut self, _proc: usize, _prefix: &[u8]) {}
    pub(crate) fn heard(&mut self, _proc: usize) {}
    pub(crate) fn elected(&mut self, _proc: usize, _election: usize, _now: Ns) -> Result<(), String> {
        Ok(())
    }
    pub(crate) fn committed(&mut self, _store: &Store, _from: usize, _cause: Cause, now: Ns) {
        self.now = now;
    }
}
