//! Counters of an etcd, and of this machine's loopback device.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use support::Cluster;

/// Counted since etcd, or the machine, has started.
pub(super) struct Counts {
    /// v3: requests with one answer.
    pub(super) requests: f64,
    /// v3: messages of streams (renewals, watches).
    pub(super) messages: f64,
    /// Entries of raft's log.
    pub(super) commits: f64,
    /// With all headers, of whatever used the device.
    pub(super) loopback_kib: f64,
}

impl Counts {
    pub(super) fn of(cluster: &Cluster) -> Counts {
        let mut stream = TcpStream::connect(cluster.client_address(0)).expect("etcd");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("metrics");
        let sum = |name: &str, wanted: &dyn Fn(&str) -> bool| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            let counted = lines.filter_map(|line| line.rsplit_once(' ')).filter(|(name, _)| wanted(name));
            counted.map(|(_, number)| number.parse::<f64>().expect("a number")).sum()
        };
        let received = "grpc_server_msg_received_total";
        Counts {
            requests: sum(received, &|name| name.contains("\"unary\"")),
            messages: sum(received, &|name| !name.contains("\"unary\"")),
            commits: sum("etcd_server_proposals_committed_total", &|_| true),
            loopback_kib: loopback_bytes() / 1024.0,
        }
    }

    /// For each of so many rounds since then.
    pub(super) fn since(self, before: &Counts, rounds: f64) -> Counts {
        Counts {
            requests: (self.requests - before.requests) / rounds,
            messages: (self.messages - before.messages) / rounds,
            commits: (self.commits - before.commits) / rounds,
            loopback_kib: (self.loopback_kib - before.loopback_kib) / rounds,
        }
    }
}

fn loopback_bytes() -> f64 {
    let devices = fs::read_to_string("/proc/net/dev").expect("/proc");
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).expect("a loopback device");
    line.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number")
}
