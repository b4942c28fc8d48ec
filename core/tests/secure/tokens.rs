//! Tokens that live shorter than elections.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_leader::Config;
use etcd_leader::backend::Backend;
use etcd_leader::backend::v3::{V3, role_recipe};
use etcd_leader::machine::{Answer, Input, LinkId, Op, Reply, Request, RequestId, WatchId, WatchNews, Watched};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::candidate::Candidate;
use super::guarded::{Guarded, password};
use support::Proxy;
use support::proxy::Way;

/// Tokens die a dozen times in it.
const MINUTE: Duration = Duration::from_secs(60);

/// One leads, another waits, both with renewals further apart than a token lives; then the one stops.
fn outlive_tokens(guarded: &Guarded) {
    let begun = Instant::now();
    let slow = |name| Config { ttl_s: 30, ..guarded.config("/short", name) };
    let leader = Candidate::start(&slow("leader"));
    leader.hears("elected");
    let waiting = Candidate::start(&slow("waiting"));
    waiting.hears("leader leader");
    guarded.obey(&role_recipe("worker", "/shorter")[1..2]);
    // Renewals every 3.75 s; a stall of two seconds is not told as trouble.
    let quick = Candidate::start(&Config { ttl_s: 15, ..guarded.config("/shorter", "quick") });
    quick.hears("elected");
    while begun.elapsed() < MINUTE {
        std::thread::sleep(Duration::from_secs(1));
        assert!(leader.is_leader() && quick.is_leader(), "{:?} {:?}", leader.log(), quick.log());
    }
    // Nothing but the elections themselves was to be told.
    for one in [&leader, &waiting, &quick] {
        assert!(!one.has_said("retrying") && !one.has_said("unelected"), "{:?}", one.log());
    }
    leader.stop();
    waiting.hears("elected");
}

#[test]
fn simple_tokens_of_five_seconds_last_a_minute_of_leading_and_waiting() {
    outlive_tokens(&Guarded::closed(&["--auth-token-ttl=5"], "/short"));
}

#[test]
fn jwt_of_five_seconds_last_a_minute_of_leading_and_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("jwt.key");
    std::fs::write(&key, password()).expect("written");
    let tokens = format!("--auth-token=jwt,priv-key={},sign-method=HS256,ttl=5s", key.display());
    outlive_tokens(&Guarded::closed(&[&tokens], "/short"));
}

/// A backend by hand.
struct Hand {
    backend: V3,
    inbox: UnboundedReceiver<Input>,
    last: u64,
}

impl Hand {
    /// With one link.
    async fn on(guarded: &Guarded) -> Hand {
        Hand::with(&guarded.config("/hand", "hand")).await
    }

    /// With a link to each endpoint, numbered from 1.
    async fn with(config: &Config) -> Hand {
        let (inbox, heard) = unbounded_channel();
        let settings = config.validate().expect("good").session;
        let mut hand = Hand {
            backend: V3::new(&settings, inbox, &etcd_leader::backend::Commons::default()),
            inbox: heard,
            last: 0,
        };
        for endpoint in 0..config.endpoints.len() {
            let open = Op::Open { endpoint, key: b"/hand/".to_vec(), patience: Duration::ZERO, is_proof: true };
            let asked = hand.send_on(LinkId(endpoint as u64 + 1), open);
            assert_eq!(hand.answer(asked).await.answer, Answer::Opened);
        }
        hand
    }

    fn send(&mut self, op: Op) -> RequestId {
        self.send_on(LinkId(1), op)
    }

    fn send_on(&mut self, link: LinkId, op: Op) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        self.backend.perform(Request { id, link, op });
        id
    }

    async fn ask(&mut self, op: Op) -> Reply {
        let asked = self.send(op);
        self.answer(asked).await
    }

    async fn answer(&mut self, asked: RequestId) -> Reply {
        loop {
            if let Input::Reply { id, result } = self.hear().await
                && id == asked
            {
                return result.expect("an answer");
            }
        }
    }

    async fn hear(&mut self) -> Input {
        tokio::time::timeout(Duration::from_secs(20), self.inbox.recv()).await.expect("soon").expect("the backend")
    }

    async fn news(&mut self) -> (WatchId, WatchNews) {
        loop {
            match self.hear().await {
                Input::Watch { watch, news, .. } => return (watch, news),
                Input::Broken { failure, .. } => panic!("{failure:?}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_watch_that_is_refused_for_its_token_is_made_with_a_new_one_and_the_others_miss_nothing() {
    let guarded = Guarded::closed(&[], "/hand");
    let mut hand = Hand::on(&guarded).await;
    let from = guarded.root(&["get", "/hand/", "-w", "json"]);
    let revision = from.split("\"revision\":").nth(1).and_then(|rest| rest.split(',').next());
    let next = revision.and_then(|digits| digits.parse::<u64>().ok()).expect("a revision") + 1;
    let mut old = Vec::new();
    // More tokens than there may be streams.
    for count in 1..=8 {
        let key = format!("/hand/{count}");
        let (watch, to) = (WatchId(count), format!("{key}\0").into_bytes());
        let range = Watched { from: key.into_bytes(), to, start: Some(next), puts_only: false };
        hand.send(Op::Watch { watch, range });
        loop {
            match hand.news().await {
                (made, WatchNews::Created { .. }) if made == watch => break,
                (ended, WatchNews::Canceled { .. }) => old.retain(|one| *one != ended),
                other => panic!("{other:?}"),
            }
        }
        old.push(watch);
        guarded.set_password("worker", &password());
    }
    assert!(old.len() >= 4, "{old:?}");
    for watch in old {
        guarded.root(&["put", &format!("/hand/{}", watch.0), "new"]);
        let (told, news) = hand.news().await;
        assert!(told == watch && matches!(news, WatchNews::Changes { .. }), "{told:?} {news:?}");
    }
    let revoked = hand.ask(Op::Revoke { lease: 77 }).await;
    assert_eq!(revoked.answer, Answer::Revoked);
}

/// A request on a slow link is refused for its token; the newer one that another request has brought is dead by then as well.
#[tokio::test]
async fn a_request_outlives_two_tokens() {
    let guarded = Guarded::closed(&[], "/hand");
    let proxy = Proxy::before(guarded.cluster.client_address(0));
    let config = guarded.config("/hand", "hand");
    let endpoints = [&[proxy.url()], &config.endpoints[..]].concat();
    let mut hand = Hand::with(&Config { endpoints, ..config }).await;
    let read = || Op::Confirm { key: b"/hand/one".to_vec(), keys: Vec::new() };
    let lease = hand.send(Op::Grant { lease: 77, ttl_s: 60 });
    hand.answer(lease).await;
    proxy.hold(Way::ToServer);
    let watched = Watched { from: b"/hand/".to_vec(), to: b"/hand0".to_vec(), start: None, puts_only: false };
    let held = [hand.send(read()), hand.send(Op::Renew { lease: 77 })];
    hand.send(Op::Watch { watch: WatchId(1), range: watched });
    guarded.set_password("worker", &password());
    let brought = hand.send_on(LinkId(2), read());
    hand.answer(brought).await;
    guarded.set_password("worker", &password());
    proxy.pass();
    let mut open: BTreeSet<u64> = held.iter().map(|id| id.0).collect();
    let mut is_watched = false;
    while !open.is_empty() || !is_watched {
        match hand.hear().await {
            Input::Reply { id, result } => {
                result.expect("an answer");
                open.remove(&id.0);
            }
            Input::Watch { news: WatchNews::Created { .. }, .. } => is_watched = true,
            other => panic!("{other:?}"),
        }
    }
}
