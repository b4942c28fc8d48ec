//! Elections that share a session, of which etcd denies one its key: the others are not disturbed.

use std::time::{Duration, Instant};

use etcd_leader::config::Secret;
use etcd_leader::{Config, Election, ErrorKind, Event, Next};

use support::{Cluster, Proxy};

/// Stalls of a busy machine are shorter.
const TTL_S: u32 = 6;
const SOON: Duration = Duration::from_secs(60);
const PASSWORD: &str = "of-the-worker";

/// An etcd that asks for users, and a proxy before it that counts connections.
struct Guarded {
    proxy: Proxy,
    cluster: Cluster,
}

impl Guarded {
    /// The user `worker` may use these keys, and `rival` every key.
    fn new(keys: &[&str]) -> Guarded {
        let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
        for words in ["user add root:of-root", "user grant-role root root", "role add worker"] {
            cluster.etcdctl(&words.split(' ').collect::<Vec<_>>());
        }
        for user in ["worker", "rival"] {
            cluster.etcdctl(&["user", "add", &format!("{user}:{PASSWORD}")]);
        }
        cluster.etcdctl(&["user", "grant-role", "worker", "worker"]);
        cluster.etcdctl(&["user", "grant-role", "rival", "root"]);
        for key in keys {
            cluster.etcdctl(&["role", "grant-permission", "worker", "readwrite", "--prefix=true", &format!("{key}/")]);
        }
        cluster.etcdctl(&["auth", "enable"]);
        Guarded { proxy: Proxy::before(cluster.client_address(0)), cluster }
    }

    fn role(&self, words: &[&str]) {
        self.cluster.etcdctl(&[&["--user=root:of-root", "role"], words].concat());
    }

    fn start(&self, key: &str) -> Election {
        self.start_as("worker", key)
    }

    fn start_as(&self, user: &str, key: &str) -> Election {
        let config = Config {
            endpoints: vec![self.proxy.url()],
            key: key.into(),
            name: user.into(),
            ttl_s: TTL_S,
            username: Some(user.into()),
            password: Some(Secret::new(PASSWORD)),
            ..Config::default()
        };
        Election::start(&config).expect("a good config")
    }
}

/// Takes events until one is wanted.
fn until<T>(election: &Election, wanted: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        match election.next(Some(SOON)).expect("no fork") {
            Next::Event(event) => {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            other => panic!("{election:?}: {other:?}"),
        }
    }
}

fn elected(election: &Election) -> u64 {
    until(election, |event| if let Event::Elected { token } = event { Some(*token) } else { None })
}

/// Takes its events until it leads, if it does not: the token that it leads with.
fn leads(election: &Election) -> u64 {
    let begun = Instant::now();
    loop {
        let next = election.next(Some(Duration::from_millis(20))).expect("no fork");
        if let Some(token) = election.token() {
            return token;
        }
        assert!(begun.elapsed() < SOON, "{election:?}: {next:?}");
    }
}

