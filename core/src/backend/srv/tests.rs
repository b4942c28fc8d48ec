//! A name server of the test's own, on a port that the system gives.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, SRV};
use tokio::net::TcpListener;

use super::*;

const RECORDS: &str = "_etcd-client._tcp.example.test";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

fn record(priority: u16, weight: u16, port: u16, host: &'static str) -> ResourceRecord<'static> {
    let target = Name::new_unchecked(host);
    ResourceRecord::new(Name::new_unchecked(RECORDS), CLASS::IN, 60, RData::SRV(SRV { priority, weight, port, target }))
}

/// An answer to this query.
fn answer(query: &[u8], code: RCODE, records: &[ResourceRecord<'static>]) -> Vec<u8> {
    let query = Packet::parse(query).expect("a query");
    assert!(query.has_flags(PacketFlag::RECURSION_DESIRED), "the name server is to ask others");
    assert_eq!(query.questions[0].qname.to_string(), RECORDS);
    let mut reply = query.into_reply();
    *reply.rcode_mut() = code;
    reply.answers = records.to_vec();
    reply.build_bytes_vec_compressed().expect("an answer")
}

/// A name server that says this of each query, each in a datagram of its own.
async fn server(says: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let address = socket.local_addr().expect("its address");
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            for reply in says(&query[..length]) {
                let _ = socket.send_to(&reply, from).await;
            }
        }
    });
    address
}

async fn ask(addresses: &[SocketAddr]) -> Result<Vec<Target>, String> {
    let patience = Duration::from_secs(60);
    NameServers { addresses: addresses.to_vec(), timeout: patience, attempts: 1 }.targets(RECORDS).await
}

fn words(found: &[Target]) -> Vec<String> {
    found.iter().map(|one| format!("{}:{}", one.host, one.port)).collect()
}

#[test]
fn servers_come_in_the_order_of_their_priorities() {
    block_on(async {
        let records = [record(2, 0, 2379, "c.test"), record(1, 0, 4001, "a.test"), record(3, 9, 1, "d.test")];
        let other = ResourceRecord::new(Name::new_unchecked("a.test"), CLASS::IN, 60, RData::A(A { address: 1 }));
        let records = [&records[..], &[other]].concat();
        let at = server(move |query| vec![answer(query, RCODE::NoError, &records)]).await;
        assert_eq!(words(&ask(&[at]).await.expect("servers")), ["a.test:4001", "c.test:2379", "d.test:1"]);
    });
}

#[test]
fn of_one_priority_each_is_first_some_time_and_the_heavier_more_often() {
    let target = |host: &str, weight| Target { host: host.into(), port: 1, priority: 0, weight };
    let all = vec![target("none", 0), target("light", 1), target("heavy", 60_000)];
    let firsts: Vec<String> = (0..2_000).map(|_| in_order(all.clone()).remove(0).host).collect();
    let of = |host| firsts.iter().filter(|first| *first == host).count();
    assert!(of("heavy") > 1_900, "{}", of("heavy"));
    let without: BTreeSet<String> =
        (0..2_000).map(|_| in_order(vec![target("a", 1), target("b", 1)]).remove(0).host).collect();
    assert_eq!(without.len(), 2);
    assert!(in_order(all.clone()).iter().all(|one| all.contains(one)) && in_order(all).len() == 3);
}

#[test]
fn an_answer_that_is_no_answer_is_passed_over() {
    block_on(async {
        let good = |query: &[u8]| answer(query, RCODE::NoError, &[record(0, 0, 1, "a.test")]);
        let mut strange = Vec::new();
        for spoil in [|reply: &mut Vec<u8>| reply[0] ^= 1, |reply: &mut Vec<u8>| reply.truncate(1)] {
            strange.push(move |query: &[u8]| {
                let mut reply = good(query);
                spoil(&mut reply);
                reply
            });
        }
        let at = server(move |query| strange.iter().map(|spoilt| spoilt(query)).chain([good(query)]).collect()).await;
        assert_eq!(words(&ask(&[at]).await.expect("the third datagram")), ["a.test:1"]);
    });
}

