//! Drives a backend by hand, and speaks to etcd beside it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use etcd_leader::backend::Backend;
use etcd_leader::backend::v2::V2;
use etcd_leader::config::SessionSettings;
use etcd_leader::machine::{
    Answer, Change, Failure, Input, LinkId, Op, Reply, Request, RequestId, Seen, Stamp, WatchId, WatchNews, Watched,
    Written,
};
use etcd_leader::member::{Member, Revision};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use support::{Cluster, session};

pub(crate) const PREFIX: &[u8] = b"/jobs/nightly/";
pub(crate) const V2_ON: &[&str] = &["--enable-v2=true"];
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A backend, and what was heard of it and not yet asked for.
pub(crate) struct Bench {
    backend: V2,
    inbox: UnboundedReceiver<Input>,
    heard: VecDeque<Input>,
    last: u64,
}

impl Bench {
    pub(crate) fn on(urls: &[String]) -> Bench {
        Bench::with(&session(urls))
    }

    pub(crate) fn with(settings: &SessionSettings) -> Bench {
        let (inbox, heard) = unbounded_channel();
        let backend = V2::new(settings, inbox, &etcd_leader::backend::Commons::default());
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
        self.open_for(endpoint, PREFIX).await
    }

    pub(crate) async fn open_for(&mut self, endpoint: usize, key: &[u8]) -> Result<(LinkId, Stamp), Failure> {
        let link = LinkId(self.fresh());
        let reply =
            self.ask(link, Op::Open { endpoint, key: key.into(), patience: Duration::ZERO, is_proof: true }).await?;
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

    pub(crate) fn watch(&mut self, link: LinkId, key: &[u8], start: Revision) -> WatchId {
        let watch = WatchId(self.fresh());
        let to = [key, b"\0"].concat();
        let range = Watched { from: key.into(), to, start: Some(start), puts_only: false };
        self.send(link, Op::Watch { watch, range });
        watch
    }

    /// A watch that exists.
    pub(crate) async fn watching(&mut self, link: LinkId, key: &[u8], start: Revision) -> WatchId {
        let watch = self.watch(link, key, start);
        let news = self.news(watch).await;
        assert!(matches!(news, WatchNews::Created { .. }), "{news:?}");
        watch
    }

    pub(crate) async fn news(&mut self, of: WatchId) -> WatchNews {
        self.hear(|input| match input {
            Input::Watch { watch, news, .. } if *watch == of => Some(news.clone()),
            _ => None,
        })
        .await
    }

    /// The next change that a watch sees; v2 has one at a time.
    pub(crate) async fn change(&mut self, of: WatchId) -> Change {
        match self.news(of).await {
            WatchNews::Changes { mut changes } if changes.len() == 1 => changes.remove(0),
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

    /// Joins, and gives the entry.
    pub(crate) async fn member(&mut self, link: LinkId, name: &str) -> Member {
        match self.answer(link, post(name, 60)).await {
            Answer::Posted { own } => own,
            answer => panic!("{answer:?}"),
        }
    }

    pub(crate) async fn refresh(
        &mut self,
        link: LinkId,
        ours: &Member,
        written: Revision,
        visible: bool,
    ) -> (bool, Option<Written>) {
        let op = Op::Refresh { key: ours.key.clone(), name: ours.name.clone(), written, ttl_s: 60, visible };
        match self.answer(link, op).await {
            Answer::Refreshed { applied, found } => (applied, found),
            answer => panic!("{answer:?}"),
        }
    }

    pub(crate) async fn look(&mut self, link: LinkId, ours: &Member) -> Seen {
        match self.answer(link, look(ours)).await {
            Answer::Looked(seen) => seen,
            answer => panic!("{answer:?}"),
        }
    }
}

pub(crate) fn post(name: &str, ttl_s: u32) -> Op {
    Op::Post { prefix: PREFIX.into(), name: name.into(), ttl_s }
}

pub(crate) fn look(ours: &Member) -> Op {
    Op::Look { prefix: PREFIX.into(), own: ours.key.clone(), up_to: ours.revision }
}

pub(crate) fn withdraw(ours: &Member) -> Op {
    let (revision, written) = (ours.revision, ours.revision);
    Op::Withdraw { key: ours.key.clone(), name: ours.name.clone(), revision, written }
}

pub(crate) fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("text")
}

/// What the first member says to this request, head and body; `line` is `GET /v2/keys/...`.
pub(crate) fn curl(cluster: &Cluster, line: &str, form: &str) -> String {
    curl_as(cluster, "", line, form)
}

/// The same with these further headers.
pub(crate) fn curl_as(cluster: &Cluster, headers: &str, line: &str, form: &str) -> String {
    let mut stream = TcpStream::connect(cluster.client_address(0)).expect("connected");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nHost: etcd";
    let length = form.len();
    write!(stream, "{line} HTTP/1.1\r\n{kind}\r\n{headers}Content-Length: {length}\r\n\r\n{form}").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

/// As [`curl`], and it must succeed.
pub(crate) fn curled(cluster: &Cluster, line: &str, form: &str) -> String {
    let answer = curl(cluster, line, form);
    assert!(answer.starts_with("HTTP/1.1 20"), "{line}: {answer}");
    answer
}

/// Waits until etcd has so many watchers.
pub(crate) async fn until_watchers(cluster: &Cluster, count: usize) {
    let expected = format!(r#""watchers":{count}}}"#);
    let watched = async {
        while !curled(cluster, "GET /v2/stats/store", "").contains(&expected) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, watched).await.unwrap_or_else(|_| panic!("not {count} watchers"));
}

/// An HTTP server of the test's own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The heads of the requests that came.
    pub(crate) requests: UnboundedReceiver<String>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request that came, or comes.
    pub(crate) async fn request(&mut self) -> String {
        timeout(SOON, self.requests.recv()).await.expect("a request soon").expect("the server")
    }

    /// Serves each connection with this, which gets the head of the first request.
    pub(crate) fn new(serve: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").expect("a port"), serve)
    }

    pub(crate) fn on(listener: TcpListener, serve: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> Server {
        let address = listener.local_addr().expect("its address");
        let (heard, requests) = unbounded_channel();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let (serve, heard) = (serve.clone(), heard.clone());
                thread::spawn(move || {
                    if let Some(head) = head(&mut client) {
                        let _ = heard.send(head.clone());
                        serve(&head, &mut client);
                    }
                });
            }
        });
        Server { address, requests }
    }
}

/// Reads up to the empty line, and the body of a form.
fn head(client: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        read.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&read).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

/// An answer as etcd gives it, with this body.
pub(crate) fn etcd_answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: cdf818194e3a8c32\r\n\
         X-Etcd-Index: 40\r\nX-Raft-Term: 2\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}
