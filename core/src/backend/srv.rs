//! The servers that the DNS lists for a service (SRV records, RFC 2782). The system has no call for them that every C library
//! offers, so the name servers of /etc/resolv.conf are asked here.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::said::brief;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;
/// No more servers than this are taken of an answer: nobody has an etcd of more.
const MAX_TARGETS: usize = 16;
/// An answer over UDP has at most 512 bytes (RFC 1035); one that is longer is asked for over TCP.
const MAX_UDP_BYTES: usize = 512;

/// A server that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    priority: u16,
    weight: u16,
}

/// The name servers, and how patient to be with each.
pub(super) struct NameServers {
    addresses: Vec<SocketAddr>,
    timeout: Duration,
    attempts: u32,
}

impl NameServers {
    /// Those of the system. Blocks.
    pub(super) fn read() -> Result<NameServers, String> {
        let text = match std::fs::read(RESOLV_CONF) {
            Ok(text) => text,
            // As the C library has it: then a name server of this machine is asked.
            Err(error) if error.kind() == io::ErrorKind::NotFound && cfg!(unix) => Vec::new(),
            Err(error) => return Err(format!("{RESOLV_CONF} cannot be read ({error}); list the endpoints themselves")),
        };
        // The C library passes over lines that it cannot understand, and so do we.
        let (mut conf, _) = resolv_conf::Config::parse_with_errors(&text);
        conf.glibc_normalize();
        let servers = conf.get_nameservers_or_local();
        let address =
            |server: &resolv_conf::ScopedIp| (server.to_string().as_str(), DNS_PORT).to_socket_addrs().ok()?.next();
        Ok(NameServers {
            addresses: servers.iter().filter_map(address).collect(),
            timeout: Duration::from_secs(conf.timeout.max(1).into()),
            attempts: conf.attempts.max(1),
        })
    }

    /// The servers that the records of this name list, in the order in which to try them; at least one.
    pub(super) async fn targets(&self, records: &str) -> Result<Vec<Target>, String> {
        let mut trouble = "there is no name server".to_string();
        for _ in 0..self.attempts {
            for server in &self.addresses {
                match self.ask(*server, records).await {
                    Ok(Answer::Targets(found)) => return Ok(in_order(found)),
                    Ok(Answer::Nothing(why)) => return Err(why),
                    Err(why) => trouble = format!("name server {}: {why}", server.ip()),
                }
            }
        }
        Err(trouble)
    }

    async fn ask(&self, server: SocketAddr, records: &str) -> Result<Answer, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let id = crate::random::number().unwrap_or(0) as u16;
        let query = query(id, records).map_err(|error| words(&error))?;
        let silent = |_| format!("no answer within {} ms", self.timeout.as_millis());
        let reply = timeout(self.timeout, over_udp(server, &query, id)).await;
        let mut reply = reply.map_err(silent)?.map_err(|error| words(&error))?;
        if Packet::parse(&reply).map_or(true, |packet| packet.has_flags(PacketFlag::TRUNCATION)) {
            let whole = timeout(self.timeout, over_tcp(server, &query)).await;
            reply = whole.map_err(silent)?.map_err(|error| words(&error))?;
        }
        read(&reply, id, records)
    }
}

enum Answer {
    Targets(Vec<Target>),
    /// The DNS knows that there are none.
    Nothing(String),
}

fn query(id: u16, records: &str) -> Result<Vec<u8>, simple_dns::SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(records)?, TYPE::SRV.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

/// The first datagram from this server that answers this query.
async fn over_udp(server: SocketAddr, query: &[u8], id: u16) -> io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut reply = [0; MAX_UDP_BYTES];
    loop {
        let length = socket.recv(&mut reply).await?;
        if reply[..length].starts_with(&id.to_be_bytes()) {
            return Ok(reply[..length].to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

/// Reads an answer. An error is no answer: another server may have one.
fn read(reply: &[u8], id: u16, records: &str) -> Result<Answer, String> {
    let packet = Packet::parse(reply).map_err(|error| format!("it cannot be understood: {error}"))?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return Err("it answers another question".into());
    }
    let nothing = |why: &str| Ok(Answer::Nothing(format!("{why} {records}")));
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return nothing("the DNS knows no"),
        other => return Err(format!("it says {other:?}")),
    }
    let target = |record: &simple_dns::ResourceRecord<'_>| match &record.rdata {
        RData::SRV(srv) => {
            let (host, port) = (srv.target.to_string(), srv.port);
            Some(Target { host, port, priority: srv.priority, weight: srv.weight })
        }
        _ => None,
    };
    let found: Vec<Target> = packet.answers.iter().filter_map(target).collect();
    if found.is_empty() {
        return nothing("the DNS has no SRV records of");
    }
    // The root stands for: this service is not offered (RFC 2782).
    let found: Vec<Target> = found.into_iter().filter(|one| !one.host.trim_matches('.').is_empty()).collect();
    if found.is_empty() {
        return nothing("the DNS says that there is no");
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match found.iter().find(|one| !one.host.bytes().all(is_letter)) {
        Some(one) => Err(format!("it lists {}, which is no name of a host", brief(&one.host))),
        None => Ok(Answer::Targets(found)),
    }
}

/// The lowest priority first; of the same one each comes first as often as its weight says (RFC 2782).
fn in_order(mut found: Vec<Target>) -> Vec<Target> {
    found.sort_by_key(|one| (one.priority, one.weight != 0));
    let mut ordered = Vec::new();
    while !found.is_empty() && ordered.len() < MAX_TARGETS {
        let peers = || found.iter().take_while(|one| one.priority == found[0].priority);
        let sum: u64 = peers().map(|one| u64::from(one.weight)).sum();
        let lot = crate::random::number().unwrap_or(0) % (sum + 1);
        let mut passed = 0;
        let drawn = peers().position(|one| {
            passed += u64::from(one.weight);
            passed >= lot
        });
        ordered.push(found.remove(drawn.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests;
