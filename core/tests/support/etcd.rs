//! Clusters of real etcd members, gone with the test.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use super::member::{Member, etcdctl, tail};
use super::port::Port;
use super::slow_disk::SlowDisk;
use super::{memory, raft, wait_for};

/// Where a member lives.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its address.
    pub ip: String,
    /// What stands before a command that is to run there.
    pub enter: Vec<String>,
    /// The client and the peer port; free ones are chosen if there are none.
    pub ports: Option<(u16, u16)>,
}

impl Host {
    /// This machine, on free ports.
    pub fn local() -> Host {
        Host { ip: "127.0.0.1".into(), enter: Vec::new(), ports: None }
    }
}

/// The members of one etcd cluster.
pub struct Cluster {
    members: Vec<Member>,
    https: Option<SocketAddr>,
    /// Theirs also while they do not run.
    ports: Vec<Port>,
    directory: TempDir,
}

impl Cluster {
    /// One member, healthy.
    pub fn single() -> Cluster {
        Cluster::of(1, &[])
    }

    /// Three members, healthy.
    pub fn three() -> Cluster {
        Cluster::of(3, &[])
    }

    /// One member, healthy, on a disk that can be made slow.
    pub fn with_slow_disk(flags: &[&str]) -> (Cluster, Arc<SlowDisk>) {
        let mut cluster = Cluster::prepare(&[Host::local()], flags);
        let disk = Arc::new(SlowDisk::default());
        cluster.members[0].disk = Some(disk.clone());
        cluster.start();
        (cluster, disk)
    }

    /// So many members with these flags beside the usual ones, healthy.
    pub fn of(members: usize, flags: &[&str]) -> Cluster {
        Cluster::on(&vec![Host::local(); members], flags)
    }

    /// One member on each of these hosts, healthy.
    pub fn on(hosts: &[Host], flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(hosts, flags);
        cluster.start();
        cluster
    }

    /// One member that listens for TLS too, see [`Cluster::https_url`]; health and etcdctl need no certificates.
    pub fn secure(flags: &[&str]) -> Cluster {
        let https = Port::new();
        let mut cluster = Cluster::also_at(&Host::local(), &format!("https://{}", https.address()), flags);
        cluster.https = Some(https.address());
        cluster.ports.push(https);
        cluster
    }

    /// One member, healthy, that listens for clients at this URL, too.
    pub fn also_at(host: &Host, url: &str, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(std::slice::from_ref(host), flags);
        let mut arguments = cluster.members[0].arguments.iter_mut();
        let listening =
            arguments.find(|argument| argument.starts_with("--listen-client-urls=")).expect("where it listens");
        listening.push_str(&format!(",{url}"));
        cluster.start();
        cluster
    }

    /// One member that serves HTTP here alone, and gRPC at its port for clients alone.
    pub fn with_http_at(port: &Port) -> Cluster {
        let mut cluster = Cluster::prepare(&[Host::local()], &[&format!("--listen-client-http-urls={}", port.url())]);
        cluster.members[0].launch();
        cluster.members[0].wait_until_healthy_at(port.address());
        cluster
    }

