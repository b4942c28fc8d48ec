//! The v3 backend on a real etcd, verb by verb, and on servers that are none.

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use etcd_leader::ErrorKind;
use etcd_leader::backend::Backend;
use etcd_leader::backend::v3::V3;
use etcd_leader::machine::{
    Answer, Change, Failure, Input, LinkId, Op, Reply, Request, RequestId, Seen, Stamp, WatchId, WatchNews, member_key,
};
use etcd_leader::member::{LeaseId, Member, Revision};
use support::{Cluster, Proxy, endpoints};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

const PREFIX: &[u8] = b"/jobs/nightly/";
const SOON: Duration = Duration::from_secs(20);

/// A backend, and what was heard of it and not yet asked for.
struct Bench {
    backend: V3,
    inbox: UnboundedReceiver<Input>,
    heard: VecDeque<Input>,
    last: u64,
}

impl Bench {
    fn on(urls: &[String]) -> Bench {
        let (inbox, heard) = unbounded_channel();
        let backend = V3::new(endpoints(urls), Duration::from_secs(2), inbox);
        Bench { backend, inbox: heard, heard: VecDeque::new(), last: 0 }
    }

    /// A backend with one link to this cluster's first member.
    async fn linked(cluster: &Cluster) -> (Bench, LinkId) {
        let mut bench = Bench::on(&cluster.urls());
        let link = bench.open(0).await.expect("a link").0;
        (bench, link)
    }

    fn fresh(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn send(&mut self, link: LinkId, op: Op) -> RequestId {
        let id = RequestId(self.fresh());
        self.backend.perform(Request { id, link, op });
        id
    }

    async fn open(&mut self, endpoint: usize) -> Result<(LinkId, Stamp), Failure> {
        let link = LinkId(self.fresh());
        let reply = self.ask(link, Op::Open { endpoint, key: PREFIX.into() }).await?;
        assert_eq!(reply.answer, Answer::Opened);
        Ok((link, reply.stamp))
    }

    async fn ask(&mut self, link: LinkId, op: Op) -> Result<Reply, Failure> {
        let asked = self.send(link, op);
        self.reply(asked).await
    }

    async fn answer(&mut self, link: LinkId, op: Op) -> Answer {
        self.ask(link, op).await.expect("an answer").answer
    }

    async fn reply(&mut self, asked: RequestId) -> Result<Reply, Failure> {
        self.hear(|input| match input {
            Input::Reply { id, result } if *id == asked => Some(result.clone()),
            _ => None,
        })
        .await
    }

    fn watch(&mut self, link: LinkId, from: &[u8], to: &[u8], start: Revision) -> WatchId {
        let watch = WatchId(self.fresh());
        self.send(link, Op::Watch { watch, from: from.into(), to: to.into(), start });
        watch
    }

    async fn news(&mut self, of: WatchId) -> WatchNews {
        self.hear(|input| match input {
            Input::Watch { watch, news, .. } if *watch == of => Some(news.clone()),
            _ => None,
        })
        .await
    }

    async fn changes(&mut self, of: WatchId) -> Vec<Change> {
        match self.news(of).await {
            WatchNews::Changes { changes } => changes,
            news => panic!("{news:?}"),
        }
    }

    async fn broken(&mut self, of: LinkId) -> Failure {
        self.hear(|input| match input {
            Input::Broken { link, failure } if *link == of => Some(failure.clone()),
            _ => None,
        })
        .await
    }

    async fn hear<T>(&mut self, wanted: impl Fn(&Input) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|input| wanted(input).is_some()) {
            let input = self.heard.remove(at).expect("it is there");
            return wanted(&input).expect("it was wanted");
        }
        loop {
            let input = timeout(SOON, self.inbox.recv()).await.expect("to hear of it soon").expect("the backend");
            match wanted(&input) {
                Some(found) => return found,
                None => self.heard.push_back(input),
            }
        }
    }

    /// All that was heard in a while and not asked for.
    async fn rest(&mut self, a_while: Duration) -> Vec<Input> {
        tokio::time::sleep(a_while).await;
        while let Ok(input) = self.inbox.try_recv() {
            self.heard.push_back(input);
        }
        self.heard.drain(..).collect()
    }

    async fn granted(&mut self, link: LinkId, lease: LeaseId) {
        assert_eq!(self.answer(link, Op::Grant { lease, ttl_s: 60 }).await, Answer::Granted { ttl_s: 60 });
    }

