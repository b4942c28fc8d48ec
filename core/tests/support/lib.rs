//! What tests against a real etcd need: members, a proxy that breaks connections, and networks that can be cut.
//!
//! Everything blocks; what runs on a runtime of the test's own stands still meanwhile.

#![allow(missing_docs, clippy::new_without_default, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub mod busy;
pub mod children;
pub mod etcd;
pub mod forwarder;
pub mod gateway;
pub mod member;
pub mod memory;
pub mod name_server;
pub mod netns;
pub mod port;
pub mod proxy;
pub mod raft;
pub mod slow_disk;
pub mod spawn;
pub mod v2;

pub use busy::Waits;
pub use etcd::Cluster;
pub use member::Member;
pub use port::Port;
pub use proxy::Proxy;
pub use slow_disk::SlowDisk;

/// How long anything may take on a busy machine before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `what` gives something.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_with(Duration::from_millis(20), what, probe)
}

/// The same, with this pause between two looks: for those that cost more than a moment of the processor.
pub fn wait_with<T>(pause: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        thread::sleep(pause);
    }
}

/// The processor time that a process has used, in milliseconds.
pub fn cpu_ms(pid: impl std::fmt::Display) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("ticks")).sum();
    ticks * 10
}

/// SIGSTOP, and the certainty that each thread stands still: until then a request that was sent before may be answered.
pub fn freeze(process: Pid) {
    kill(process, Signal::SIGSTOP).expect("it runs");
    wait_for("it to stand still", || {
        let is_still = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            Some(stat.rsplit(')').next()?.trim_start().starts_with('T'))
        };
        std::fs::read_dir(format!("/proc/{process}/task")).ok()?.all(|task| is_still(task) == Some(true)).then_some(())
    });
}

/// What a session with these endpoints is made of, at the default ttl.
pub fn session(urls: &[String]) -> etcd_leader::config::SessionSettings {
    let config = etcd_leader::Config {
        endpoints: urls.to_vec(),
        key: "k".into(),
        name: "n".into(),
        ..etcd_leader::Config::default()
    };
    config.validate().expect("good URLs").session
}

/// The etcd server to test against.
pub fn etcd_binary() -> PathBuf {
    find("etcd", "ETCD_BIN")
}

/// The version of that server, such as 3.4.23.
pub fn etcd_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let output = Command::new(etcd_binary()).arg("--version").output().expect("etcd tells its version");
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        output.lines().find_map(|line| line.strip_prefix("etcd Version: ")).expect("a version").to_string()
    })
}

/// True if that server has API v2. etcd 3.6 removed it, and ends at once if it is started with `--enable-v2`.
pub fn has_v2() -> bool {
    let numbers: Vec<u32> = etcd_version().split('.').map_while(|number| number.parse().ok()).collect();
    numbers < vec![3, 6]
}

/// The client that belongs to it.
pub fn etcdctl_binary() -> PathBuf {
    find("etcdctl", "ETCDCTL_BIN")
}

fn find(name: &str, variable: &str) -> PathBuf {
    if let Some(given) = env::var_os(variable).filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        assert!(given.is_file(), "{variable} is {}, and there is no such file", given.display());
        return given;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.cache/etcd/usr/bin");
    env::split_paths(&path)
        .chain([cached])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("no {name} found: set {variable} to one, put one on PATH, or run `make etcd`"))
}
