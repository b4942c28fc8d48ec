//! The verbs that have an answer.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use etcd_leader::ErrorKind;
use etcd_leader::machine::{Answer, LINE, Op, Seen};
use etcd_leader::member::{Member, OWN_TTL};

use crate::bench::{Bench, PREFIX, SOON, Server, V2_ON, curl, curled, etcd_answer, look, post, text, withdraw};
use support::Cluster;

fn etcd() -> Cluster {
    Cluster::of(1, V2_ON)
}

#[tokio::test]
async fn a_post_makes_an_entry_and_says_where_it_is() {
    let cluster = etcd();
    let mut bench = Bench::on(&cluster.urls());
    let (link, opened) = bench.open(0).await.expect("a link");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    assert!(opened.cluster != 0, "{opened:?}");
    assert!(opened.clock_s.is_some_and(|clock| clock.abs_diff(now) <= 2), "{opened:?}");

    let reply = bench.ask(link, post("one", 60)).await.expect("posted");
    let Answer::Posted { own } = reply.answer.clone() else { panic!("{reply:?}") };
    assert_eq!(reply.stamp.cluster, opened.cluster);
    assert!(reply.stamp.revision > opened.revision && reply.stamp.term >= 1, "{reply:?}");
    let expected = format!("/jobs/nightly/{:020}", own.revision);
    let name = b"one".to_vec();
    assert_eq!(own, Member { key: expected.into(), name, revision: reply.stamp.revision, lease: OWN_TTL });
    let again = bench.member(link, "one").await;
    assert!(again.revision > own.revision, "a post that is repeated makes another entry");
}

#[tokio::test]
async fn a_look_ranks_by_age_and_counts_only_members() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let nobody = Member { key: b"/jobs/nightly/x".into(), name: vec![], revision: 1, lease: 0 };
    assert_eq!(bench.look(link, &nobody).await, Seen::default(), "no directory is an empty one");

    let first = bench.member(link, "first").await;
    curled(&cluster, "PUT /v2/keys/jobs/nightly/deeper/one", "value=x");
    curled(&cluster, "PUT /v2/keys/jobs/nightly/_hidden", "value=x");
    curled(&cluster, "PUT /v2/keys/jobs/nightly/000", "value=by+hand");
    let by_hand = Member { key: b"/jobs/nightly/000".into(), name: b"by hand".into(), revision: 0, lease: 0 };
    let second = bench.member(link, "second").await;
    let third = bench.member(link, "third").await;

    let seen = bench.look(link, &third).await;
    let by_hand = Member { revision: seen.first[1].revision, ..by_hand };
    let all = [first.clone(), by_hand.clone(), second.clone(), third.clone()];
    assert_eq!(seen.first, all, "by the revision, not by the key");
    assert_eq!(seen.latest, [third.clone(), second.clone()]);
    assert_eq!(seen.own, Some(third));
    let seen = bench.look(link, &second).await;
    assert_eq!((seen.own, seen.latest), (Some(second.clone()), vec![second, by_hand]), "none above ours");
    let seen = bench.look(link, &first).await;
    assert_eq!((seen.own, seen.latest), (Some(first.clone()), vec![first]));
}

#[tokio::test]
async fn of_many_a_look_tells_the_first() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let mut all = Vec::new();
    for at in 0..LINE + 2 {
        all.push(bench.member(link, &format!("{at}")).await);
    }
    let seen = bench.look(link, &all[LINE + 1]).await;
    assert_eq!((seen.first.as_slice(), seen.count), (&all[..LINE], all.len()));
    assert_eq!(seen.latest, [all[LINE + 1].clone(), all[LINE].clone()]);
}

#[tokio::test]
async fn a_check_tells_which_of_the_keys_stand() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let (one, two) = (bench.member(link, "one").await, bench.member(link, "two").await);
    let keys = vec![two.key.clone(), one.key.clone()];
    let asked = bench.send(link, Op::Check { keys: keys.clone() });
    let reply = bench.reply(asked).await.expect("an answer");
    assert_eq!(reply.answer, Answer::Glimpsed { found: vec![Some(two.clone()), Some(one.clone())] });
    assert_eq!(reply.stamp.revision, two.revision);
    assert_eq!(bench.answer(link, withdraw(&one)).await, Answer::Left { was_there: true });
    assert_eq!(bench.answer(link, Op::Check { keys }).await, Answer::Glimpsed { found: vec![Some(two), None] });
}