    async fn join(&mut self, link: LinkId, lease: LeaseId) -> (Reply, bool, Seen) {
        let op = Op::Join { prefix: PREFIX.into(), own: own(lease), name: name(lease), lease };
        let reply = self.ask(link, op).await.expect("joined");
        let Answer::Joined { created, seen } = reply.answer.clone() else { panic!("{reply:?}") };
        (reply, created, seen)
    }

    /// Grants the lease, joins, and gives the entry.
    async fn member(&mut self, link: LinkId, lease: LeaseId) -> Member {
        self.granted(link, lease).await;
        let (_, created, seen) = self.join(link, lease).await;
        assert!(created);
        seen.own.expect("our entry")
    }
}

fn own(lease: LeaseId) -> Vec<u8> {
    member_key(PREFIX, lease)
}

fn name(lease: LeaseId) -> Vec<u8> {
    format!("candidate {lease}").into_bytes()
}

fn after(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("text")
}

#[tokio::test]
async fn a_join_sees_itself_and_its_neighbours() {
    let cluster = Cluster::single();
    let mut bench = Bench::on(&cluster.urls());
    let (link, opened) = bench.open(0).await.expect("a link");
    assert!(opened.cluster != 0 && opened.revision >= 1 && opened.term >= 1, "{opened:?}");

    bench.granted(link, 0x10).await;
    let (reply, created, seen) = bench.join(link, 0x10).await;
    let ours = Member { key: own(0x10), name: name(0x10), revision: reply.stamp.revision, lease: 0x10 };
    assert!(created);
    assert_eq!(reply.stamp, Stamp { revision: opened.revision + 1, ..opened });
    assert_eq!(seen, Seen { own: Some(ours.clone()), latest: vec![ours.clone()], first: vec![ours.clone()] });

    let second = bench.member(link, 0x20).await;
    bench.granted(link, 0x05).await;
    let (_, _, seen) = bench.join(link, 0x05).await;
    let third = seen.own.clone().expect("our entry");
    assert_eq!(seen.latest, [third.clone(), second.clone()], "the highest rank first, whatever the keys");
    assert_eq!(seen.first, [ours.clone(), second.clone()]);

    let look = Op::Look { prefix: PREFIX.into(), own: own(0x20), up_to: second.revision };
    let expected = Seen { own: Some(second.clone()), latest: vec![second.clone(), ours.clone()], first: seen.first };
    assert_eq!(bench.answer(link, look).await, Answer::Looked(expected));
}

#[tokio::test]
async fn joining_again_changes_nothing_and_shows_what_is_there() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 7).await;
    let before = cluster.revision();
    let (_, created, seen) = bench.join(link, 7).await;
    assert!(!created);
    assert_eq!(seen, Seen { own: Some(ours), ..Seen::default() });
    assert_eq!(cluster.revision(), before);
}

#[tokio::test]
async fn members_of_one_revision_are_ranked_by_key() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let mut transaction = std::process::Command::new(support::etcdctl_binary());
    transaction.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", cluster.urls()[0])).arg("txn");
    let mut child = transaction
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("etcdctl");
    let puts = "\nput /jobs/nightly/b two\nput /jobs/nightly/a one\n\n\n";
    child.stdin.take().expect("its input").write_all(puts.as_bytes()).expect("written");
    assert!(child.wait().expect("its end").success());

    let up_to = cluster.revision();
    let look = |key: &str| Op::Look { prefix: PREFIX.into(), own: [PREFIX, key.as_bytes()].concat(), up_to };
    for (key, latest) in [("b", vec!["b", "a"]), ("a", vec!["a"])] {
        let Answer::Looked(seen) = bench.answer(link, look(key)).await else { panic!("not a look") };
        let last = |members: &[Member]| members.iter().map(|m| text(&m.key[PREFIX.len()..]).into()).collect::<Vec<String>>();
        assert_eq!((last(&seen.latest), last(&seen.first)), (latest.iter().map(|k| k.to_string()).collect(), vec!["a".into(), "b".into()]));
    }
}

#[tokio::test]
async fn a_leave_takes_only_what_its_revision_created() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 9).await;
    let leave = |revision| Op::Leave { key: own(9), revision };
    assert_eq!(bench.answer(link, leave(ours.revision - 1)).await, Answer::Left);
    assert_eq!(bench.join(link, 9).await.2.own, Some(ours.clone()), "another's revision takes nothing");
    assert_eq!(bench.answer(link, leave(ours.revision)).await, Answer::Left);
    assert_eq!(bench.answer(link, leave(ours.revision)).await, Answer::Left, "also if it is gone");
    assert!(bench.join(link, 9).await.1, "it was gone");
}

