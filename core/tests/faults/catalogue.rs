//! All faults, and what each of them needs.

use std::time::Duration;

use etcd_leader::Api;

use super::candidate::Binding;
use super::stage::{Door, Reach, Scene, Stage};
use super::{access, access_v2, cables, clocks, keys, members, names, processes, store, strangers};

pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) says: &'static str,
    pub(crate) apis: &'static [Api],
    pub(crate) scene: Scene,
    /// A candidate without a deadline does harm in it.
    pub(crate) needs_deadline: bool,
    /// For so long two may lead, since somebody has deleted what is not his: see "Not promised" in the README.
    pub(crate) tolerance: Option<Duration>,
    /// The tolerance begins when the last member has told of the deletion: the leader may be connected to that one.
    pub(crate) waits_for_members: bool,
    /// It takes the whole machine.
    pub(crate) is_heavy: bool,
    /// In what those are written who lead when it comes.
    pub(crate) victims: &'static [Binding],
    /// So many take turns in the roll call; the rest stop at once.
    pub(crate) turns: usize,
    pub(crate) strike: fn(&mut Stage),
}

/// One member, reached directly by all.
pub(crate) const SIMPLE: Scene =
    Scene { members: 1, spare: 0, ttl_s: 3, flags: &[], reach: Reach::Direct, door: Door::Open };

const BOTH: &[Api] = &[Api::V3, Api::V2];

impl Fault {
    const fn new(name: &'static str, says: &'static str, strike: fn(&mut Stage)) -> Fault {
        let scene = SIMPLE;
        Fault {
            name,
            says,
            apis: BOTH,
            scene,
            needs_deadline: false,
            tolerance: None,
            waits_for_members: false,
            is_heavy: false,
            victims: &Binding::ALL,
            turns: usize::MAX,
            strike,
        }
    }

    /// On API v3 alone.
    const fn v3(mut self) -> Fault {
        self.apis = &[Api::V3];
        self
    }

    /// On API v2 alone.
    const fn v2(mut self) -> Fault {
        self.apis = &[Api::V2];
        self
    }

    const fn three(mut self) -> Fault {
        self.scene.members = 3;
        self
    }

    const fn spare(mut self) -> Fault {
        self.scene.spare = 1;
        self
    }

    const fn ttl(mut self, ttl_s: u32) -> Fault {
        self.scene.ttl_s = ttl_s;
        self
    }

    const fn flags(mut self, flags: &'static [&'static str]) -> Fault {
        self.scene.flags = flags;
        self
    }

    const fn reach(mut self, reach: Reach) -> Fault {
        self.scene.reach = reach;
        self
    }

    const fn door(mut self, door: Door) -> Fault {
        self.scene.door = door;
        self
    }

    const fn needs_deadline(mut self) -> Fault {
        self.needs_deadline = true;
        self
    }

    const fn tolerates(mut self, millis: u64) -> Fault {
        self.tolerance = Some(Duration::from_millis(millis));
        self
    }

    /// See [`WRONGLY_REVOKED`]. No member is cut off from the others, so that each hears of it soon.
    const fn may_be_revoked(mut self) -> Fault {
        self.waits_for_members = true;
        self.tolerates(WRONGLY_REVOKED)
    }

    const fn heavy(mut self) -> Fault {
        self.is_heavy = true;
        self
    }

    /// The many are in C, so the victim is too; so many of them take turns.
    const fn crowd(mut self, turns: usize) -> Fault {
        (self.victims, self.turns) = (&[Binding::C], turns);
        self.heavy()
    }
}

/// A raft leader that wakes may revoke leases that others have renewed meanwhile: etcd's issue 15247. That is as if somebody had
/// done it by hand. Since 3.4.31 and 3.5.13 it first asks whether it still leads raft, unless raft's clock has ticked within
/// 300 ms: if the first tick after the sleep comes before the question, it revokes as before (seen on 3.6.16).
const WRONGLY_REVOKED: u64 = 500;

/// Passwords are checked at the least cost, and tokens live for two seconds.
const USERS: &[&str] = &["--bcrypt-cost=4", "--auth-token-ttl=2"];

