//! Users and passwords, and a member that does not speak v2 at all.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use etcd_leader::ErrorKind;
use etcd_leader::backend::v2::role_recipe;
use etcd_leader::config::{Login, Secret};
use etcd_leader::machine::{Answer, Failure, LinkId, Op, Reply, WatchNews};

use crate::bench::{Bench, PREFIX, V2_ON, curl, curl_as, curled, look, post, withdraw};
use support::{Cluster, etcdctl_binary, session};

/// `root:hunter2`
const AS_ROOT: &str = "Authorization: Basic cm9vdDpodW50ZXIy\r\n";

/// A cluster with the users `root` and `one` (with the password `Planted-Swordfish`), that lets in nobody else.
fn guarded() -> Cluster {
    let cluster = Cluster::of(1, V2_ON);
    curled(&cluster, "PUT /v2/auth/users/root", r#"{"user":"root","password":"hunter2"}"#);
    curled(&cluster, "PUT /v2/auth/users/one", r#"{"user":"one","password":"Planted-Swordfish"}"#);
    curled(&cluster, "PUT /v2/auth/enable", "");
    let nothing = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    let answer = curl_as(&cluster, AS_ROOT, "PUT /v2/auth/roles/guest", nothing);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    cluster
}

fn bench_as(cluster: &Cluster, login: Option<(&str, &str)>) -> Bench {
    let mut settings = session(&cluster.urls());
    settings.access.login = login
        .map(|(username, password)| Login { username: username.into(), password: Secret::new(password.to_string()) });
    Bench::with(&settings)
}

fn check_denied(failure: &Failure, parts: &[&str]) {
    assert_eq!(failure.kind, ErrorKind::Denied, "{failure:?}");
    for part in parts {
        assert!(failure.detail.contains(part), "{failure:?} should say {part}");
    }
    assert!(!format!("{failure:?}").contains("Planted-Swordfish"), "{failure:?}");
}

/// Runs a command as the manager of the cluster does.
fn run(cluster: &Cluster, command: &str) {
    let etcdctl = etcdctl_binary();
    let path = format!("{}:/usr/bin:/bin", etcdctl.parent().unwrap_or(Path::new("/")).display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().env("PATH", path);
    shell.env("ETCDCTL_ENDPOINTS", cluster.urls()[0].clone()).env("ETCDCTL_USERNAME", "root:hunter2");
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
}

/// etcd checks the password with each request but this one, at the cost of its processor.
#[tokio::test]
async fn an_opening_that_need_not_read_has_no_password_checked() {
    let cluster = guarded();
    for (login, is_checked) in [(Some(("one", "wrong")), false), (None, true)] {
        let mut bench = bench_as(&cluster, login);
        let link = LinkId(bench.fresh());
        let op = Op::Open { endpoint: 0, key: PREFIX.into(), patience: Duration::ZERO, is_proof: false };
        let opened = bench.ask(link, op).await;
        // Without a password a read costs nothing, and shows more.
        assert_eq!(opened.is_err(), is_checked, "{opened:?}");
        let Ok(Reply { stamp, .. }) = opened else { continue };
        assert_ne!(stamp.cluster, 0);
        assert!(stamp.clock_s.is_some());
        assert_eq!(stamp.revision, 0);
        check_denied(&bench.ask(link, post("one", 10)).await.expect_err("a wrong password"), &["/jobs/nightly"]);
    }
}

#[tokio::test]
async fn the_role_of_the_recipe_is_enough_and_no_more() {
    let cluster = guarded();
    let mut bench = bench_as(&cluster, Some(("one", "Planted-Swordfish")));
    let failure = bench.open(0).await.expect_err("no role yet");
    let recipe = role_recipe("one", "/jobs/nightly");
    let hint = "may read and write /jobs/nightly and /jobs/nightly/*";
    check_denied(&failure, &["/jobs/nightly", "\"one\"", "Insufficient credentials", hint]);
    assert!(failure.detail.ends_with(&recipe.join(" && ")), "{failure:?}");

    for command in recipe {
        run(&cluster, &command);
    }
    let link = bench.open(0).await.expect("let in").0;
    let ours = bench.member(link, "one").await;
    assert_eq!(bench.look(link, &ours).await.own, Some(ours.clone()));
    let watch = bench.watching(link, &ours.key, ours.revision + 1).await;
    let (_, quiet) = bench.refresh(link, &ours, ours.revision, false).await;
    let (_, visible) = bench.refresh(link, &ours, quiet.expect("written").at, true).await;
    assert_eq!(bench.change(watch).await.at, visible.expect("written").at);
    let leave = withdraw(&ours);
    assert_eq!(bench.answer(link, leave).await, Answer::Left { was_there: true });
    assert_eq!(bench.change(watch).await.now, None);

    for other in ["/jobs/", "/jobs/nightly2/", "/other/"] {
        check_denied(&bench.open_for(0, other.as_bytes()).await.expect_err(other), &[other.trim_end_matches('/')]);
    }
    let watch = bench.watch(link, b"/other/1", 2);
    let WatchNews::Canceled { reason } = bench.news(watch).await else { panic!("not canceled") };
    assert!(reason.contains("Insufficient credentials") && reason.contains("/other/*"), "{reason}");
}

#[tokio::test]
async fn who_is_not_known_is_denied() {
    let cluster = guarded();
    let mut wrong = bench_as(&cluster, Some(("root", "Planted-Swordfish")));
    check_denied(&wrong.open(0).await.expect_err("wrong"), &["\"root\"", "check the password"]);
    let mut nobody = bench_as(&cluster, None);
    let hint = "give the username and password of a user that may read and write /jobs/nightly and /jobs/nightly/*";
    check_denied(&nobody.open(0).await.expect_err("nobody"), &[hint]);
    let mut root = bench_as(&cluster, Some(("root", "hunter2")));
    assert!(root.open(0).await.is_ok());
}

#[tokio::test]
async fn a_permission_that_is_taken_away_is_missed_by_every_verb() {
    let cluster = guarded();
    for command in role_recipe("one", "/jobs/nightly") {
        run(&cluster, &command);
    }
    let mut bench = bench_as(&cluster, Some(("one", "Planted-Swordfish")));
    let link = bench.open(0).await.expect("let in").0;
    let ours = bench.member(link, "one").await;
    run(&cluster, "ETCDCTL_API=2 etcdctl user revoke one --roles one-election");
    let refresh = |visible| Op::Refresh {
        key: ours.key.clone(),
        name: ours.name.clone(),
        written: ours.revision,
        ttl_s: 60,
        visible,
    };
    let leave = withdraw(&ours);
    for op in [post("two", 60), look(&ours), refresh(false), refresh(true), leave] {
        let failure = bench.ask(link, op).await.expect_err("denied");
        check_denied(&failure, &["/jobs/nightly and /jobs/nightly/*"]);
    }
}

#[tokio::test]
async fn guests_are_let_in_where_the_cluster_says_so() {
    let cluster = guarded();
    let role = r#"{"role":"guest","grant":{"kv":{"read":["/jobs/*"],"write":["/jobs/*"]}}}"#;
    let answer = curl_as(&cluster, AS_ROOT, "PUT /v2/auth/roles/guest", role);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut bench = bench_as(&cluster, None);
    let link = bench.open(0).await.expect("let in").0;
    bench.member(link, "guest").await;
}

#[tokio::test]
async fn a_member_without_v2_says_what_to_do() {
    let cluster = Cluster::of(1, &["--enable-v2=false"]);
    assert!(curl(&cluster, "GET /v2/keys/", "").contains("404 page not found"));
    let mut bench = Bench::on(&cluster.urls());
    let failure = bench.open_for(0, PREFIX).await.expect_err("no v2");
    assert_eq!(failure.kind, ErrorKind::Unsupported, "{failure:?}");
    assert!(failure.detail.starts_with(&cluster.urls()[0]), "{failure:?}");
    for part in ["start etcd with --enable-v2=true", "use API v3", "etcd 3.6 has no v2"] {
        assert!(failure.detail.contains(part), "{failure:?}");
    }
}