#[tokio::test]
async fn leases_are_granted_renewed_and_revoked() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    bench.granted(link, 77).await;
    let again = bench.ask(link, Op::Grant { lease: 77, ttl_s: 60 }).await.expect_err("it exists");
    assert_eq!(again.kind, ErrorKind::Server);
    assert!(again.detail.contains("lease already exists"), "{again:?}");

    let renewed = bench.ask(link, Op::Renew { lease: 77 }).await.expect("renewed");
    assert_eq!(renewed.answer, Answer::Renewed { ttl_s: 60 });
    assert!(renewed.stamp.term >= 1 && renewed.stamp.cluster != 0);
    let (known, unknown) = (bench.send(link, Op::Renew { lease: 77 }), bench.send(link, Op::Renew { lease: 78 }));
    assert_eq!(bench.reply(known).await.expect("renewed").answer, Answer::Renewed { ttl_s: 60 });
    let Answer::Renewed { ttl_s } = bench.reply(unknown).await.expect("an answer").answer else { panic!("not a renewal") };
    assert!(ttl_s <= 0, "a lease that does not exist has {ttl_s} s");

    let ours = bench.join(link, 77).await.2.own.expect("our entry");
    let confirmed = bench.answer(link, Op::Confirm { key: own(77), keys: vec![own(78), own(77)] }).await;
    assert_eq!(confirmed, Answer::Confirmed { found: vec![None, Some(ours)] });
    let confirmed = bench.answer(link, Op::Confirm { key: own(77), keys: vec![] }).await;
    assert_eq!(confirmed, Answer::Confirmed { found: vec![] });

    assert_eq!(bench.answer(link, Op::Revoke { lease: 77 }).await, Answer::Revoked);
    let gone = bench.ask(link, Op::Revoke { lease: 77 }).await.expect("also if there is none");
    assert_eq!((gone.answer, gone.stamp.cluster), (Answer::Revoked, renewed.stamp.cluster));
    assert!(gone.stamp.revision >= renewed.stamp.revision);
    let confirmed = bench.answer(link, Op::Confirm { key: own(77), keys: vec![own(77)] }).await;
    assert_eq!(confirmed, Answer::Confirmed { found: vec![None] });

    let op = Op::Join { prefix: PREFIX.into(), own: own(77), name: name(77), lease: 77 };
    let refused = bench.ask(link, op).await.expect_err("without its lease");
    assert_eq!(refused.kind, ErrorKind::LeaseLost, "{refused:?}");
}

#[tokio::test]
async fn a_hundred_keys_are_confirmed_at_once() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 1).await;
    let mut keys: Vec<_> = (1..=100).map(own).collect();
    keys.reverse();
    let Answer::Confirmed { found } = bench.answer(link, Op::Confirm { key: own(1), keys }).await else { panic!() };
    assert_eq!(found.len(), 100);
    assert_eq!(found[99], Some(ours));
    assert!(found[..99].iter().all(Option::is_none));
}

#[tokio::test]
async fn a_watch_tells_deletes_and_foreign_puts() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let before = bench.member(link, 0x10).await;
    let ours = bench.member(link, 0x20).await;
    let watch = bench.watch(link, &before.key, &after(&ours.key), ours.revision + 1);
    assert_eq!(bench.news(watch).await, WatchNews::Created { revision: ours.revision });

    cluster.etcdctl(&["put", text(&ours.key), "somebody else"]);
    let [change] = &bench.changes(watch).await[..] else { panic!("one change") };
    let overwritten = Member { name: b"somebody else".into(), lease: 0, ..ours.clone() };
    assert_eq!(*change, Change { at: ours.revision + 1, key: ours.key.clone(), now: Some(overwritten) });

    bench.answer(link, Op::Leave { key: before.key.clone(), revision: before.revision }).await;
    assert_eq!(bench.changes(watch).await, [Change { at: ours.revision + 2, key: before.key.clone(), now: None }]);

    bench.send(link, Op::Unwatch { watch });
    cluster.etcdctl(&["del", text(&ours.key)]);
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
}