#[tokio::test]
async fn a_quiet_refresh_prolongs_the_entry_and_changes_nothing_else() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let Answer::Posted { own: ours } = bench.answer(link, post("one", 5)).await else { panic!("not posted") };
    let (applied, found) = bench.refresh(link, &ours, ours.revision, false).await;
    let written = found.expect("found");
    assert!(applied && written.at > ours.revision);
    assert_eq!(written.member, ours);
    let entry = curled(&cluster, &format!("GET /v2/keys{}", text(&ours.key)), "");
    assert!(entry.contains(r#""ttl":60"#) || entry.contains(r#""ttl":59"#), "{entry}");
    let (applied, again) = bench.refresh(link, &ours, written.at, true).await;
    assert!(applied && again.as_ref().is_some_and(|again| again.at > written.at && again.member == ours), "{again:?}");
}

#[tokio::test]
async fn a_refresh_writes_only_what_we_wrote_last() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    let path = format!("/v2/keys{}", text(&ours.key));
    for visible in [false, true] {
        let (_, written) = bench.refresh(link, &ours, current(&cluster, &path), visible).await;
        let written = written.expect("written");
        let (applied, found) = bench.refresh(link, &ours, ours.revision, visible).await;
        assert_eq!((applied, found), (false, Some(written)), "a stale one shows what is there");
    }

    curled(&cluster, &format!("PUT {path}"), "value=theirs");
    let (applied, found) = bench.refresh(link, &ours, ours.revision, false).await;
    let found = found.expect("somebody's");
    assert!(!applied && found.member.revision > ours.revision, "{found:?}");
    assert_eq!((found.member.name.as_slice(), found.member.lease), (&b"theirs"[..], 0), "without a ttl");

    curled(&cluster, &format!("DELETE {path}"), "");
    assert_eq!(bench.refresh(link, &ours, found.at, false).await, (false, None), "gone");
    assert_eq!(bench.refresh(link, &ours, found.at, true).await, (false, None), "and not made again");
    curled(&cluster, &format!("PUT {path}/below"), "value=x");
    assert_eq!(bench.refresh(link, &ours, found.at, false).await, (false, None), "a directory is no entry");
}

fn current(cluster: &Cluster, path: &str) -> u64 {
    let answer = curled(cluster, &format!("GET {path}"), "");
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    body["node"]["modifiedIndex"].as_u64().expect("an index")
}

#[tokio::test]
async fn a_leave_takes_only_what_its_revision_created() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    let leave = |own: &Member, revision| Op::Withdraw {
        key: own.key.clone(),
        name: b"one".into(),
        revision,
        written: revision,
    };
    assert_eq!(bench.answer(link, leave(&ours, ours.revision - 1)).await, Answer::Left { was_there: false });
    assert_eq!(bench.look(link, &ours).await.own, Some(ours.clone()), "another's revision takes nothing");
    bench.refresh(link, &ours, ours.revision, false).await;
    assert_eq!(
        bench.answer(link, leave(&ours, ours.revision)).await,
        Answer::Left { was_there: true },
        "whatever was refreshed since"
    );
    assert_eq!(bench.look(link, &ours).await, Seen::default());
    assert_eq!(
        bench.answer(link, leave(&ours, ours.revision)).await,
        Answer::Left { was_there: false },
        "also if it is gone"
    );
    let ours = bench.member(link, "one").await;
    assert_eq!(
        bench.answer(link, leave(&ours, ours.revision)).await,
        Answer::Left { was_there: true },
        "at once, if nothing was written since"
    );
    assert_eq!(bench.look(link, &ours).await, Seen::default());
}

/// As after a wipe, when the store gives keys and numbers out again.
#[tokio::test]
async fn a_leave_spares_another_name_that_has_our_key_and_number_unless_it_would_stay_for_ever() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let theirs = bench.member(link, "another").await;
    let (revision, written) = (theirs.revision, theirs.revision);
    let withdraw = || Op::Withdraw { key: theirs.key.clone(), name: b"one".into(), revision, written };
    assert_eq!(bench.answer(link, withdraw()).await, Answer::Spared);
    assert_eq!(bench.look(link, &theirs).await.own, Some(theirs.clone()));
    curled(&cluster, &format!("PUT /v2/keys{}", text(&theirs.key)), "value=another&ttl=&prevExist=true");
    assert_eq!(bench.look(link, &theirs).await.own, Some(Member { lease: 0, ..theirs.clone() }));
    assert_eq!(bench.answer(link, withdraw()).await, Answer::Left { was_there: true });
    assert_eq!(bench.look(link, &theirs).await, Seen::default());
}

