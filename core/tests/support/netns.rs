//! A network of namespaces: each etcd member lives in one of its own, and the cables between them can be cut.
//!
//! ```text
//! this namespace 10.x.y.254 --+
//! client 0       10.x.y.100 --+-- bridge (a namespace of its own)
//! client 1       10.x.y.101 --+
//! member 0       10.x.y.1   --+
//! member 1       10.x.y.2   --+
//! ```

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::etcd::{Cluster, Host};
use super::spawn::spawn;

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// The last byte of the address of the first client's namespace.
const CLIENT: u8 = 100;
/// The last byte of the address of the namespace that the test runs in.
const HERE: u8 = 254;

/// Who can be cut off from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A member, counted from 0.
    Member(usize),
    /// What runs in one of the namespaces for clients, counted from 0.
    Client(usize),
    /// The test itself, and all else that runs in its namespace.
    Here,
}

/// Which way is cut of a member's two ways to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OneWay {
    /// What the member says arrives, and it hears nothing.
    Speaking,
    /// It hears, and what it says does not arrive.
    Hearing,
}

/// Namespaces on one bridge, gone when dropped. Drop the [`Cluster`] that lives in them first.
pub struct Network {
    /// `el-<pid>-<count>`: the start of the names of the namespaces.
    name: String,
    /// The first three bytes of all addresses.
    net: String,
    members: usize,
    clients: usize,
    cuts: BTreeSet<(Place, Place)>,
    /// Members and those whose words they do not hear, or who do not hear theirs.
    one_way: BTreeSet<(usize, Place, OneWay)>,
    /// The end of the cable to the bridge in this namespace.
    here: String,
}

impl Network {
    /// Namespaces for so many members and one for clients.
    pub fn new(members: usize) -> Network {
        Network::of(members, 1)
    }

    /// Namespaces for so many members and so many for clients. Panics, naming what is missing, where that cannot be had.
    pub fn of(members: usize, clients: usize) -> Network {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        require();
        remove_stale();
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let pid = std::process::id();
        let network = Network {
            name: format!("el-{pid}-{count}"),
            net: free_net(pid.wrapping_add(count)),
            members,
            clients,
            cuts: BTreeSet::new(),
            one_way: BTreeSet::new(),
            here: format!("el{pid}x{count}"),
        };
        network.build();
        network
    }

    fn build(&self) {
        let bridge = self.namespace("sw");
        run(&["ip", "netns", "add", &bridge]);
        run(&["ip", "-n", &bridge, "link", "add", "br0", "type", "bridge"]);
        run(&["ip", "-n", &bridge, "link", "set", "br0", "up"]);
        for place in self.places() {
            let port = format!("p{}", self.host(place));
            match self.namespace_of(place) {
                Some(namespace) => {
                    run(&["ip", "netns", "add", &namespace]);
                    run(&["ip", "-n", &namespace, "link", "set", "lo", "up"]);
                    run(&[
                        "ip", "-n", &bridge, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns",
                        &namespace,
                    ]);
                    let address = format!("{}/24", self.address(place));
                    run(&["ip", "-n", &namespace, "address", "add", &address, "dev", "eth0"]);
                    run(&["ip", "-n", &namespace, "link", "set", "eth0", "up"]);
                }
                None => {
                    run(&["ip", "link", "add", &self.here, "type", "veth", "peer", "name", &port, "netns", &bridge]);
                    run(&["ip", "address", "add", &format!("{}/24", self.address(place)), "dev", &self.here]);
                    run(&["ip", "link", "set", &self.here, "up"]);
                }
            }
            run(&["ip", "-n", &bridge, "link", "set", &port, "master", "br0"]);
            run(&["ip", "-n", &bridge, "link", "set", &port, "up"]);
        }
    }

    /// An etcd member in each namespace for members, healthy.
    pub fn cluster(&self, flags: &[&str]) -> Cluster {
        self.cluster_of(self.members, flags)
    }

    /// The same in the first so many of them.
    pub fn cluster_of(&self, members: usize, flags: &[&str]) -> Cluster {
        let hosts: Vec<_> = (0..members).map(|member| self.host_of(member)).collect();
        Cluster::on(&hosts, flags)
    }

    /// Where a member of this number lives.
    pub fn host_of(&self, member: usize) -> Host {
        Host {
            ip: self.address(Place::Member(member)),
            enter: self.enter(Place::Member(member)),
            ports: Some((CLIENT_PORT, PEER_PORT)),
        }
    }

    /// The address of a place.
    pub fn address(&self, place: Place) -> String {
        format!("{}.{}", self.net, self.host(place))
    }

    /// What stands before a command that is to run there; nothing for [`Place::Here`].
    pub fn enter(&self, place: Place) -> Vec<String> {
        match self.namespace_of(place) {
            // `ip netns exec` makes a mount namespace as well, and a process with one of its own may take half a minute to
            // end on a busy machine: the kernel waits for all processors before it unmounts.
            Some(namespace) => vec!["nsenter".into(), format!("--net=/run/netns/{namespace}")],
            None => Vec::new(),
        }
    }

    /// Starts a program there; it is killed when the test ends.
    pub fn spawn(&self, place: Place, program: &Path, configure: impl FnOnce(&mut Command)) -> Child {
        let enter = self.enter(place);
        let mut command = match enter.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        configure(&mut command);
        spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
    }