#[tokio::test]
async fn one_revision_is_one_response() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let first = bench.member(link, 0x10).await;
    bench.member(link, 0x20).await;
    let last = bench.member(link, 0x30).await;
    let watch = bench.watch(link, &first.key, &after(&last.key), last.revision + 1);
    bench.news(watch).await;
    cluster.etcdctl(&["del", text(PREFIX), "--prefix"]);
    let changes = bench.changes(watch).await;
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| change.now.is_none() && change.at == last.revision + 1));
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_is_canceled() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 3).await;
    for value in ["a", "b", "c"] {
        cluster.etcdctl(&["put", "/other", value]);
    }
    cluster.etcdctl(&["compact", &(ours.revision + 2).to_string()]);
    let (lost, live) = (
        bench.watch(link, &ours.key, &after(&ours.key), ours.revision),
        bench.watch(link, &ours.key, &after(&ours.key), cluster.revision() + 1),
    );
    let canceled = loop {
        match bench.news(lost).await {
            WatchNews::Canceled { reason } => break reason,
            WatchNews::Created { .. } => {}
            news => panic!("{news:?}"),
        }
    };
    assert!(canceled.contains(&format!("revision {}", ours.revision + 2)), "{canceled}");
    assert!(matches!(bench.news(live).await, WatchNews::Created { .. }));
    cluster.etcdctl(&["del", text(&ours.key)]);
    assert_eq!(bench.changes(live).await.len(), 1);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, [], "and nothing broke");
}

#[tokio::test]
async fn a_watch_that_cannot_be_made_is_canceled_and_leaves_the_others() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let good = bench.watch(link, b"/a", b"/b", 2);
    let empty = bench.watch(link, b"/b", b"/a", 2);
    let other = bench.watch(link, b"/c", b"/d", 2);
    assert!(matches!(bench.news(good).await, WatchNews::Created { .. }));
    assert!(matches!(bench.news(empty).await, WatchNews::Canceled { .. }));
    assert!(matches!(bench.news(other).await, WatchNews::Created { .. }));
}

#[tokio::test]
async fn a_thousand_watches_share_one_stream_and_one_connection() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(endpoint_address(&cluster));
    let mut bench = Bench::on(&[proxy.url()]);
    let (link, stamp) = bench.open(0).await.expect("a link");
    let key = |at: usize| format!("/many/{at:04}").into_bytes();
    let watches: BTreeMap<WatchId, usize> =
        (0..1000).map(|at| (bench.watch(link, &key(at), &after(&key(at)), stamp.revision + 1), at)).collect();
    for watch in watches.keys() {
        assert!(matches!(bench.news(*watch).await, WatchNews::Created { .. }));
    }
    for at in [0, 421, 999] {
        cluster.etcdctl(&["put", text(&key(at)), "x"]);
        let (watch, _) = watches.iter().find(|(_, number)| **number == at).expect("the watch");
        let [change] = &bench.changes(*watch).await[..] else { panic!("one change") };
        assert_eq!(change.key, key(at));
    }
    assert_eq!(streams(&cluster), BTreeSet::from(["1".to_string()]));
    assert_eq!(proxy.connections(), 1);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

fn endpoint_address(cluster: &Cluster) -> std::net::SocketAddr {
    cluster.urls()[0].trim_start_matches("http://").parse().expect("an address")
}

/// How many watch streams the server says it has.
fn streams(cluster: &Cluster) -> BTreeSet<String> {
    let mut stream = std::net::TcpStream::connect(endpoint_address(cluster)).expect("connected");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n").expect("asked");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).expect("answered");
    let found = metrics.lines().filter_map(|line| line.strip_prefix("etcd_debugging_mvcc_watch_stream_total "));
    found.map(|count| count.trim().to_string()).collect()
}