pub(crate) const FAULTS: &[Fault] = &[
    Fault::new("leader_killed", "the leader is killed (-9)", processes::leader_killed),
    Fault::new("leader_stopped", "the leader is stopped (SIGSTOP) for two ttls", processes::leader_stopped)
        .needs_deadline(),
    Fault::new("predecessor_killed", "the second in line is killed", processes::predecessor_killed),
    Fault::new(
        "middle_then_leader_killed",
        "the second in line is killed, then the leader",
        processes::middle_then_leader_killed,
    ),
    Fault::new("candidates_restarted", "all candidates are restarted, one by one", processes::candidates_restarted),
    Fault::new(
        "crowd_loses_etcd",
        "200 more candidates, and all lose etcd at once for two ttls",
        processes::crowd_loses_etcd,
    )
    .v3()
    .ttl(20)
    .crowd(usize::MAX),
    // There each handover has all of them read the whole list, so that two hundred would take minutes.
    Fault::new(
        "crowd_loses_etcd_v2",
        "200 more candidates, and all lose etcd at once for two ttls",
        processes::crowd_loses_etcd,
    )
    .v2()
    .ttl(20)
    .crowd(5),
    Fault::new("etcd_killed_1_s", "etcd is killed, and back after a second", members::etcd_killed_for_a_second),
    Fault::new("etcd_killed_2_ttl", "etcd is killed, and back after two ttls", members::etcd_killed_for_two_ttls),
    Fault::new("etcd_emptied", "etcd is killed, and back without its data", members::etcd_back_without_its_data),
    Fault::new("raft_leader_killed", "the raft leader is killed for two ttls", members::raft_leader_killed).three(),
    Fault::new("raft_leader_frozen", "the raft leader is frozen for two ttls", members::raft_leader_frozen)
        .three()
        .may_be_revoked(),
    Fault::new("raft_leader_cut_off", "the raft leader is cut off from all for two ttls", members::raft_leader_cut_off)
        .three(),
    Fault::new(
        "raft_leader_frozen_and_cut_off",
        "the raft leader, the leader's only member, is frozen, and wakes cut off from the other members",
        members::raft_leader_frozen_and_cut_off,
    )
    .three()
    .reach(Reach::RaftLeader)
    .tolerates(WRONGLY_REVOKED)
    .needs_deadline(),
    Fault::new("own_member_killed", "the leader's member is killed for two ttls", members::leaders_member_killed)
        .three(),
    Fault::new("own_member_frozen", "the leader's member is frozen for two ttls", members::leaders_member_frozen)
        .three()
        .may_be_revoked(),
    Fault::new(
        "own_member_black_holed",
        "all between the leader and its member is dropped for two ttls",
        members::leaders_member_black_holed,
    )
    .three(),
    Fault::new(
        "own_member_hears_nothing",
        "the leader's member hears nothing of it for two ttls",
        members::leaders_member_hears_nothing,
    )
    .three(),
    Fault::new(
        "own_member_is_not_heard",
        "the leader hears nothing of its member for two ttls",
        members::leaders_member_is_not_heard,
    )
    .three(),
    Fault::new("leader_cut_off_2_ttl", "the leader is cut off for two ttls", cables::leader_cut_off_for_two_ttls)
        .needs_deadline(),
    Fault::new("leader_cut_off_5_ttl", "the leader is cut off for five ttls", cables::leader_cut_off_for_five_ttls)
        .needs_deadline(),
    Fault::new("all_cut_off", "all candidates are cut off for two ttls", cables::all_cut_off),
    Fault::new(
        "slow_and_lossy",
        "300 ms there and back, and 20 % of packets lost each way, for three ttls",
        cables::slow_and_lossy,
    ),
    Fault::new("leaders_key_deleted", "somebody deletes the leader's key", keys::leaders_key_deleted).tolerates(500),
    Fault::new("waiters_key_deleted", "somebody deletes a waiter's key", keys::waiters_key_deleted),
    Fault::new("lease_revoked", "somebody revokes the leader's lease", keys::lease_revoked).v3().tolerates(500),
    Fault::new(
        "key_overwritten",
        "somebody overwrites the leader's key, without a lease",
        keys::key_overwritten_without_lease,
    ),
    Fault::new(
        "overwritten_leader_killed",
        "somebody overwrites the leader's key, without a lease, and then the leader is killed",
        keys::overwritten_leader_killed,
    ),
    Fault::new("many_writes", "1,100 unrelated writes while the second in line is cut off", store::many_writes),
    Fault::new("sustained_writes", "unrelated writes as fast as they go for two ttls", store::sustained_writes),
    Fault::new("compacted", "the store is compacted while the waiters are cut off", store::compacted_while_cut_off)
        .v3(),
    Fault::new("out_of_space", "the leader is killed while etcd is out of space", store::out_of_space)
        .v3()
        .flags(&["--quota-backend-bytes=4000000"]),
    Fault::new(
        "etcd_overloaded",
        "etcd runs for a sixth of the time, under many writers, for two ttls",
        store::etcd_overloaded,
    ),
    Fault::new(
        "etcd_restarted_in_turn",
        "the members of etcd are restarted one by one",
        members::etcd_restarted_in_turn,
    )
    .three(),
    Fault::new("members_changed", "a member is added, and the leader's removed", members::members_added_and_removed)
        .three()
        .spare(),
    Fault::new(
        "token_expired",
        "the leader is cut off until its token for etcd is dead",
        cables::leader_cut_off_for_two_ttls,
    )
    .v3()
    .door(Door::Users)
    .flags(USERS)
    .needs_deadline(),
    Fault::new("role_revoked", "the role is revoked for two ttls", access::role_revoked_and_given_back)
        .v3()
        .door(Door::Users)
        .flags(USERS),
    Fault::new("password_changed", "the password is another for two ttls", access::password_changed_and_back)
        .v3()
        .door(Door::Users)
        .flags(USERS),
    // Each request checks the password, at a cost that no flag lowers in v2.
    Fault::new("role_revoked_v2", "the role is revoked for two ttls (10 s)", access_v2::role_revoked_and_given_back)
        .v2()
        .door(Door::Users)
        .ttl(10)
        .heavy(),
    Fault::new(
        "password_changed_v2",
        "the password is another for two ttls (10 s)",
        access_v2::password_changed_and_back,
    )
    .v2()
    .door(Door::Users)
    .ttl(10)
    .heavy(),
    Fault::new(
        "certificate_expired",
        "etcd is back with a certificate that has expired, for two ttls",
        access::certificate_expired_and_replaced,
    )
    .door(Door::Tls),
    Fault::new(
        "candidates_clock_set",
        "the leader's wall clock is set an hour ahead and back",
        clocks::candidates_clock_set,
    ),
    Fault::new(
        "members_clock_set",
        "the raft leader's wall clock is set an hour ahead and back",
        clocks::members_clock_set,
    )
    .v3()
    .three(),
    Fault::new(
        "members_clock_set_v2",
        "the raft leader's wall clock is set an hour ahead and back",
        clocks::members_clock_set,
    )
    .v2()
    .three()
    .tolerates(3_000),
    Fault::new(
        "name_forgotten",
        "the leader's connections break while the name of its etcd is unknown",
        names::name_forgotten,
    )
    // The address that was found last serves, so that nobody loses the lead for want of a deadline.
    .reach(Reach::Name),
    Fault::new("status_500", "the leader reaches one who answers 500", strangers::status_500)
        .reach(Reach::Proxy)
        .needs_deadline(),
    Fault::new("html", "the leader reaches a web page", strangers::html).reach(Reach::Proxy).needs_deadline(),
    Fault::new("truncated_bodies", "the leader gets half answers", strangers::truncated_bodies)
        .reach(Reach::Proxy)
        .needs_deadline(),
    Fault::new("endless_bodies", "the leader gets answers without end", strangers::endless_bodies)
        .reach(Reach::Proxy)
        .needs_deadline(),
    Fault::new("hanging_bodies", "the leader gets answers that stop in the middle", strangers::hanging_bodies)
        .reach(Reach::Proxy)
        .needs_deadline(),
    Fault::new("other_protocol", "the leader reaches an SSH server", strangers::other_protocol)
        .reach(Reach::Proxy)
        .needs_deadline(),
    Fault::new("random_frames", "the leader gets random HTTP/2 frames", strangers::random_frames)
        .reach(Reach::Proxy)
        .needs_deadline(),
    Fault::new("other_cluster", "the leader reaches nothing but another cluster", strangers::other_cluster)
        .reach(Reach::ProxyOrDirect)
        .needs_deadline(),
];
