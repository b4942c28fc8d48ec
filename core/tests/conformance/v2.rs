//! What only etcd's API v2 does to an election: lost answers, a short history, names that are given out again, files.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_leader::{Api, Config, Election};

use super::candidate::{Candidate, Setup, check_terms, millis, now_ms, waits};
use super::store::{BOTH, Store, single};
use support::forwarder::{Forwarder, Treatment};
use support::v2 as support_v2;
use support::{Cluster, Proxy, wait_for};

const TTL_S: u32 = 5;
const TTL_MS: u64 = TTL_S as u64 * 1000;
/// So many events etcd keeps, of all keys together.
const THE_HISTORY: usize = 1000;
const MORE_THAN_THE_HISTORY: usize = THE_HISTORY + 100;

fn v2<'a>(urls: &'a [String], key: &'a str) -> Setup<'a> {
    Setup::new(urls, key, TTL_S).on(Api::V2)
}

fn store(cluster: &Cluster) -> Store<'_> {
    Store { cluster, api: Api::V2 }
}

fn is_put(request: &str) -> bool {
    request.starts_with("PUT ")
}

#[test]
fn more_writes_than_etcd_remembers_while_waiting_and_while_disconnected() {
    let cluster = single();
    let urls = cluster.urls();
    let proxy = Proxy::before(cluster.client_address(0));
    let behind_proxy = [proxy.url()];
    let mut line = v2(&urls, "/busy").line_up(&["one", "two"]);
    let three = Setup { ttl_s: 20, ..v2(&behind_proxy, "/busy") }.start("three");
    three.hears("leader one");

    store(&cluster).write_elsewhere(MORE_THAN_THE_HISTORY);
    stop_and_succeed(&cluster, &mut line, 1000);

    // The news of the leader's end is forgotten before the waiter is back.
    proxy.refuse();
    proxy.reset();
    three.hears("retrying");
    line[1].stop();
    store(&cluster).write_elsewhere(MORE_THAN_THE_HISTORY);
    proxy.pass();
    let back = now_ms();
    let (elected, _) = three.hears_at("elected");
    // Long before the look that comes once in its ttl.
    assert!(elected < back + 12_000, "took {} ms", elected.saturating_sub(back));
    check_terms(&[&line[0], &line[1], &three]);
}

/// The first stops, and the second leads within this time, and that for which a processor kept them waiting.
fn stop_and_succeed(cluster: &Cluster, line: &mut [Candidate], within_ms: u64) {
    let busy = waits(cluster, line);
    line[0].stop();
    let stopped = now_ms();
    let (elected, _) = line[1].hears_at("elected");
    let took = elected.saturating_sub(stopped);
    assert!(took < within_ms + millis(busy.so_far()), "took {took} ms");
}

/// Ends each long poll that has no news, as etcd does after five minutes.
fn before_empty_polls(cluster: &Cluster) -> Forwarder {
    Forwarder::before(cluster.client_address(0), |request| match request.contains("wait=true") {
        true => Treatment::EndEmpty(Duration::from_millis(300)),
        false => Treatment::Pass,
    })
}

#[test]
fn long_polls_that_end_empty() {
    let cluster = single();
    let forwarder = before_empty_polls(&cluster);
    let urls = [forwarder.url()];
    let mut line = v2(&urls, "/empty").line_up(&["one", "two", "three"]);
    wait_for("several polls of each", || (forwarder.treated().len() > 20).then_some(()));
    stop_and_succeed(&cluster, &mut line, 2500);
    let busy = waits(&cluster, &line[2..]);
    line[1].kill();
    let died = now_ms();
    let (elected, _) = line[2].hears_at("elected");
    assert!(elected < died + TTL_MS + 2500 + millis(busy.so_far()), "took {} ms", elected - died);
    assert!(!line.iter().any(|one| one.has_had_trouble()), "an empty answer is no trouble");
    check_terms(&line.iter().collect::<Vec<_>>());
}