/// The time from a delete to its event, for a watch from the next revision on. Printed; see `--nocapture`.
#[tokio::test]
#[allow(clippy::print_stdout)]
async fn a_delete_is_told_soon() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    for start_after in [1, 0] {
        let mut took = Vec::new();
        for lease in 1..=50 {
            let ours = bench.member(link, lease).await;
            let watch = bench.watch(link, &ours.key, &after(&ours.key), ours.revision + start_after);
            assert!(matches!(bench.news(watch).await, WatchNews::Created { .. }));
            let begun = Instant::now();
            bench.send(link, Op::Leave { key: ours.key, revision: ours.revision });
            while bench.changes(watch).await.iter().all(|change| change.now.is_some()) {}
            took.push(begun.elapsed());
            bench.send(link, Op::Unwatch { watch });
            bench.answer(link, Op::Revoke { lease }).await;
        }
        took.sort();
        println!("delete to event, start = revision + {start_after}: median {:?}, most {:?}", took[25], took[49]);
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_to_be_unknown() {
    let mut bench = Bench::on(&["http://no-such-host.invalid:2379".into()]);
    let failure = bench.open(0).await.expect_err("no such host");
    assert_eq!(failure.kind, ErrorKind::Unreachable);
    let expected = "http://no-such-host.invalid:2379: cannot look up the host no-such-host.invalid: ";
    assert!(failure.detail.starts_with(expected), "{}", failure.detail);
}

#[tokio::test]
async fn a_refused_connection_names_the_member_and_the_cause() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let mut bench = Bench::on(&[format!("http://{free}"), format!("http://localhost:{}", free.port())]);
    let failure = bench.open(0).await.expect_err("refused");
    let expected = format!("http://{free}: cannot connect: Connection refused (os error 111)");
    assert_eq!((failure.kind, failure.detail), (ErrorKind::Unreachable, expected));

    let link = LinkId(bench.fresh());
    let opening = bench.send(link, Op::Open { endpoint: 1, key: PREFIX.into() });
    let early = bench.send(link, Op::Renew { lease: 1 });
    let failure = bench.reply(opening).await.expect_err("refused");
    assert!(failure.detail.contains("localhost") && failure.detail.contains("Connection refused"), "{failure:?}");
    assert_eq!(bench.reply(early).await.expect_err("no link"), failure, "what was asked meanwhile fails too");
    assert_eq!(bench.rest(Duration::from_millis(50)).await, []);
}

#[tokio::test]
async fn a_link_breaks_once_when_its_member_dies_and_is_not_mended() {
    let mut cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 5).await;
    let watch = bench.watch(link, &ours.key, &after(&ours.key), ours.revision + 1);
    bench.news(watch).await;
    bench.answer(link, Op::Renew { lease: 5 }).await;

    cluster.member(0).kill();
    let failure = bench.broken(link).await;
    println!("{failure:?}");
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert!(failure.detail.starts_with(&cluster.urls()[0]), "{failure:?}");
    cluster.start();
    for op in [Op::Renew { lease: 5 }, Op::Confirm { key: ours.key, keys: vec![] }] {
        let failure = bench.ask(link, op).await.expect_err("a link is never mended");
        assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    }
    assert_eq!(bench.rest(Duration::from_millis(100)).await, [], "broken is told once");
    assert!(bench.open(0).await.is_ok(), "another link serves");
}

