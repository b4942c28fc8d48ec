//! Drives a backend by hand.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use etcd_leader::backend::Backend;
use etcd_leader::backend::v3::V3;
use etcd_leader::config::{Login, Secret, SessionSettings};
use etcd_leader::machine::{
    Answer, Change, Failure, Input, LinkId, Op, Reply, Request, RequestId, Seen, Stamp, WatchId, WatchNews, Watched,
    member_key,
};
use etcd_leader::member::{LeaseId, Member, Revision};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use support::{Cluster, session};

pub(crate) const PREFIX: &[u8] = b"/jobs/nightly/";
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A backend, and what was heard of it and not yet asked for.
pub(crate) struct Bench {
    backend: V3,
    inbox: UnboundedReceiver<Input>,
    heard: VecDeque<Input>,
    last: u64,
}

impl Bench {
    pub(crate) fn on(urls: &[String]) -> Bench {
        Bench::of(&session(urls))
    }

    /// A backend that shows this user.
    pub(crate) fn as_user(urls: &[String], username: &str, password: &str) -> Bench {
        let mut session = session(urls);
        session.access.login = Some(Login { username: username.into(), password: Secret::new(password) });
        Bench::of(&session)
    }

    fn of(session: &SessionSettings) -> Bench {
        let (inbox, heard) = unbounded_channel();
        let backend = V3::new(session, inbox, &etcd_leader::backend::Commons::default());
        Bench { backend, inbox: heard, heard: VecDeque::new(), last: 0 }
    }

    /// A backend with one link to this cluster's first member.
    pub(crate) async fn linked(cluster: &Cluster) -> (Bench, LinkId) {
        let mut bench = Bench::on(&cluster.urls());
        let link = bench.open(0).await.expect("a link").0;
        (bench, link)
    }

    pub(crate) fn fresh(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(crate) fn send(&mut self, link: LinkId, op: Op) -> RequestId {
        let id = RequestId(self.fresh());
        self.backend.perform(Request { id, link, op });
        id
    }

    pub(crate) async fn open(&mut self, endpoint: usize) -> Result<(LinkId, Stamp), Failure> {
        let link = LinkId(self.fresh());
        let reply =
            self.ask(link, Op::Open { endpoint, key: PREFIX.into(), patience: Duration::ZERO, is_proof: true }).await?;
        assert_eq!(reply.answer, Answer::Opened);
        Ok((link, reply.stamp))
    }

    pub(crate) async fn ask(&mut self, link: LinkId, op: Op) -> Result<Reply, Failure> {
        let asked = self.send(link, op);
        self.reply(asked).await
    }

    pub(crate) async fn answer(&mut self, link: LinkId, op: Op) -> Answer {
        self.ask(link, op).await.expect("an answer").answer
    }

    pub(crate) async fn reply(&mut self, asked: RequestId) -> Result<Reply, Failure> {
        self.hear(|input| match input {
            Input::Reply { id, result } if *id == asked => Some(result.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn watch(&mut self, link: LinkId, from: &[u8], to: &[u8], start: Revision) -> WatchId {
        let (from, to) = (from.to_vec(), to.to_vec());
        self.watch_range(link, Watched { from, to, start: Some(start), puts_only: false })
    }

    pub(crate) fn watch_range(&mut self, link: LinkId, range: Watched) -> WatchId {
        let watch = WatchId(self.fresh());
        self.send(link, Op::Watch { watch, range });
        watch
    }

    pub(crate) async fn news(&mut self, of: WatchId) -> WatchNews {
        self.hear(|input| match input {
            Input::Watch { watch, news, .. } if *watch == of => Some(news.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn changes(&mut self, of: WatchId) -> Vec<Change> {
        match self.news(of).await {
            WatchNews::Changes { changes } => changes,
            news => panic!("{news:?}"),
        }
    }

    pub(crate) async fn broken(&mut self, of: LinkId) -> Failure {
        self.hear(|input| match input {
            Input::Broken { link, failure } if *link == of => Some(failure.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn hear<T>(&mut self, wanted: impl Fn(&Input) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|input| wanted(input).is_some()) {
            let input = self.heard.remove(at).expect("it is there");
            return wanted(&input).expect("it was wanted");
        }
        loop {
            let input = timeout(SOON, self.inbox.recv()).await.expect("to hear of it soon").expect("the backend");
            if matches!(input, Input::Opening { .. }) {
                continue;
            }
            match wanted(&input) {
                Some(found) => return found,
                None => self.heard.push_back(input),
            }
        }
    }

    /// All that was heard in a while and not asked for.
    pub(crate) async fn rest(&mut self, a_while: Duration) -> Vec<Input> {
        tokio::time::sleep(a_while).await;
        while let Ok(input) = self.inbox.try_recv() {
            // How far an opening is is for people.
            self.heard.extend(Some(input).filter(|input| !matches!(input, Input::Opening { .. })));
        }
        self.heard.drain(..).collect()
    }

    pub(crate) async fn granted(&mut self, link: LinkId, lease: LeaseId) {
        assert_eq!(self.answer(link, Op::Grant { lease, ttl_s: 60 }).await, Answer::Granted { ttl_s: 60 });
    }

    pub(crate) async fn join(&mut self, link: LinkId, lease: LeaseId) -> (Reply, bool, Seen) {
        let op = Op::Join { prefix: PREFIX.into(), own: own(lease), name: name(lease), lease };
        let reply = self.ask(link, op).await.expect("joined");
        let Answer::Joined { created, seen } = reply.answer.clone() else { panic!("{reply:?}") };
        (reply, created, seen)
    }

    /// Grants the lease, joins, and gives the entry.
    pub(crate) async fn member(&mut self, link: LinkId, lease: LeaseId) -> Member {
        self.granted(link, lease).await;
        let (_, created, seen) = self.join(link, lease).await;
        assert!(created);
        seen.own.expect("our entry")
    }
}

pub(crate) fn own(lease: LeaseId) -> Vec<u8> {
    member_key(PREFIX, lease)
}

pub(crate) fn name(lease: LeaseId) -> Vec<u8> {
    format!("candidate {lease}").into_bytes()
}

pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

pub(crate) fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("text")
}

pub(crate) fn endpoint_address(cluster: &Cluster) -> SocketAddr {
    cluster.urls()[0].trim_start_matches("http://").parse().expect("an address")
}

/// How many watch streams the server says it has.
pub(crate) fn streams(cluster: &Cluster) -> BTreeSet<String> {
    let mut stream = TcpStream::connect(endpoint_address(cluster)).expect("connected");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n").expect("asked");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).expect("answered");
    let found = metrics.lines().filter_map(|line| line.strip_prefix("etcd_debugging_mvcc_watch_stream_total "));
    found.map(|count| count.trim().to_string()).collect()
}