/// A poll that has ended is asked again from where it was, and etcd has forgotten that: it says so, and is looked at.
#[test]
fn a_poll_that_is_asked_again_after_more_writes_than_etcd_remembers() {
    let cluster = single();
    let forwarder = before_empty_polls(&cluster);
    let urls = [forwarder.url()];
    let mut line = v2(&urls, "/again").line_up(&["one", "two", "three"]);
    store(&cluster).write_elsewhere(MORE_THAN_THE_HISTORY);
    let is_new = |poll: &String| {
        let (_, index) = poll.trim_end_matches(" HTTP/1.1").split_once("waitIndex=").expect("an index");
        index.parse::<usize>().expect("a number") > THE_HISTORY
    };
    // One watches itself, the next two keys, the last three: six polls, and each is asked again when it has ended.
    wait_for("each watch to be a new one", || {
        let polls = forwarder.treated();
        let last = polls.len().saturating_sub(12);
        let are_new = polls.len() > 12 && polls[last..].iter().all(is_new);
        if !are_new {
            // A poll that etcd refused before the last write goes on from that write, and etcd forgets it a thousand writes later.
            store(&cluster).write_elsewhere(100);
        }
        are_new.then_some(())
    });
    stop_and_succeed(&cluster, &mut line, 2500);
    assert_eq!(line[2].hears("leader two"), "");
    assert!(!line.iter().any(|one| one.has_had_trouble()), "a short memory is no trouble");
    check_terms(&line.iter().collect::<Vec<_>>());
}

#[test]
fn a_wiped_store_gives_the_names_out_again_to_three_that_share_a_name() {
    let mut cluster = single();
    let urls = cluster.urls();
    let start = || {
        let one = v2(&urls, "/same").start("same");
        one.hears("leader");
        one
    };
    let mut line: Vec<Candidate> = (0..3).map(|_| start()).collect();
    let before = store(&cluster).members("/same");
    // Each has seen a store that the next one will not have grown to soon.
    store(&cluster).write_elsewhere(100);
    let grown = before.len() as u64 + 100;
    wait_for("each to have refreshed", || {
        let entries = support_v2::entries(cluster.client_address(0), "/same").expect("the entries");
        entries.iter().all(|entry| entry.modified > grown).then_some(())
    });
    let wiped = now_ms();
    cluster.wipe();
    line.iter().for_each(|one| drop(one.hears("retrying StoreReset")));
    let first = wait_for("a leader", || {
        assert!(claiming(&mut line).len() <= 1, "two lead");
        claiming(&mut line).first().copied()
    });
    let quiet = TTL_MS * 12 / 10;
    assert!(now_ms() - wiped > quiet, "after {} ms", now_ms() - wiped);
    let after = store(&cluster).members("/same");
    assert!(after.iter().any(|(key, _)| before.iter().any(|(old, _)| old == key)), "{before:?} {after:?}");

    // Each has an entry of its own, and leads by it when its turn comes.
    let mut tokens = Vec::new();
    let mut at = first;
    while tokens.len() < 3 {
        let members = store(&cluster).members("/same");
        assert_eq!(members.len(), 3 - tokens.len(), "{members:?}");
        let token = store(&cluster).created(&members[0].0);
        assert_eq!(line[at].claims(), format!("yes {token}"));
        assert!(tokens.last() < Some(&token));
        tokens.push(token);
        line.remove(at).stop();
        if !line.is_empty() {
            at = wait_for("the next", || claiming(&mut line).first().copied());
        }
    }
}

