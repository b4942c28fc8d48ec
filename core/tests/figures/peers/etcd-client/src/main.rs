//! The crate etcd-client, whose elections are those of etcd's Election service: see ../../README.md. Observe tells who leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, Error, LeaderKey, ResignOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinHandle;

const TTL: i64 = 10;

fn now() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[derive(Default)]
struct One {
    lease: i64,
    key: Option<LeaderKey>,
    known: Option<(String, i64)>,
    tasks: Vec<JoinHandle<()>>,
}

struct Crowd {
    client: Client,
    key: String,
    count: usize,
    all: Mutex<State>,
}

#[derive(Default)]
struct State {
    candidates: BTreeMap<String, One>,
    has_said_all: bool,
}

fn check<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}

impl Crowd {
    fn knows(&self, name: &str, leader: &str) {
        let mut state = self.all.lock().expect("no panic holds it");
        if let Some(one) = state.candidates.get_mut(name)
            && one.known.as_ref().is_none_or(|(known, _)| known != leader)
        {
            one.known = Some((leader.into(), now()));
        }
        let all_know = state.candidates.len() >= self.count && state.candidates.values().all(|one| one.known.is_some());
        if all_know && !state.has_said_all {
            state.has_said_all = true;
            println!("@ all");
        }
    }
}

/// A lease that is renewed each third of its ttl, as Go's client renews its own.
async fn keep(mut client: Client, lease: i64) {
    let (mut keeper, mut answers) = check(client.lease_keep_alive(lease).await);
    loop {
        tokio::time::sleep(Duration::from_secs(TTL as u64 / 3)).await;
        check(keeper.keep_alive().await);
        check(answers.message().await);
    }
}

async fn observe(crowd: Arc<Crowd>, name: String) {
    let mut client = crowd.client.clone();
    let mut leaders = check(client.observe(crowd.key.as_str()).await);
    while let Some(answer) = check(leaders.message().await) {
        if let Some(pair) = answer.kv() {
            crowd.knows(&name, &String::from_utf8_lossy(pair.value()));
        }
    }
}

async fn campaign(crowd: Arc<Crowd>, name: String) {
    let mut client = crowd.client.clone();
    let lease = check(client.lease_grant(TTL, None).await).id();
    let tasks = vec![tokio::spawn(keep(client.clone(), lease)), tokio::spawn(observe(crowd.clone(), name.clone()))];
    {
        let mut state = crowd.all.lock().expect("no panic holds it");
        let one = state.candidates.get_mut(&name).expect("it was added");
        (one.lease, one.tasks) = (lease, tasks);
    }
    let mut answer = check(client.campaign(crowd.key.as_str(), name.as_str(), lease).await);
    let at = now();
    let key = answer.take_leader().expect("its key");
    crowd.all.lock().expect("no panic holds it").candidates.get_mut(&name).expect("it was added").key = Some(key);
    println!("@ elected {at} {name}");
    crowd.knows(&name, &name);
}

fn add(crowd: &Arc<Crowd>, name: String) {
    crowd.all.lock().expect("no panic holds it").candidates.insert(name.clone(), One::default());
    tokio::spawn(campaign(crowd.clone(), name));
}

fn stop(crowd: &Crowd) {
    let mut state = crowd.all.lock().expect("no panic holds it");
    let leads = state.candidates.iter().find(|(_, one)| one.key.is_some()).map(|(name, _)| name.clone());
    let Some(mut one) = leads.and_then(|name| state.candidates.remove(&name)) else { return };
    let mut client = crowd.client.clone();
    println!("@ stopped {}", now());
    tokio::spawn(async move {
        check(client.resign(Some(ResignOptions::new().with_leader(one.key.take().expect("it leads")))).await);
        one.tasks.iter().for_each(JoinHandle::abort);
        check(client.lease_revoke(one.lease).await);
    });
}

/// On a lease that is there, as Go's are on a session that is open.
async fn start(client: &mut Client, key: &str, lease: i64) {
    let begun = now();
    let mut answer = check(client.campaign(key, "one", lease).await);
    println!("@ started {}", now() - begun);
    check(client.resign(Some(ResignOptions::new().with_leader(answer.take_leader().expect("its key")))).await);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let [_, url, key, number, count] = std::env::args().collect::<Vec<_>>().try_into().expect("URL KEY NUMBER COUNT");
    let count = count.parse().expect("a count");
    println!("@ begun {}", now());
    let mut client = check(Client::connect([url], None).await);
    let crowd = Arc::new(Crowd { client: client.clone(), key, count, all: Mutex::default() });
    (0..count).for_each(|at| add(&crowd, format!("{number}-{at}")));
    let (mut fresh, mut lease) = (count, None);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("stop", _) => stop(&crowd),
            ("again", _) => {
                add(&crowd, format!("{number}-{fresh}"));
                fresh += 1;
            }
            ("told", name) => {
                let state = crowd.all.lock().expect("no panic holds it");
                let known = state.candidates.values().filter_map(|one| one.known.as_ref());
                let times: Vec<String> = known.filter(|(known, _)| known == name).map(|(_, at)| at.to_string()).collect();
                println!("@ told {}", times.join(" "));
            }
            ("start", key) => {
                if lease.is_none() {
                    let granted = check(client.lease_grant(TTL, None).await).id();
                    tokio::spawn(keep(client.clone(), granted));
                    lease = Some(granted);
                }
                start(&mut client, key, lease.expect("a lease")).await;
            }
            (other, _) => panic!("{other:?} is no order"),
        }
    }
}