    /// Drops everything between two places, both ways. Connections stay, and hear nothing more.
    pub fn cut(&mut self, one: Place, other: Place) {
        let pair = (one.min(other), one.max(other));
        if self.cuts.insert(pair) {
            self.filter("-I", pair);
        }
    }

    /// Cuts a place off from all others.
    pub fn isolate(&mut self, place: Place) {
        for other in self.places() {
            if other != place {
                self.cut(place, other);
            }
        }
    }

    /// Lets a place hear of all others again.
    pub fn join(&mut self, place: Place) {
        for (one, other) in self.cuts.clone() {
            if one == place || other == place {
                self.heal(one, other);
            }
        }
    }

    /// Lets two places hear of each other again.
    pub fn heal(&mut self, one: Place, other: Place) {
        let pair = (one.min(other), one.max(other));
        if self.cuts.remove(&pair) {
            self.filter("-D", pair);
        }
    }

    /// Drops everything between a member and another place one way only: `left` is what it still can.
    pub fn cut_one_way(&mut self, member: usize, other: Place, left: OneWay) {
        if self.one_way.insert((member, other, left)) {
            self.filter_one_way("-I", (member, other, left));
        }
    }

    /// Mends every cut.
    pub fn heal_all(&mut self) {
        for cut in std::mem::take(&mut self.one_way) {
            self.filter_one_way("-D", cut);
        }
        for (one, other) in self.cuts.clone() {
            self.heal(one, other);
        }
    }

    /// The rules stand at the lower place, which is never [`Place::Here`]: our own tables are left alone.
    fn filter(&self, verb: &str, (at, other): (Place, Place)) {
        for (chain, side) in [("INPUT", "--source"), ("OUTPUT", "--destination")] {
            self.drop_packets(verb, at, chain, [side, &self.address(other)]);
        }
    }

    fn filter_one_way(&self, verb: &str, (member, other, left): (usize, Place, OneWay)) {
        let (chain, side) = match left {
            OneWay::Speaking => ("INPUT", "--source"),
            OneWay::Hearing => ("OUTPUT", "--destination"),
        };
        self.drop_packets(verb, Place::Member(member), chain, [side, &self.address(other)]);
    }

    fn drop_packets(&self, verb: &str, at: Place, chain: &str, whose: [&str; 2]) {
        let enter = self.enter(at);
        let mut words: Vec<&str> = enter.iter().map(String::as_str).collect();
        words.extend(["iptables", "-w", verb, chain, whose[0], whose[1], "-j", "DROP"]);
        run(&words);
    }

    fn places(&self) -> Vec<Place> {
        let clients = (0..self.clients).map(Place::Client);
        (0..self.members).map(Place::Member).chain(clients).chain([Place::Here]).collect()
    }

    fn host(&self, place: Place) -> u8 {
        match place {
            Place::Member(member) => u8::try_from(member + 1).expect("a few members"),
            Place::Client(client) => CLIENT + u8::try_from(client).expect("a few clients"),
            Place::Here => HERE,
        }
    }

    /// The name of its namespace; none for [`Place::Here`].
    pub fn namespace_of(&self, place: Place) -> Option<String> {
        match place {
            Place::Member(member) => Some(self.namespace(&format!("m{member}"))),
            Place::Client(client) => Some(self.namespace(&format!("c{client}"))),
            Place::Here => None,
        }
    }

    fn namespace(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.places().into_iter().filter_map(|place| self.namespace_of(place)) {
            let _ = try_run(&["ip", "netns", "delete", &namespace]);
        }
        let _ = try_run(&["ip", "link", "delete", &self.here]);
        let _ = try_run(&["ip", "netns", "delete", &self.namespace("sw")]);
    }
}

fn require() {
    let owner = std::fs::metadata("/proc/self").expect("/proc").uid();
    assert!(owner == 0, "network namespaces need root");
    for (tool, package) in [("ip", "iproute2"), ("iptables", "iptables"), ("nsenter", "util-linux")] {
        let found = Command::new(tool).arg("-V").output().is_ok();
        assert!(found, "network namespaces need {tool}: install the package {package}");
    }
    // Tests run side by side, and the probe has one name.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let probe = format!("el-{}-probe", std::process::id());
    let made = try_run(&["ip", "netns", "add", &probe]);
    let _ = try_run(&["ip", "netns", "delete", &probe]);
    assert!(made.status.success(), "this kernel makes no network namespaces: {}", said(&made));
}

/// Takes away what tests that were killed have left behind.
fn remove_stale() {
    let listed = try_run(&["ip", "netns", "list"]);
    for name in String::from_utf8_lossy(&listed.stdout).lines().filter_map(|line| line.split_whitespace().next()) {
        let pid =
            name.strip_prefix("el-").and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Its cables go with it.
            let _ = try_run(&["ip", "netns", "delete", name]);
        }
    }
}

/// A network of 256 addresses in 10.0.0.0/8 that this machine does not know.
fn free_net(start: u32) -> String {
    let known = try_run(&["ip", "-4", "route", "show", "table", "all"]);
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    (0..1000u32)
        .map(|at| start.wrapping_add(at.wrapping_mul(7919)))
        .map(|number| format!("10.{}.{}", 64 + number % 128, number / 128 % 256))
        .find(|net| !known.contains(&format!("{net}.")))
        .expect("a free network in 10.0.0.0/8")
}

fn run(words: &[&str]) {
    let output = try_run(words);
    assert!(output.status.success(), "{}: {}", words.join(" "), said(&output));
}

fn try_run(words: &[&str]) -> Output {
    Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("cannot run {}: {error}", words[0]))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_string()
}