/// What cannot be noticed from the store's index: it has grown past what was known. Here another member has even got the
/// very entry, under the same name and index, and both believe to hold it; the first refresh that is refused ends that.
#[test]
fn two_that_hold_one_entry_after_a_wipe_part_at_the_next_refresh() {
    let mut cluster = single();
    let direct = cluster.urls();
    let proxy = Proxy::before(cluster.client_address(0));
    let behind_proxy = [proxy.url()];
    store(&cluster).write_elsewhere(30);
    // Its first refresh comes after half of this.
    let slow = Setup { ttl_s: 20, ..v2(&behind_proxy, "/twins") };
    let mut one = slow.start("same");
    let token = one.elected();
    proxy.refuse();
    proxy.reset();
    cluster.wipe();
    let mut index = 0;
    while index < token - 1 {
        let written = store(&cluster).v2("PUT", "/elsewhere/x", "value=x");
        index = written.body["node"]["modifiedIndex"].as_u64().expect("an index");
    }
    let mut other = Setup { ttl_s: 20, ..v2(&direct, "/twins") }.start("same");
    assert_eq!(other.elected(), token, "it has got the same entry");
    store(&cluster).write_elsewhere(10);
    proxy.pass();
    let mut line = [one, other];
    wait_for("each to have an entry of its own, and one to lead", || {
        (store(&cluster).members("/twins").len() == 2 && claiming(&mut line).len() == 1).then_some(())
    });
    [one, other] = line;
    let first = store(&cluster).created(&store(&cluster).members("/twins")[0].0);
    let (leads, waits) = if one.claims() == "no" { (&mut other, &mut one) } else { (&mut one, &mut other) };
    assert_eq!(leads.claims(), format!("yes {first}"));
    leads.stop();
    assert!(waits.elected() > first);
    assert_eq!(store(&cluster).members("/twins").len(), 1);
}

/// Which of them lead.
fn claiming(line: &mut [Candidate]) -> Vec<usize> {
    (0..line.len()).filter(|at| line[*at].claims().starts_with("yes")).collect()
}

#[test]
fn a_refresh_whose_answer_was_lost_costs_nothing() {
    let cluster = single();
    let puts = AtomicUsize::new(0);
    // After a lost one, one is refused, and tells us that we had been there already.
    let forwarder = Forwarder::before(cluster.client_address(0), move |request| {
        match is_put(request) && puts.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            true => Treatment::LoseAnswer,
            false => Treatment::Pass,
        }
    });
    let urls = [forwarder.url()];
    let mut one = v2(&urls, "/refresh").start("one");
    let token = one.elected();
    wait_for("three lost answers", || (forwarder.treated().len() >= 3).then_some(()));
    // Well beyond what the last one that was known to be applied has bought.
    std::thread::sleep(Duration::from_millis(TTL_MS));
    assert_eq!(one.claims(), format!("yes {token}"));
    assert!(!one.has_said("unelected"), "{:#?}", one.log());
    assert_eq!(store(&cluster).names("/refresh"), ["one"]);
}

#[test]
fn a_join_whose_answer_was_lost_leaves_a_ghost_that_nobody_adopts() {
    let cluster = single();
    let posts = AtomicUsize::new(0);
    let forwarder = Forwarder::before(cluster.client_address(0), move |request| {
        match request.starts_with("POST ") && posts.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Treatment::LoseAnswer,
            false => Treatment::Pass,
        }
    });
    let (urls, direct) = ([forwarder.url()], cluster.urls());
    let mut one = v2(&urls, "/ghost").start("one");
    let members = wait_for("the ghost and the entry", || {
        Some(store(&cluster).members("/ghost")).filter(|members| members.len() == 2)
    });
    let begun = now_ms();
    let busy = waits(&cluster, std::slice::from_ref(&one));
    let token = store(&cluster).created(&members[1].0);
    let two = v2(&direct, "/ghost").start("two");
    assert_eq!(one.claims(), "no", "its ghost is ahead of it");
    assert_eq!(one.elected(), token);
    let bound = begun + TTL_MS + 2500 + millis(busy.so_far());
    assert!(now_ms() < bound, "took {} ms", now_ms() - begun);
    two.hears("leader one");
    assert_eq!(store(&cluster).names("/ghost"), ["one", "two"]);
    one.stop();
    two.elected();
    check_terms(&[&one, &two]);
}

