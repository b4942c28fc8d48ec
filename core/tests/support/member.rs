//! One etcd member: started, killed, frozen, wiped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::etcd::Host;
use super::slow_disk::SlowDisk;
use super::{etcd_binary, etcdctl_binary, freeze, has_v2, spawn::spawn, wait_for};

/// Lines of a member's log that are shown when a test fails.
const LOG_LINES: usize = 40;

/// One etcd member.
pub struct Member {
    pub(super) name: String,
    pub(super) client: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) enter: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) disk: Option<Arc<SlowDisk>>,
    pub(super) process: Option<Child>,
}

impl Member {
    /// The member of this number, not started; in `directory` it keeps its data and its log. `cluster` are all members as
    /// etcd wants them, and whether the cluster is `new` or `existing`.
    pub(super) fn new(
        number: usize,
        host: &Host,
        (client, peer): (SocketAddr, SocketAddr),
        directory: &Path,
        cluster: [&str; 2],
        flags: &[&str],
    ) -> Member {
        let name = format!("m{number}");
        let data = directory.join(&name);
        let mut arguments: Vec<String> = [
            ("name", name.clone()),
            ("data-dir", data.display().to_string()),
            ("listen-client-urls", format!("http://{client}")),
            ("advertise-client-urls", format!("http://{client}")),
            ("listen-peer-urls", format!("http://{peer}")),
            ("initial-advertise-peer-urls", format!("http://{peer}")),
            ("initial-cluster", cluster[0].into()),
            ("initial-cluster-state", cluster[1].into()),
        ]
        .into_iter()
        .map(|(flag, value)| format!("--{flag}={value}"))
        .collect();
        let is_known = |flag: &&&str| has_v2() || !flag.starts_with("--enable-v2=");
        arguments.extend(flags.iter().filter(is_known).map(|flag| flag.to_string()));
        let log = directory.join(format!("{name}.log"));
        Member { name, client, peer, enter: host.enter.clone(), arguments, data, log, disk: None, process: None }
    }

    /// Where it keeps its data.
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

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
        command.args(&words[1..]).stdin(Stdio::null()).stdout(log()).stderr(log());
        // Variables that begin with ETCD are flags to etcd.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
            command.env_remove(name);
        }
        if let Some(disk) = &self.disk {
            disk.under(&mut command);
        }
        self.process = Some(spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", words[0])));
        if let Some(disk) = &self.disk {
            disk.serve(self.pid().expect("it was started"));
        }
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
        freeze(self.running());
    }

    /// Lets it go on after [`Member::freeze`].
    pub fn thaw(&self) {
        kill(self.running(), Signal::SIGCONT).expect("signal");
    }

    fn running(&self) -> Pid {
        Pid::from_raw(self.pid().unwrap_or_else(|| panic!("{} does not run", self.name)).cast_signed())
    }

    /// Waits until it serves linearizable reads.
    pub fn wait_until_healthy(&mut self) {
        self.wait_until_healthy_at(self.client);
    }

    /// Waits until it says so at this address of its.
    pub(super) fn wait_until_healthy_at(&mut self, address: SocketAddr) {
        wait_for(&format!("{} to be healthy", self.name), || {
            if let Some(ended) = self.process.as_mut().and_then(|process| process.try_wait().expect("wait")) {
                panic!("etcd {} ended ({ended}):\n{}", self.name, tail(&self.log_text()));
            }
            is_healthy(address).then_some(())
        });
    }

    /// Whether it serves linearizable reads.
    pub fn is_healthy(&self) -> bool {
        is_healthy(self.client)
    }

    pub(super) fn status(&self) -> Option<serde_json::Value> {
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

/// Whether the member that listens here serves linearizable reads: etcd's /health makes one.
pub(super) fn is_healthy(client: SocketAddr) -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&client, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /health HTTP/1.1\r\nHost: {client}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(r#""health":"true""#))
}

/// Runs etcdctl.
pub(super) fn etcdctl(endpoints: &str, arguments: &[&str]) -> Output {
    let binary = etcdctl_binary();
    let mut command = Command::new(&binary);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={endpoints}")).args(arguments);
    command.output().unwrap_or_else(|error| panic!("cannot run {}: {error}", binary.display()))
}

/// The end of a log.
pub(super) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
