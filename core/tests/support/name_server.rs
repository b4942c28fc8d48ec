//! A name server of the test's own, and a process that asks it.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, RCODE, ResourceRecord, TYPE};

/// Where the system's name servers listen.
const DNS_PORT: u16 = 53;

/// The host that each name server knows, at 127.0.0.1.
pub const HOST: &str = "etcd.example.test";

/// It knows of one service, and where its servers are: host and port.
type Listed = Arc<Mutex<Vec<(&'static str, u16)>>>;

pub struct NameServer {
    ip: Ipv4Addr,
    /// One that never answers.
    silent: (Ipv4Addr, UdpSocket),
    listed: Listed,
    serves: Option<JoinHandle<()>>,
}

impl NameServer {
    /// It knows SRV records of this name, none at first. It listens at an address of loopback's that is its own.
    pub fn of(records: &str) -> NameServer {
        let ((ip, socket), silent) = (free(), free());
        let (listed, records) = (Listed::default(), records.to_string());
        let known = listed.clone();
        let serves = std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query)
                && length > 0
            {
                let servers = known.lock().expect("the list").clone();
                if let Some(reply) = answer(&query[..length], &records, &servers) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        NameServer { ip, silent, listed, serves: Some(serves) }
    }

    /// From now on it lists these servers and no others.
    pub fn lists(&self, servers: &[(&'static str, u16)]) {
        *self.listed.lock().expect("the list") = servers.to_vec();
    }

    /// The command that starts a program so that it asks this name server. The directory gets a file.
    pub fn enter(&self, directory: &Path) -> [String; 6] {
        NameServer::asking(directory, &[self.ip])
    }

    /// The same for a program that asks one first that never answers.
    pub fn enter_behind_a_dead_one(&self, directory: &Path) -> [String; 6] {
        NameServer::asking(directory, &[self.silent.0, self.ip])
    }

    fn asking(directory: &Path, servers: &[Ipv4Addr]) -> [String; 6] {
        let conf = directory.join("resolv.conf");
        let lines: String = servers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
        std::fs::write(&conf, lines).expect("written");
        // A mount of its own shows the process this file.
        let script = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", conf.display());
        ["unshare", "--mount", "sh", "-c", &script, "sh"].map(String::from)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        let ends = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|own| own.send_to(&[], (self.ip, DNS_PORT)));
        if ends.is_ok() {
            let _ = self.serves.take().map(JoinHandle::join);
        }
    }
}

/// A socket where name servers listen, at an address of loopback's that is its own.
fn free() -> (Ipv4Addr, UdpSocket) {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let socket = (2..=254).find_map(|last| {
        let ip = Ipv4Addr::from([127, high, low, last]);
        Some((ip, UdpSocket::bind((ip, DNS_PORT)).ok()?))
    });
    socket.expect("port 53 of an address of loopback's; nothing may listen there for all of them")
}

fn answer(query: &[u8], records: &str, servers: &[(&'static str, u16)]) -> Option<Vec<u8>> {
    let mut reply = Packet::parse(query).ok()?.into_reply();
    let question = reply.questions.first()?;
    let (name, is_ipv4) = (question.qname.to_string(), question.qtype == TYPE::A.into());
    if name == HOST {
        let address = || RData::A(A { address: Ipv4Addr::LOCALHOST.to_bits() });
        let record = || ResourceRecord::new(Name::new_unchecked(HOST), CLASS::IN, 60, address());
        reply.answers.extend(is_ipv4.then(record));
    } else if name != records {
        *reply.rcode_mut() = RCODE::NameError;
    } else {
        reply.answers = servers.iter().map(|(host, port)| record(records, host, *port)).collect();
    }
    reply.build_bytes_vec_compressed().ok()
}

fn record<'a>(records: &'a str, host: &'static str, port: u16) -> ResourceRecord<'a> {
    let srv = SRV { priority: 0, weight: 0, port, target: Name::new_unchecked(host) };
    ResourceRecord::new(Name::new_unchecked(records), CLASS::IN, 60, RData::SRV(srv))
}
