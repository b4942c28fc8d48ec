//! What a seed has in store: the kinds of faults, how often they happen, and the odds on every request.

use std::time::Duration;

use etcd_leader_rules::config::Api;
use etcd_leader_rules::member::Revision;

use crate::rng::{Ns, Rng};
use crate::world::Mood;

macro_rules! faults {
    ($($name:ident),* $(,)?) => {
        /// The kinds of faults that happen at a moment; others are odds on every request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($name),* }

        impl Fault {
            pub(crate) const ALL: [Fault; Fault::COUNT] = [$(Fault::$name),*];
            pub(crate) const COUNT: usize = [$(stringify!($name)),*].len();
        }
    };
}

faults! {
    Kill, KillLeader, Freeze, FreezeLeader, Pause, Stop, StopLeader, Jump, Silence, Refuse, Slow,
    MemberRestart, MemberFreeze, LeaderFreeze, MemberCut, LeaderCut, MemberLag, NewLeader, WholeRestart,
    WipeSameId, WipeNewId, Restore, RestoreAhead, Compact, AdminRevoke, AdminDelete, ForeignPut, ForeignJoin, ForeignPair,
    ForeignEndpoint, Reroute, CancelWatches, Denied, OtherWrites, NoQuorum, Estrange, Orphan, DeniedKey, Copy,
    WriteFlood, DeleteAll, AdminRefresh, ForeignUpdate, ClockStep,
}

impl Fault {
    /// Those that an API knows.
    pub(crate) fn of(api: Api) -> impl Iterator<Item = Fault> {
        use Fault::*;
        Fault::ALL.into_iter().filter(move |kind| match api {
            Api::V2 => {
                !matches!(kind, RestoreAhead | CancelWatches | Compact | AdminRevoke | Orphan | DeniedKey | Copy)
            }
            _ => !matches!(kind, WriteFlood | DeleteAll | AdminRefresh | ForeignUpdate | ClockStep),
        })
    }
}

/// Faults that end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heal {
    /// No fault happens from now on.
    Peace,
    Route {
        proc: usize,
        endpoint: usize,
    },
    Up {
        node: usize,
        round: u64,
    },
    Thaw {
        node: usize,
    },
    Join {
        node: usize,
    },
    Lag {
        node: usize,
    },
    Allow,
    AllowKey,
    Foreign {
        key: Vec<u8>,
    },
    /// v2: a member of 2015 refreshes its entry.
    Original {
        key: Vec<u8>,
        written: Revision,
    },
}

/// The unkindness of every request, in permille.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    pub(crate) lost_request: u64,
    pub(crate) lost_reply: u64,
    pub(crate) late: u64,
    pub(crate) error_applied: u64,
    pub(crate) error_refused: u64,
    pub(crate) stale_watch: u64,
    /// A reply takes as long as an attempt may.
    pub(crate) slow_reply: u64,
    pub(crate) slow_watch: u64,
    pub(crate) cancel_watch: u64,
    pub(crate) lost_delete: u64,
    /// The server gives less time than was asked for.
    pub(crate) short_grant: u64,
    /// A join is held back, and its user stops meanwhile.
    pub(crate) stop_at_join: u64,
    /// v2: a proxy asks twice, and passes on what it was told last.
    pub(crate) repeated: u64,
    /// v2: a connection breaks with a refresh on it, and just then somebody puts over the entry.
    pub(crate) put_over: u64,
}

/// What only v2 has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OnV2 {
    /// How far the members' wall clocks may be apart, on purpose below the margin or not.
    pub(crate) spread: Ns,
    /// How many events are kept for watches.
    pub(crate) kept: u64,
    /// How long a poll lasts without news.
    pub(crate) poll: Ns,
    /// All candidates have the same name.
    pub(crate) one_name: bool,
}