    /// Where the member of [`Cluster::secure`] listens for TLS, under this name of it.
    pub fn https_url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.https_port())
    }

    /// The port at which the member of [`Cluster::secure`] listens for TLS.
    pub fn https_port(&self) -> u16 {
        self.https.expect("a cluster with TLS").port()
    }

    fn prepare(hosts: &[Host], flags: &[&str]) -> Cluster {
        let directory = memory::directory();
        let mut ports = Vec::new();
        let mut free = || {
            ports.push(Port::new());
            ports[ports.len() - 1].address().port()
        };
        let addresses: Vec<(SocketAddr, SocketAddr)> = hosts
            .iter()
            .map(|host| {
                let (client, peer) = host.ports.unwrap_or_else(|| (free(), free()));
                let ip = host.ip.parse().expect("an address");
                (SocketAddr::new(ip, client), SocketAddr::new(ip, peer))
            })
            .collect();
        let all: Vec<_> = addresses.iter().enumerate().map(|(at, (_, peer))| format!("m{at}=http://{peer}")).collect();
        let members = hosts.iter().zip(addresses).enumerate().map(|(at, (host, addresses))| {
            Member::new(at, host, addresses, directory.path(), [&all.join(","), "new"], flags)
        });
        Cluster { members: members.collect(), https: None, ports, directory }
    }

    /// Adds a member to those there are, and waits until it is healthy. Its ports must be given.
    pub fn add(&mut self, host: &Host) {
        let (client, peer) = host.ports.expect("ports");
        let ip = host.ip.parse().expect("an address");
        self.join(host, (SocketAddr::new(ip, client), SocketAddr::new(ip, peer)), &[]).wait_until_healthy();
    }

    /// Adds a member of this machine that learns and has no vote yet, and waits until it answers.
    pub fn add_learner(&mut self) {
        let ports = [Port::new(), Port::new()];
        let [client, peer] = ports.each_ref().map(Port::address);
        self.ports.extend(ports);
        self.join(&Host::local(), (client, peer), &["--learner"]);
        wait_for("a learner to answer", || TcpStream::connect(client).ok());
    }

    /// Promotes the last member, which has learnt.
    pub fn promote(&mut self) {
        let id = self.id_of(self.members.len() - 1);
        wait_for("a learner to be promoted", || {
            self.try_etcdctl(&["member", "promote", &id]).status.success().then_some(())
        });
    }

    fn join(&mut self, host: &Host, addresses: (SocketAddr, SocketAddr), options: &[&str]) -> &mut Member {
        let at = self.members.len();
        // etcd changes its members only when all have been connected for a while.
        let words = ["member", "add", &format!("m{at}"), &format!("--peer-urls=http://{}", addresses.1)];
        let words = [&words, options].concat();
        wait_for("etcd to take another member", || self.try_etcdctl(&words).status.success().then_some(()));
        let all = self.members.iter().map(|member| format!("{}=http://{}", member.name, member.peer));
        let all: Vec<String> = all.chain([format!("m{at}=http://{}", addresses.1)]).collect();
        let mut member = Member::new(
            at,
            host,
            addresses,
            self.directory.path(),
            [&all.join(","), "existing"],
            &["--enable-v2=true"],
        );
        member.launch();
        self.members.push(member);
        self.members.last_mut().expect("it was added")
    }

    fn id_of(&self, at: usize) -> String {
        // One that has just been added has no name yet.
        let listed = self.etcdctl(&["member", "list"]);
        let peer = format!("http://{}", self.members[at].peer);
        let line = listed.lines().find(|line| line.contains(&peer)).expect("it is a member");
        line.split(',').next().expect("its id").to_string()
    }

    /// Removes a member from the cluster for good: it ends by itself. Those after it move up.
    pub fn remove(&mut self, at: usize) {
        let id = self.id_of(at);
        let words = ["member", "remove", &id];
        // An answer may be lost, since the member that gives it ends.
        let is_gone = || {
            let listed = self.try_etcdctl(&["member", "list"]);
            listed.status.success() && !String::from_utf8_lossy(&listed.stdout).contains(&id)
        };
        let removes = || self.try_etcdctl(&words).status.success() || is_gone();
        wait_for("etcd to do without a member", || removes().then_some(()));
        let process = &mut self.members[at].process;
        wait_for("the member to end", || process.as_mut().expect("it runs").try_wait().expect("wait"));
        self.members.remove(at);
    }

    /// Where the members listen for clients.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(Member::url).collect()
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The processes of those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(Member::pid).collect()
    }

    /// One of the members, counted from 0.
    pub fn member(&mut self, at: usize) -> &mut Member {
        &mut self.members[at]
    }

    /// Where one of the members listens for clients.
    pub fn client_address(&self, at: usize) -> SocketAddr {
        self.members[at].client_address()
    }

    /// Waits until there are so many keys under this prefix.
    pub fn wait_for_members(&self, prefix: &str, count: usize) {
        wait_for(&format!("{count} keys under {prefix}"), || {
            let keys = self.etcdctl(&["get", "--prefix", prefix, "--keys-only"]);
            (keys.lines().filter(|line| !line.is_empty()).count() == count).then_some(())
        });
    }

    /// A directory that is gone with the cluster.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills all members, takes their data and starts them again: the same cluster id, and an empty store.
    pub fn wipe(&mut self) {
        for member in &mut self.members {
            member.kill();
            member.wipe();
        }
        self.start();
    }

    /// Starts every member that does not run, and waits until all are healthy.
    pub fn start(&mut self) {
        for member in &mut self.members {
            if member.process.is_none() {
                member.launch();
            }
        }
        for member in &mut self.members {
            member.wait_until_healthy();
        }
    }

    /// Which member is the raft leader; waits until those that answer agree on one of them.
    pub fn raft_leader(&self) -> usize {
        wait_for("a raft leader", || {
            self.members.iter().position(|member| {
                let Some(status) = member.status() else { return false };
                let (leader, own) = (&status["Status"]["leader"], &status["Status"]["header"]["member_id"]);
                leader.is_u64() && leader == own
            })
        })
    }

    /// Watches raft through all members but this one, which is about to break.
    pub fn watch_raft_without(&self, at: usize) -> raft::Watch {
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != at);
        raft::Watch::over(&others.map(|(_, member)| member.client).collect::<Vec<_>>())
    }

    /// What etcdctl says to this; the members are named. Panics if it fails.
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let mut output = self.try_etcdctl(arguments);
        // It gives up after five seconds, and etcd after seven, which a busy machine may need more than once where a password is
        // long to check: a read may be asked for again, and so may what can be there only once.
        for _ in 0..10 {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() || !(arguments.first() == Some(&"get") || said.contains("request timed out")) {
                break;
            }
            output = self.try_etcdctl(arguments);
            if String::from_utf8_lossy(&output.stderr).contains("already exists") {
                return String::new();
            }
        }
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "etcdctl {arguments:?}: {}\n{said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// As [`Cluster::etcdctl`], also if it fails.
    pub fn try_etcdctl(&self, arguments: &[&str]) -> Output {
        etcdctl(&self.urls().join(","), arguments)
    }

    /// The store's revision.
    pub fn revision(&self) -> u64 {
        let said = self.etcdctl(&["get", "no such key", "--write-out=json"]);
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        said["header"]["revision"].as_u64().expect("a revision")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for member in &self.members {
                eprintln!("---- log of etcd {} ({}):\n{}", member.name, member.client, tail(&member.log_text()));
            }
        }
    }
}
