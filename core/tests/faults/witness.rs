//! Records when each member of etcd tells that an entry is gone. Two candidates may lead while one member has deleted an entry
//! and another has not heard of it.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::thread;

use serde_json::{Value, json};

use super::timeline::Timeline;
use support::Cluster;

/// The entries of [`super::stage::KEY`], from `/faults/election/` to `/faults/election0`, as etcd's JSON has bytes.
const ENTRIES: [&str; 2] = ["L2ZhdWx0cy9lbGVjdGlvbi8=", "L2ZhdWx0cy9lbGVjdGlvbjA="];

/// Watches the entries on each member, for as long as the member keeps the connection.
pub(crate) fn watch(cluster: &Cluster, timeline: &Arc<Timeline>) {
    for member in 0..cluster.size() {
        let (address, timeline) = (cluster.client_address(member), Arc::downgrade(timeline));
        thread::spawn(move || listen(member, address, &timeline));
    }
}

fn listen(member: usize, address: SocketAddr, timeline: &Weak<Timeline>) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    let question =
        json!({ "create_request": { "key": ENTRIES[0], "range_end": ENTRIES[1], "prev_kv": true } }).to_string();
    let length = question.len();
    write!(&stream, "POST /v3/watch HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{question}")?;
    for line in BufReader::new(stream).lines() {
        let said: Value = serde_json::from_str(&line?).unwrap_or_default();
        let Some(timeline) = timeline.upgrade() else { break };
        for event in said["result"]["events"].as_array().into_iter().flatten().filter(|one| one["type"] == "DELETE") {
            let token = event["prev_kv"]["create_revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            timeline.gone(member, token);
        }
    }
    Ok(())
}