#[test]
fn an_entry_that_somebody_touched_is_given_up_and_does_not_stay() {
    let cluster = single();
    let urls = cluster.urls();
    for (key, touch) in [
        // What has a time to live runs out; it might be another member's. (This one longer than until our next refresh.)
        ("/ttl", "prevExist=true&value=one&ttl=4"),
        ("/value", "prevExist=true&value=stranger&ttl=2"),
        // What has none would stay.
        ("/no-ttl", "prevExist=true&value=one"),
        ("/anew", "value=one"),
    ] {
        let mut line = v2(&urls, key).line_up(&["one", "two"]);
        let own = store(&cluster).key_of(key, "one");
        store(&cluster).v2("PUT", &own, touch);
        assert_eq!(line[0].hears("unelected"), "KeyLost", "{key}");
        line[1].elected();
        wait_for("one to join again, and nothing else to be there", || {
            let members = store(&cluster).members(key);
            let names: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
            (names == ["two", "one"] && members.iter().all(|(key, _)| *key != own)).then_some(())
        });
        // Who leads when is judged by claims, in core/tests/faults: what a loss is told by may be printed a moment later.
        line[1].stop();
        line[0].elected();
    }
}

#[test]
fn the_directory_is_deleted_under_everybody() {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = v2(&urls, "/directory").line_up(&["one", "two", "three"]);
    store(&cluster).v2("DELETE", "/directory?recursive=true", "");
    assert_eq!(line[0].hears("unelected"), "KeyLost");
    store(&cluster).wait_for_members("/directory", 3);
    let leader = wait_for("a leader", || claiming(&mut line).first().copied());
    assert_eq!(store(&cluster).names("/directory")[0], line[leader].name);
    let left = |line: &mut Vec<Candidate>, at: usize| line.remove(at).stop();
    let mut at = leader;
    while line.len() > 1 {
        left(&mut line, at);
        at = wait_for("the next", || claiming(&mut line).first().copied());
        assert_eq!(claiming(&mut line).len(), 1);
    }
}

#[test]
fn a_key_that_holds_a_value_is_fatal_and_the_message_helps() {
    let cluster = single();
    let urls = cluster.urls();
    store(&cluster).put("/config/value", "x");
    for key in ["/config/value", "/config/value/below"] {
        let one = v2(&urls, key).start("one");
        let said = one.hears("failed NotADirectory");
        assert!(said.contains("/config/value") && said.contains("delete that value"), "{said}");
        one.hears("ended");
    }
}

#[test]
fn members_without_v2_are_fatal_and_the_message_helps() {
    let cluster = Cluster::of(3, &["--enable-v2=false"]);
    let urls = cluster.urls();
    for urls in [&urls[..], &urls[..1]] {
        let one = v2(urls, "/off").start("one");
        let said = one.hears("failed Unsupported");
        assert!(said.contains("--enable-v2=true") && said.contains("API v3"), "{said}");
        one.hears("ended");
    }
}

/// A member that answers every request as etcd 3.6 does, which has no v2 any more.
fn member_of_3_6() -> String {
    const ANSWER: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
                          X-Content-Type-Options: nosniff\r\nContent-Length: 19\r\n\r\n404 page not found\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                while client.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    let _ = client.write_all(ANSWER.as_bytes());
                }
            });
        }
    });
    format!("http://{address}")
}

