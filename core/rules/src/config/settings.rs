//! A checked configuration: what an election, its session and its machines know of it.

use std::time::Duration;

use super::{Access, Api, Endpoint, OnStoreReset};

/// A checked configuration: nothing in it is missing and its inequalities hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The election's key.
    pub key: String,
    /// This candidate's name.
    pub name: String,
    /// How long `Election::stop` waits.
    pub stop_timeout: Duration,
    /// What this election shares with others of the process that say the same.
    pub session: SessionSettings,
}

impl Settings {
    /// The times among them; etcd has granted nothing yet.
    pub fn effective(&self) -> Effective {
        let timings = &self.session.timings;
        Effective {
            ttl: timings.ttl(),
            granted_ttl: None,
            renew_every: timings.renew_every,
            margin: timings.margin,
            request_timeout: timings.attempt,
            stop_timeout: self.stop_timeout,
        }
    }
}

/// The settings that took effect, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effective {
    /// The lease that was asked for.
    pub ttl: Duration,
    /// The lease that etcd has granted: so long a crash keeps the next in line from leading. `None` until etcd has said so.
    /// etcd raises it to one and a half times its election timeout.
    pub granted_ttl: Option<Duration>,
    /// How often a follower renews.
    pub renew_every: Duration,
    /// How long before the certain end of the lease leading ends.
    pub margin: Duration,
    /// How long a server may be silent, at most, before another one is asked too.
    pub request_timeout: Duration,
    /// How long a stop waits.
    pub stop_timeout: Duration,
}

/// The part of the settings that belongs to the session; elections with equal ones share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionSettings {
    /// The members of the cluster.
    pub endpoints: Vec<Endpoint>,
    /// How we show who we are, and know who they are.
    pub access: Access,
    /// What the machines know of all this.
    pub timings: Timings,
}

/// The times and numbers that the machines decide by. It holds no address, no password and no certificate, so that nothing that a
/// machine shows can give one away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timings {
    /// Which API of etcd to use.
    pub api: Api,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// Whether each request costs etcd the check of our password: API v2 knows no tokens.
    pub checks_passwords: bool,
    /// The lease we ask for, in whole seconds.
    pub ttl_s: u32,
    /// How often a follower renews it.
    pub renew_every: Duration,
    /// How long before its end leading ends.
    pub margin: Duration,
    /// How long a server may be silent, at most, before another one is asked too.
    pub attempt: Duration,
    /// v3: among so many candidates of one key each watches the leader's end, and looks when it comes.
    pub few: usize,
    /// What to do when the store went back in time.
    pub on_store_reset: OnStoreReset,
}

impl Timings {
    /// The lease we ask for.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl_s))
    }
}