/// For so long it leads under this token, and is told nothing but who leads.
fn leads_undisturbed(election: &Election, token: u64, long: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < long {
        assert_eq!(election.token(), Some(token));
        match election.next(Some(Duration::from_millis(50))).expect("no fork") {
            Next::Nothing | Next::Event(Event::Leader(Some(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_denied_newcomer_fails_alone() {
    let guarded = Guarded::new(&["/one", "/two"]);
    let (one, two) = (guarded.start("/one"), guarded.start("/two"));
    let tokens = (elected(&one), elected(&two));
    let connections = guarded.proxy.connections();
    for _ in 0..3 {
        let denied = guarded.start("/denied");
        assert_eq!(failure(&denied), ErrorKind::Denied);
    }
    leads_undisturbed(&one, tokens.0, Duration::from_secs(u64::from(TTL_S) * 2));
    leads_undisturbed(&two, tokens.1, Duration::ZERO);
    assert_eq!(guarded.proxy.connections(), connections, "the session keeps its connection");
}

/// Its end: why it failed.
fn failure(election: &Election) -> ErrorKind {
    until(
        election,
        |event| if let Event::Ended(ended) = event { ended.why.as_ref().map(|why| why.kind()) } else { None },
    )
}

#[test]
fn of_those_that_start_together_only_the_denied_fail() {
    let guarded = Guarded::new(&["/one", "/two"]);
    for order in [["/denied", "/one", "/two"], ["/one", "/denied", "/two"], ["/one", "/two", "/denied"]] {
        let elections = order.map(|key| (key, guarded.start(key)));
        for (key, election) in &elections {
            match *key {
                "/denied" => assert_eq!(failure(election), ErrorKind::Denied),
                _ => assert!(elected(election) > 0),
            }
        }
    }
    // Nobody is left over whose key may be asked for.
    let both = ["/no", "/never"].map(|key| guarded.start(key));
    assert_eq!(both.each_ref().map(failure), [ErrorKind::Denied; 2]);
}

#[test]
fn a_denied_key_that_is_left_in_doubt_ends_nobody_elses_lead() {
    let guarded = Guarded::new(&["/kept", "/revoked"]);
    let (kept, revoked) = (guarded.start("/kept"), guarded.start("/revoked"));
    let (token, _) = (elected(&kept), elected(&revoked));
    guarded.role(&["revoke-permission", "worker", "--prefix=true", "/revoked/"]);
    // It cannot delete its entry, tries for two ttls, and leaves that to the session.
    revoked.close();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(u64::from(TTL_S) * 5) {
        assert_eq!(kept.token(), Some(token), "after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_denied_key_is_not_the_one_that_a_session_hangs_on() {
    let mut guarded = Guarded::new(&["/one"]);
    let one = guarded.start("/one");
    let first = elected(&one);
    guarded.cluster.member(0).kill();
    until(&one, |event| matches!(event, Event::Retrying(Some(_))).then_some(()));
    let denied = guarded.start("/denied");
    guarded.cluster.member(0).start();
    assert_eq!(failure(&denied), ErrorKind::Denied);
    assert!(leads(&one) >= first);
}

#[test]
fn however_many_keys_are_denied_the_others_lead_on() {
    const REVOKED: [&str; 5] = ["/a", "/b", "/c", "/d", "/e"];
    let guarded = Guarded::new(&[&REVOKED[..], &["/kept"]].concat());
    let revoked = REVOKED.map(|key| guarded.start(key));
    let kept = guarded.start("/kept");
    revoked.iter().for_each(|one| assert!(elected(one) > 0));
    let token = elected(&kept);
    for key in REVOKED {
        guarded.role(&["revoke-permission", "worker", "--prefix=true", &format!("{key}/")]);
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(u64::from(TTL_S) * 4) {
        // The link, too, is opened anew with a key that may be read.
        if begun.elapsed() > Duration::from_secs(u64::from(TTL_S) * 2) {
            guarded.proxy.reset();
            std::thread::sleep(Duration::from_millis(900));
        }
        assert_eq!(kept.token(), Some(token), "after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_role_that_is_revoked_for_one_key_leaves_the_other_leading() {
    let guarded = Guarded::new(&["/kept", "/revoked"]);
    // Whichever the session asks for first.
    for order in [["/kept", "/revoked"], ["/revoked", "/kept"]] {
        let mut elections = order.map(|key| (key, guarded.start(key)));
        elections.sort_by_key(|(key, _)| *key);
        let [(_, kept), (_, revoked)] = elections;
        let (token, first) = (elected(&kept), elected(&revoked));
        guarded.role(&["revoke-permission", "worker", "--prefix=true", "/revoked/"]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(u64::from(TTL_S) * 3) {
            assert_eq!(kept.token(), Some(token), "{kept:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        guarded.role(&["grant-permission", "worker", "readwrite", "--prefix=true", "/revoked/"]);
        // Either it led all the time, its lease being kept, or it leads again.
        assert!(leads(&revoked) >= first);
        assert_eq!(kept.token(), Some(token));
    }
}

/// Many versions of etcd renew a lease whatever its user may do with the keys on it. The entry of one who may not use its key any
/// more, not even to delete it, must end all the same, or it stands in everybody's way for as long as its process lives.
#[test]
fn one_whose_role_is_taken_away_keeps_nobody_from_leading() {
    let guarded = Guarded::new(&["/kept", "/line"]);
    let (kept, first) = (guarded.start("/kept"), guarded.start("/line"));
    let (token, before) = (elected(&kept), elected(&first));
    let rival = guarded.start_as("rival", "/line");
    until(&rival, |event| matches!(event, Event::Leader(Some(_))).then_some(()));
    guarded.role(&["revoke-permission", "worker", "--prefix=true", "/line/"]);
    assert!(elected(&rival) > before);
    assert_eq!(first.token(), None);
    // What the other election has of the same session goes on.
    leads_undisturbed(&kept, token, Duration::from_secs(u64::from(TTL_S) * 2));
}

#[test]
fn one_that_waits_and_whose_role_is_taken_away_is_passed_over() {
    let guarded = Guarded::new(&["/kept", "/line"]);
    let kept = guarded.start("/kept");
    let token = elected(&kept);
    let leader = guarded.start_as("rival", "/line");
    let before = elected(&leader);
    let next = guarded.start("/line");
    until(&next, |event| matches!(event, Event::Leader(Some(_))).then_some(()));
    let last = guarded.start_as("rival", "/line");
    until(&last, |event| matches!(event, Event::Leader(Some(_))).then_some(()));
    guarded.role(&["revoke-permission", "worker", "--prefix=true", "/line/"]);
    leader.close();
    assert!(elected(&last) > before);
    assert_eq!((next.token(), kept.token()), (None, Some(token)));
}