#[test]
fn one_member_without_v2_ends_nothing_while_another_serves_it() {
    let cluster = single();
    let (off, on) = (member_of_3_6(), cluster.urls().remove(0));
    let both = [off.clone(), on.clone()];
    for urls in [both.clone(), [on, off.clone()]] {
        let mut one = v2(&urls, "/some").start("one");
        let token = one.elected();
        std::thread::sleep(Duration::from_millis(TTL_MS));
        assert_eq!(one.claims(), format!("yes {token}"));
        one.stop();
        assert!(!one.has_said("failed"), "{:#?}", one.log());
    }
    // Each has its own reason to refuse us for good: they do not agree, so it is tried again.
    store(&cluster).put("/value", "x");
    let one = v2(&both, "/value").start("one");
    one.hears("retrying");
    std::thread::sleep(Duration::from_secs(1));
    store(&cluster).delete("/value");
    one.elected();
    let alone = [off];
    let said = v2(&alone, "/none").start("one").hears("failed Unsupported");
    assert!(said.contains("etcd 3.6 has no v2"), "{said}");
}

#[test]
fn the_two_apis_do_not_see_each_other() {
    let cluster = Cluster::of(1, BOTH);
    let urls = cluster.urls();
    let mut old = v2(&urls, "/both").start("old");
    let mut new = Setup::new(&urls, "/both", TTL_S).start("new");
    let (old_token, new_token) = (old.elected(), new.elected());
    let names = |api| Store { cluster: &cluster, api }.names("/both");
    assert_eq!((names(Api::V2), names(Api::V3)), (vec!["old".to_string()], vec!["new".to_string()]));
    std::thread::sleep(Duration::from_millis(TTL_MS));
    assert_eq!((old.claims(), new.claims()), (format!("yes {old_token}"), format!("yes {new_token}")));
    assert!(![&old, &new].iter().any(|one| one.has_had_trouble()));
}

#[test]
fn a_hundred_candidates_in_one_process_all_stay() {
    const MEMBERS: usize = 100;
    // A busy machine needs five seconds now and then until it has renewed a hundred entries.
    const TTL_S: u32 = 10;
    let cluster = single();
    let config = |name: String| Config {
        endpoints: cluster.urls(),
        key: "/hundred".into(),
        name,
        ttl_s: TTL_S,
        api: Api::V2,
        ..Config::default()
    };
    let all: Vec<Election> =
        (0..MEMBERS).map(|at| Election::start(&config(format!("member {at}"))).expect("started")).collect();
    // A join whose answer came too late leaves an entry for a while that nobody renews.
    let joined = wait_for("each to have one place", || {
        let joined = store(&cluster).members("/hundred");
        let names: BTreeSet<&String> = joined.iter().map(|(_, name)| name).collect();
        (joined.len() == MEMBERS && names.len() == MEMBERS).then_some(joined)
    });
    std::thread::sleep(2 * Duration::from_secs(TTL_S.into()));
    assert_eq!(store(&cluster).members("/hundred"), joined, "each has the place that it had two ttls ago");
    assert_eq!(all.iter().filter(|one| one.is_leader()).count(), 1);
}

/// A refresh must not touch it: it was adopted, renewed under our name, and led by, and its owner was told that its key was
/// lost.
#[test]
fn another_name_gets_our_number_after_a_wipe_and_keeps_it() {
    let mut cluster = single();
    let direct = cluster.urls();
    let proxy = Proxy::before(cluster.client_address(0));
    let behind_proxy = [proxy.url()];
    let one = Setup { ttl_s: 20, ..v2(&behind_proxy, "/named") }.start("one");
    let token = one.elected();
    proxy.refuse();
    proxy.reset();
    cluster.wipe();
    let mut other = Setup { ttl_s: 20, ..v2(&direct, "/named") }.start("other");
    assert_eq!(other.elected(), token, "it has got the same entry");
    store(&cluster).write_elsewhere(10);
    proxy.pass();
    store(&cluster).wait_for_members("/named", 2);
    assert_eq!(store(&cluster).names("/named"), ["other", "one"]);
    assert_eq!(other.claims(), format!("yes {token}"));
    assert!(!other.has_said("unelected"), "it was robbed: {:#?}", other.log());
}