/// What a seed has in store. Each enables some kinds only, so that rare combinations are not drowned by the others.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Fault>,
    pub(crate) every: Ns,
    pub(crate) odds: Odds,
    pub(crate) peace_at: Ns,
    /// For restores.
    pub(crate) snapshot_permille: u64,
    pub(crate) v2: OnV2,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, api: Api, mood: Mood, ttl: Duration) -> Plan {
        let v2 = OnV2::default();
        let ttl = ttl.as_nanos() as Ns;
        let peace_at = ttl * rng.range(6, 20);
        match mood {
            Mood::Quiet => {
                let kinds = vec![Fault::StopLeader, Fault::KillLeader, Fault::Stop, Fault::OtherWrites];
                Plan { kinds, every: ttl * 2, odds: Odds::default(), peace_at, snapshot_permille: 0, v2 }
            }
            Mood::Tampered => {
                let kinds = vec![
                    Fault::AdminDelete,
                    Fault::AdminRevoke,
                    Fault::ForeignPut,
                    Fault::ForeignJoin,
                    Fault::ForeignPair,
                    Fault::Orphan,
                    Fault::DeniedKey,
                    Fault::Copy,
                    Fault::OtherWrites,
                    Fault::StopLeader,
                ];
                Plan { kinds, every: ttl, odds: Odds::default(), peace_at, snapshot_permille: 0, v2 }
            }
            Mood::Storm if std::env::var_os("UNKIND").is_some() => Plan::unkind(rng, api, ttl, peace_at),
            Mood::Storm => {
                let share = *rng.pick(&[100, 300, 500, 900]);
                let mut kinds: Vec<Fault> = Fault::of(api).filter(|_| rng.permille(share)).collect();
                if kinds.is_empty() {
                    kinds.push(*rng.pick(&Fault::of(api).collect::<Vec<_>>()));
                }
                let mut odd = |most: u64| if rng.permille(350) { rng.below(most) + 1 } else { 0 };
                let odds = Odds {
                    lost_request: odd(60),
                    lost_reply: odd(60),
                    late: odd(60),
                    error_applied: odd(60),
                    error_refused: odd(60),
                    stale_watch: odd(100),
                    slow_reply: odd(100),
                    slow_watch: odd(200),
                    cancel_watch: odd(30),
                    lost_delete: odd(100),
                    short_grant: odd(300),
                    stop_at_join: odd(700),
                    repeated: 0,
                    put_over: 0,
                };
                let every = ttl / *rng.pick(&[1, 2, 4, 8]);
                Plan { kinds, every, odds, peace_at, snapshot_permille: 300, v2 }
            }
        }
    }

    /// Somebody meddles all the time: takes permissions away, deletes entries, puts over them and beside them, and restores old
    /// ones; and many a delete is lost on the way.
    fn unkind(rng: &mut Rng, api: Api, ttl: Ns, peace_at: Ns) -> Plan {
        let is_unkind = |kind: &Fault| {
            use Fault::*;
            let meddles = matches!(kind, Denied | DeniedKey | AdminDelete | AdminRevoke | ForeignPut | ForeignJoin);
            let more = matches!(
                kind,
                ForeignPair | Orphan | Copy | Restore | RestoreAhead | DeleteAll | ForeignUpdate | AdminRefresh
            );
            meddles || more || matches!(kind, StopLeader | KillLeader)
        };
        let mut kinds: Vec<Fault> = Fault::of(api).filter(|kind| is_unkind(kind) && rng.permille(600)).collect();
        if kinds.is_empty() {
            kinds.push(Fault::AdminDelete);
        }
        let odds = Odds {
            lost_reply: rng.below(60),
            late: rng.below(60),
            error_applied: rng.below(60),
            stale_watch: rng.below(100),
            slow_reply: rng.below(200),
            slow_watch: rng.below(200),
            lost_delete: rng.below(400),
            stop_at_join: rng.below(700),
            ..Odds::default()
        };
        let every = ttl / *rng.pick(&[2, 4, 8, 16]);
        Plan { kinds, every, odds, peace_at, snapshot_permille: 300, v2: OnV2::default() }
    }

    /// Whether something can happen that may rightly end an election before its first join.
    pub(crate) fn may_be_fatal(&self) -> bool {
        self.kinds.iter().any(|kind| matches!(kind, Fault::Denied | Fault::DeniedKey | Fault::ForeignEndpoint))
    }
}