#[tokio::test]
async fn keys_and_names_are_taken_byte_for_byte() {
    let cluster = etcd();
    for prefix in [
        "/a b/c/",
        "/50%/",
        "/x#y?z/",
        "/Wahl/größe/",
        "/a+b&c=d/",
        "/%41/",
        "/_hidden/",
        "/\"\\/",
        "plain/",
        "/a:b;c/",
    ] {
        let mut bench = Bench::on(&cluster.urls());
        let link = bench.open_for(0, prefix.as_bytes()).await.expect(prefix).0;
        let name = format!("I & you + 50% = \"<ü>\"\\\n {prefix}");
        let op = Op::Post { prefix: prefix.into(), name: name.clone().into(), ttl_s: 60 };
        let Answer::Posted { own } = bench.answer(link, op).await else { panic!("{prefix}: not posted") };
        assert_eq!((text(&own.name), own.lease), (name.as_str(), OWN_TTL));
        assert!(own.key.starts_with(prefix.as_bytes()), "{prefix}: {}", text(&own.key));
        let op = Op::Look { prefix: prefix.into(), own: own.key.clone(), up_to: own.revision };
        let seen = Seen { own: Some(own.clone()), latest: vec![own.clone()], first: vec![own.clone()], count: 1 };
        assert_eq!(bench.answer(link, op).await, Answer::Looked(seen), "{prefix}");
        let watch = bench.watching(link, &own.key, own.revision + 1).await;
        let (applied, written) = bench.refresh(link, &own, own.revision, true).await;
        assert!(applied, "{prefix}");
        assert_eq!(bench.change(watch).await.now, written.map(|written| written.member), "{prefix}");
        assert_eq!(bench.answer(link, withdraw(&own)).await, Answer::Left { was_there: true });
        assert_eq!(bench.change(watch).await.now, None, "{prefix}");
    }
}

#[tokio::test]
async fn keys_that_etcd_would_take_for_others_are_refused() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let op = Op::Post { prefix: b"/a/../jobs/".into(), name: b"n".into(), ttl_s: 60 };
    let failure = bench.ask(link, op).await.expect_err("refused");
    assert_eq!(failure.kind, ErrorKind::Invalid, "{failure:?}");
    assert!(curl(&cluster, "GET /v2/keys/jobs", "").contains("Key not found"));
}

#[tokio::test]
async fn a_key_that_holds_a_value_is_no_directory() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    curled(&cluster, "PUT /v2/keys/jobs/nightly", "value=x");
    let nobody = Member { key: b"/jobs/nightly/1".into(), name: vec![], revision: 1, lease: 0 };
    for op in [
        Op::Open { endpoint: 0, key: PREFIX.into(), patience: std::time::Duration::ZERO, is_proof: true },
        post("one", 60),
        look(&nobody),
    ] {
        let link = if matches!(op, Op::Open { .. }) { etcd_leader::machine::LinkId(bench.fresh()) } else { link };
        let failure = bench.ask(link, op).await.expect_err("no directory");
        assert_eq!(failure.kind, ErrorKind::NotADirectory, "{failure:?}");
        assert!(
            failure.detail.contains("/jobs/nightly") && failure.detail.contains("choose another key"),
            "{failure:?}"
        );
    }
    let failure = bench.open_for(0, b"/jobs/nightly/deeper/").await.expect_err("below a file");
    assert_eq!(failure.kind, ErrorKind::NotADirectory, "{failure:?}");
}

#[tokio::test]
async fn a_member_without_its_majority_answers_no_look() {
    let mut cluster = Cluster::of(3, V2_ON);
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    cluster.member(1).kill();
    cluster.member(2).kill();
    let plain = curl(&cluster, "GET /v2/keys/jobs/nightly", "");
    assert!(plain.contains("one"), "a read without a quorum would be answered: {plain}");
    let asked = [look(&ours), post("two", 60), withdraw(&ours)];
    let asked: Vec<_> = asked.into_iter().map(|op| bench.send(link, op)).collect();
    for asked in asked {
        let failure = tokio::time::timeout(SOON, bench.reply(asked)).await.expect("soon").expect_err("no quorum");
        assert!(matches!(failure.kind, ErrorKind::Timeout | ErrorKind::NoQuorum), "{failure:?}");
        assert!(!failure.kind.is_definite_refusal());
        assert!(failure.detail.starts_with(&cluster.urls()[0]), "{failure:?}");
    }
}

