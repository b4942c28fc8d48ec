//! Real etcd members: started, killed, frozen, wiped, and gone with the test.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;
use std::{io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{etcd_binary, etcdctl_binary, spawn::spawn, wait_for};

/// Lines of a member's log that are shown when a test fails.
const LOG_LINES: usize = 40;
/// Between choosing a free port and etcd's binding it, somebody else may take it.
const PORT_TRIES: usize = 5;

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
    directory: TempDir,
}

/// One etcd member.
pub struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    enter: Vec<String>,
    arguments: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    process: Option<Child>,
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

    /// So many members with these flags beside the usual ones, healthy.
    pub fn of(members: usize, flags: &[&str]) -> Cluster {
        Cluster::on(&vec![Host::local(); members], flags)
    }

    /// One member on each of these hosts, healthy.
    pub fn on(hosts: &[Host], flags: &[&str]) -> Cluster {
        for _ in 0..PORT_TRIES {
            let mut cluster = Cluster::prepare(hosts, flags);
            for member in &mut cluster.members {
                member.launch();
            }
            if cluster.comes_up() {
                return cluster;
            }
        }
        panic!("no etcd started in {PORT_TRIES} tries: every time its ports were taken");
    }

    /// False if a port was taken meanwhile.
    fn comes_up(&mut self) -> bool {
        for at in 0..self.members.len() {
            let healthy = wait_for(&format!("{} to be healthy", self.members[at].name), || {
                let member = &mut self.members[at];
                if member.is_healthy() {
                    return Some(true);
                }
                let ended = member.process.as_mut().and_then(|process| process.try_wait().expect("wait"))?;
                let log = member.log_text();
                assert!(log.contains("address already in use"), "etcd ended ({ended}):\n{}", tail(&log));
                Some(false)
            });
            if !healthy {
                return false;
            }
        }
        true
    }

    fn prepare(hosts: &[Host], flags: &[&str]) -> Cluster {
        let directory = temporary_directory();
        // Held together, so that no port is chosen twice.
        let mut held = Vec::new();
        let mut free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            held.push(listener);
            port
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
        let members = hosts.iter().zip(addresses).enumerate().map(|(at, (host, (client, peer)))| {
            let name = format!("m{at}");
            let mut arguments: Vec<String> = [
                ("name", name.clone()),
                ("data-dir", directory.path().join(&name).display().to_string()),
                ("listen-client-urls", format!("http://{client}")),
                ("advertise-client-urls", format!("http://{client}")),
                ("listen-peer-urls", format!("http://{peer}")),
                ("initial-advertise-peer-urls", format!("http://{peer}")),
                ("initial-cluster", all.join(",")),
                ("initial-cluster-state", "new".into()),
            ]
            .into_iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect();
            arguments.extend(flags.iter().map(|flag| flag.to_string()));
            Member {
                data: directory.path().join(&name),
                log: directory.path().join(format!("{name}.log")),
                name,
                client,
                peer,
                enter: host.enter.clone(),
                arguments,
                process: None,
            }
        });
        Cluster { members: members.collect(), directory }
    }

    /// Where the members listen for clients.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(Member::url).collect()
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// One of the members, counted from 0.
    pub fn member(&mut self, at: usize) -> &mut Member {
        &mut self.members[at]
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

    /// What etcdctl says to this; the members are named. Panics if it fails.
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let output = self.try_etcdctl(arguments);
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

impl Member {
    /// Where it listens for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Where it listens for clients.
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Where it listens for the other members.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Starts it with the data it has, and waits until it is healthy.
    pub fn start(&mut self) {
        self.launch();
        self.wait_until_healthy();
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut words = self.enter.clone();
        words.push(etcd_binary().display().to_string());
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        let log = || File::options().append(true).create(true).open(&self.log).expect("open the log");
        command.args(&words[1..]).stdin(std::process::Stdio::null()).stdout(log()).stderr(log());
        // Variables that begin with ETCD are flags to etcd.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
            command.env_remove(name);
        }
        self.process = Some(spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", words[0])));
    }

    /// Kills it (-9), and waits until it is dead.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill");
            process.wait().expect("wait");
        }
    }

    /// Takes away the data of a member that does not run. One of several cannot start again without it.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        match fs::remove_dir_all(&self.data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", self.data.display()),
            _ => {}
        }
    }

    /// Stops it where it is (SIGSTOP): it answers nothing, and its connections stay.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Member::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().unwrap_or_else(|| panic!("{} does not run", self.name));
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("signal");
    }

    /// Waits until it serves linearizable reads.
    pub fn wait_until_healthy(&mut self) {
        wait_for(&format!("{} to be healthy", self.name), || {
            if let Some(ended) = self.process.as_mut().and_then(|process| process.try_wait().expect("wait")) {
                panic!("etcd {} ended ({ended}):\n{}", self.name, tail(&self.log_text()));
            }
            self.is_healthy().then_some(())
        });
    }

    /// Whether it serves linearizable reads: etcd's /health makes one.
    pub fn is_healthy(&self) -> bool {
        let ask = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.client, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.client)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    fn status(&self) -> Option<serde_json::Value> {
        let output = etcdctl(&self.url(), &["endpoint", "status", "--write-out=json", "--command-timeout=1s"]);
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        said.get(0).cloned()
    }

    /// What it wrote into its log since it was made.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn etcdctl(endpoints: &str, arguments: &[&str]) -> Output {
    let binary = etcdctl_binary();
    let mut command = Command::new(&binary);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoints}")).args(arguments);
    command.output().unwrap_or_else(|error| panic!("cannot run {}: {error}", binary.display()))
}

/// In memory where that is to be had: etcd waits for the disk at every step.
fn temporary_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut names = tempfile::Builder::new();
    names.prefix("etcd-leader-");
    if memory.is_dir() { names.tempdir_in(memory) } else { names.tempdir() }.expect("a temporary directory")
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