#[test]
fn one_that_fails_is_followed_by_the_next() {
    block_on(async {
        let fails = server(|query| vec![answer(query, RCODE::ServerFailure, &[])]).await;
        let garbage = server(|query| vec![[&query[..2], &[0xff; 30]].concat()]).await;
        let good = server(|query| vec![answer(query, RCODE::NoError, &[record(0, 0, 1, "a.test")])]).await;
        // Nobody listens there.
        let nobody =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.and_then(|socket| socket.local_addr()).expect("one");
        assert_eq!(words(&ask(&[fails, garbage, nobody, good]).await.expect("of the last")), ["a.test:1"]);
        let trouble = ask(&[nobody, fails]).await.expect_err("none of them knows");
        assert!(trouble.contains("127.0.0.1") && trouble.contains("ServerFailure"), "{trouble}");
    });
}

#[test]
fn what_the_dns_knows_not_to_be_is_asked_once() {
    block_on(async {
        let never = server(|_| panic!("the first has said it")).await;
        for (code, records, words) in [
            (RCODE::NameError, vec![], "the DNS knows no"),
            (RCODE::NoError, vec![], "has no SRV records"),
            (RCODE::NoError, vec![record(0, 0, 0, ".")], "says that there is no"),
        ] {
            let at = server(move |query| vec![answer(query, code, &records)]).await;
            let said = ask(&[at, never]).await.expect_err("no servers");
            assert!(said.contains(words) && said.ends_with(RECORDS), "{said}");
        }
    });
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(noise in vec(any::<u8>(), 0..600), at in any::<Index>()) {
        let _ = read(&noise, 7, RECORDS);
        // And what is nearly an answer.
        let mut reply = answer(&query(7, RECORDS).expect("a query"), RCODE::NoError, &[record(0, 0, 1, "a.test")]);
        let at = at.index(reply.len());
        reply.splice(at.., noise);
        let _ = read(&reply, 7, RECORDS);
    }
}

#[test]
fn a_host_that_is_no_name_is_not_taken() {
    let reply = |host| answer(&query(7, RECORDS).expect("a query"), RCODE::NoError, &[record(0, 0, 1, host)]);
    assert!(read(&reply("a b.test"), 7, RECORDS).is_err_and(|why| why.contains("no name of a host")));
    assert!(read(&reply("a_b-1.test"), 7, RECORDS).is_ok());
}

#[test]
fn a_long_answer_comes_over_tcp() {
    block_on(async {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
            // The same port of UDP may be somebody's.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("its address")).await {
                break (tcp, udp);
            }
        };
        let at = tcp.local_addr().expect("its address");
        let names: Vec<&'static str> =
            (0..40).map(|at| &*Box::leak(format!("a-long-name-{at}.example.test").into_boxed_str())).collect();
        let records: Vec<_> = names.iter().map(|name| record(0, 0, 1, name)).collect();
        let serve = async {
            let mut query = [0; 512];
            let (length, from) = udp.recv_from(&mut query).await.expect("a query");
            let mut cut = Packet::parse(&query[..length]).expect("a query").into_reply();
            cut.set_flags(PacketFlag::TRUNCATION);
            udp.send_to(&cut.build_bytes_vec().expect("bytes"), from).await.expect("sent");
            let (mut stream, _) = tcp.accept().await.expect("a connection");
            let mut query = vec![0; stream.read_u16().await.expect("a length").into()];
            stream.read_exact(&mut query).await.expect("a query");
            let reply = answer(&query, RCODE::NoError, &records);
            assert!(reply.len() > MAX_UDP_BYTES);
            stream.write_u16(reply.len() as u16).await.expect("sent");
            stream.write_all(&reply).await.expect("sent");
        };
        let (found, ()) = tokio::join!(ask(std::slice::from_ref(&at)), serve);
        assert_eq!(found.expect("servers").len(), MAX_TARGETS);
    });
}