#[tokio::test]
async fn an_idle_link_breaks_too() {
    let mut cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    cluster.member(0).kill();
    assert_eq!(bench.broken(link).await.kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_reset_fails_what_is_under_way() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(endpoint_address(&cluster));
    let mut bench = Bench::on(&[proxy.url()]);
    let link = bench.open(0).await.expect("a link").0;
    bench.granted(link, 1).await;
    bench.answer(link, Op::Renew { lease: 1 }).await;
    proxy.hold_all();
    let asked = [bench.send(link, Op::Renew { lease: 1 }), bench.send(link, Op::Confirm { key: own(1), keys: vec![] })];
    assert_eq!(bench.rest(Duration::from_millis(300)).await, [], "no answer, and no deadline of our own");
    proxy.reset();
    for asked in asked {
        let failure = bench.reply(asked).await.expect_err("reset");
        println!("{failure:?}");
        assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
        assert!(failure.detail.contains("reset"), "{failure:?}");
    }
    assert_eq!(bench.broken(link).await.kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_closed_link_is_silent() {
    let mut cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 6).await;
    let watch = bench.watch(link, &ours.key, &after(&ours.key), ours.revision + 1);
    bench.news(watch).await;
    bench.answer(link, Op::Renew { lease: 6 }).await;
    bench.send(link, Op::Renew { lease: 6 });
    bench.send(link, Op::Confirm { key: ours.key.clone(), keys: vec![] });
    bench.send(link, Op::Close);
    bench.send(link, Op::Confirm { key: ours.key.clone(), keys: vec![] });
    cluster.etcdctl(&["del", text(&ours.key)]);
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
    assert_eq!(streams(&cluster), BTreeSet::from(["0".to_string()]), "the connection is gone");
    cluster.member(0).kill();
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

#[tokio::test]
async fn members_without_a_quorum_say_so() {
    let mut cluster = Cluster::three();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let watch = bench.watch(link, b"/a", b"/b", 2);
    bench.news(watch).await;
    cluster.member(1).kill();
    cluster.member(2).kill();
    let failure = bench.broken(link).await;
    println!("{failure:?}");
    assert_eq!(failure.kind, ErrorKind::NoQuorum, "{failure:?}");
    let failure = bench.ask(link, Op::Confirm { key: own(1), keys: vec![] }).await.expect_err("no quorum");
    assert!(matches!(failure.kind, ErrorKind::NoQuorum | ErrorKind::Timeout), "{failure:?}");
}

#[tokio::test]
async fn servers_that_are_not_etcd_are_said_to_be_none() {
    let html = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>".to_vec();
    let noise: Vec<u8> = (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let settings = b"\0\0\0\x04\0\0\0\0\0".to_vec();
    for (what, sent, kind) in [
        ("a web server", html, ErrorKind::Protocol),
        ("noise", noise, ErrorKind::Protocol),
        ("a server that closes at once", Vec::new(), ErrorKind::Unreachable),
        ("an HTTP/2 server that closes at once", settings, ErrorKind::Unreachable),
    ] {
        let url = server(move |mut client| {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(&sent);
        });
        let mut bench = Bench::on(std::slice::from_ref(&url));
        let failure = bench.open(0).await.expect_err(what);
        println!("{what}: {failure:?}");
        assert_eq!(failure.kind, kind, "{what}: {failure:?}");
        assert!(failure.detail.starts_with(&url), "{what}: {failure:?}");
        assert_eq!(bench.rest(Duration::from_millis(50)).await, [], "{what}: one answer");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_can_be_left() {
    let url = server(|client| {
        thread::sleep(SOON);
        drop(client);
    });
    let mut bench = Bench::on(&[url]);
    let link = LinkId(bench.fresh());
    bench.send(link, Op::Open { endpoint: 0, key: PREFIX.into() });
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
    bench.send(link, Op::Close);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

#[tokio::test]
async fn grpc_answers_that_etcd_does_not_give_are_refused() {
    let empty = vec![0, 0, 0, 0, 0];
    let truncated = vec![0, 0, 0, 0, 2, 10, 50];
    let negative = vec![0, 0, 0, 0, 13, 10, 11, 24, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let (grpc, html) = ("application/grpc", "text/html");
    for (what, kind, body, trailers, expected) in [
        ("no header", grpc, empty.clone(), &[("grpc-status", "0")][..], ErrorKind::Protocol),
        ("a truncated message", grpc, truncated, &[("grpc-status", "0")], ErrorKind::Protocol),
        ("a negative revision", grpc, negative, &[("grpc-status", "0")], ErrorKind::Protocol),
        ("a page", html, b"<html>".to_vec(), &[], ErrorKind::Protocol),
        ("details that are not base64", grpc, vec![], &[("grpc-status", "13"), ("grpc-status-details-bin", "!")], ErrorKind::Server),
        ("another API", grpc, vec![], &[("grpc-status", "12"), ("grpc-message", "unknown service")], ErrorKind::Unsupported),
        ("no status", grpc, vec![], &[], ErrorKind::Server),
    ] {
        let url = h2_server(kind, body, trailers).await;
        let mut bench = Bench::on(std::slice::from_ref(&url));
        let failure = bench.open(0).await.expect_err(what);
        println!("{what}: {failure:?}");
        assert_eq!(failure.kind, expected, "{what}: {failure:?}");
        assert!(failure.detail.starts_with(&url), "{what}: {failure:?}");
    }
}

/// An HTTP/2 server that answers everything with this.
async fn h2_server(kind: &'static str, body: Vec<u8>, trailers: &'static [(&'static str, &'static str)]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let mut connection = h2::server::handshake(client).await.expect("HTTP/2");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-type", kind).body(()).expect("a head");
            let mut stream = respond.send_response(head, false).expect("sent");
            stream.send_data(body.clone().into(), false).expect("sent");
            let trailers = trailers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
            stream.send_trailers(trailers.collect()).expect("sent");
        }
    });
    format!("http://{address}")
}

/// A server that does this with each client.
fn server(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            serve(client);
        }
    });
    format!("http://{address}")
}