#[tokio::test]
async fn verbs_of_v3_are_not_spoken() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let leave = Op::Leave { key: b"/jobs/nightly/1".into(), revision: 1 };
    let asked = [Op::Grant { lease: 1, ttl_s: 5 }, Op::Renew { lease: 1 }, Op::Revoke { lease: 1 }, leave];
    let kinds: BTreeSet<_> = {
        let mut kinds = BTreeSet::new();
        for op in asked {
            kinds.insert(bench.ask(link, op).await.expect_err("v3").kind);
        }
        kinds
    };
    assert_eq!(kinds, BTreeSet::from([ErrorKind::Internal]));
}

/// A server that knows one entry of the election, and does nothing of what it is asked.
fn recorder() -> Server {
    Server::new(|head, client| {
        let entry = r#"{"key":"/jobs/nightly/7","value":"a b","createdIndex":7,"modifiedIndex":39}"#;
        let answer = match head {
            _ if head.starts_with("GET /v2/keys/jobs/nightly/7") => {
                etcd_answer("200 OK", &format!(r#"{{"action":"get","node":{entry}}}"#))
            }
            _ if head.starts_with("GET") => etcd_answer(
                "404 Not Found",
                r#"{"errorCode":100,"message":"Key not found","cause":"/jobs","index":40}"#,
            ),
            _ => etcd_answer(
                "412 Precondition Failed",
                r#"{"errorCode":101,"message":"Compare failed","cause":"[1 != 39]","index":40}"#,
            ),
        };
        let _ = client.write_all(answer.as_bytes());
    })
}

#[tokio::test]
async fn each_verb_asks_for_exactly_this() {
    let (key, name) = (b"/jobs/nightly/7".to_vec(), b"a b".to_vec());
    let refresh = |visible| Op::Refresh { key: key.clone(), name: name.clone(), written: 39, ttl_s: 9, visible };
    let entry = "GET /v2/keys/jobs/nightly/7?quorum=true";
    let at_once = "DELETE /v2/keys/jobs/nightly/7?prevIndex=38&prevValue=a%20b";
    for (op, wanted) in [
        (post("a b", 9), vec![("POST /v2/keys/jobs/nightly", "value=a%20b&ttl=9")]),
        (
            refresh(false),
            vec![
                ("PUT /v2/keys/jobs/nightly/7", "refresh=true&ttl=9&prevExist=true&prevIndex=39&prevValue=a%20b"),
                (entry, ""),
            ],
        ),
        (
            refresh(true),
            vec![
                ("PUT /v2/keys/jobs/nightly/7", "value=a%20b&ttl=9&prevExist=true&prevIndex=39&prevValue=a%20b"),
                (entry, ""),
            ],
        ),
        (
            Op::Look { prefix: PREFIX.into(), own: key.clone(), up_to: 7 },
            vec![("GET /v2/keys/jobs/nightly?quorum=true", "")],
        ),
        (
            Op::Withdraw { key: key.clone(), name: name.clone(), revision: 7, written: 38 },
            vec![(at_once, ""), (entry, ""), ("DELETE /v2/keys/jobs/nightly/7?prevIndex=39", "")],
        ),
        (
            Op::Withdraw { key: key.clone(), name: name.clone(), revision: 6, written: 38 },
            vec![(at_once, ""), (entry, "")],
        ),
        (
            Op::Check { keys: vec![key.clone(), b"/jobs/nightly/6".into()] },
            vec![("GET /v2/keys/jobs/nightly/7", ""), ("GET /v2/keys/jobs/nightly/6", "")],
        ),
    ] {
        let mut server = recorder();
        let mut bench = Bench::on(&[server.url()]);
        let link = bench.open(0).await.expect("a link").0;
        server.request().await;
        let _ = bench.ask(link, op).await;
        for (line, form) in wanted {
            let request = server.request().await;
            let (head, body) = request.split_once("\r\n\r\n").expect("a head");
            assert_eq!((head.lines().next(), body), (Some(format!("{line} HTTP/1.1").as_str()), form));
        }
        assert!(server.requests.try_recv().is_err(), "and for nothing more");
    }
}

#[tokio::test]
async fn a_leave_that_is_overtaken_by_a_write_is_a_failure_to_be_repeated() {
    let server = recorder();
    let mut bench = Bench::on(&[server.url()]);
    let link = bench.open(0).await.expect("a link").0;
    let leave = Op::Withdraw { key: b"/jobs/nightly/7".into(), name: b"a b".into(), revision: 7, written: 38 };
    let failure = bench.ask(link, leave).await.expect_err("written meanwhile");
    assert_eq!(failure.kind, ErrorKind::Server, "{failure:?}");
    assert!(failure.detail.contains("/jobs/nightly/7 was written meanwhile"), "{failure:?}");
}
