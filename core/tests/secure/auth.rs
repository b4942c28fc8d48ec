//! Users, passwords and roles: what is asked for, what is refused, and what is changed meanwhile.

use etcd_leader::Config;
use etcd_leader::backend::v2;
use etcd_leader::backend::v3::role_recipe;
use etcd_leader::config::Secret;

use super::candidate::{Candidate, PLANTED, config, with_user};
use super::guarded::{Guarded, password};
use super::house::{House, good, with_identity};

#[test]
fn the_role_in_the_message_is_enough_and_less_is_not() {
    let mut guarded = Guarded::open(&[]);
    guarded.switch_on();
    let without = Candidate::start(&guarded.config("/jobs/nightly", "one"));
    let said = without.hears("failed Denied");
    assert!(said.contains("\"worker\"") && said.contains("\"/jobs/nightly/\""), "{said}");
    let (_, recipe) = said.split_once("give it a role that may: ").expect("a remedy");
    let commands: Vec<&str> = recipe.split(" && ").collect();
    assert_eq!(commands, role_recipe("worker", "/jobs/nightly"));

    // Each part of the remedy is needed.
    guarded.obey(&commands[..2]);
    Candidate::start(&guarded.config("/jobs/nightly", "one")).hears("failed Denied");
    guarded.obey(&commands[2..]);
    let one = Candidate::start(&guarded.config("/jobs/nightly", "one"));
    one.hears("elected");
    let two = Candidate::start(&guarded.config("/jobs/nightly", "two"));
    two.hears("leader one");
    one.stop();
    two.hears("elected");
    guarded.root(&["role", "revoke-permission", "worker-election", "--prefix=true", "/jobs/nightly/"]);
    guarded.root(&["role", "grant-permission", "worker-election", "--prefix=true", "read", "/jobs/nightly/"]);
    let three = Config { ttl_s: 7, ..guarded.config("/jobs/nightly", "three") };
    assert!(Candidate::start(&three).hears("failed Denied").contains("\"worker\" may not use"));
}

/// Without a password etcd takes the user from the certificate's common name, which is `localhost` here.
#[test]
fn the_role_in_the_message_is_enough_for_the_user_of_a_certificate() {
    let house = House::new(good, true);
    let root = format!("root:{}", password());
    let user = format!("localhost:{}", password());
    for words in [&["user", "add", &root][..], &["user", "grant-role", "root", "root"], &["user", "add", &user]] {
        house.cluster.etcdctl(words);
    }
    house.cluster.etcdctl(&["auth", "enable"]);
    let one = with_identity(house.config("one"), &house.client("client"));
    let said = Candidate::start(&one).hears("failed Denied");
    assert!(said.contains("our certificate's common name") && said.contains("\"/tls/\""), "{said}");
    let (_, recipe) = said.split_once("give it a role that may: ").expect("a remedy");
    for command in recipe.replace("COMMON-NAME", "localhost").split(" && ") {
        let words = command.strip_prefix("etcdctl ").expect("a command of etcdctl");
        let root = format!("--user={root}");
        house.cluster.etcdctl(&words.split(' ').chain([root.as_str()]).collect::<Vec<_>>());
    }
    Candidate::start(&one).hears("elected");
}

#[test]
fn a_key_that_is_denied_disturbs_no_other_election_of_the_session() {
    let guarded = Guarded::closed(&[], "/allowed");
    // So long that a busy machine makes no trouble.
    let config = |key| Config { ttl_s: 60, ..guarded.config(key, "one") };
    let one = Candidate::start(&config("/allowed"));
    one.hears("elected");
    let denied = Candidate::start(&config("/denied"));
    assert!(denied.hears("failed Denied").contains("the keys under \"/denied/\""));
    let two = Candidate::start(&Config { name: "two".into(), ..config("/allowed") });
    two.hears("leader one");
    assert!(one.is_leader() && !one.has_said("retrying"), "{:?}", one.log());
    one.stop();
    two.hears("elected");
}

#[test]
fn the_documents_quote_the_recipes() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md")).expect("the document");
    let (user, key) = ("host-1", "/jobs/nightly");
    for recipe in [role_recipe(user, key).join("\n"), v2::role_recipe(user, key).join("\n")] {
        assert!(text.contains(&recipe), "core/docs/security.md must quote:\n{recipe}");
    }
}

#[test]
fn a_wrong_password_ends_an_election_that_never_joined() {
    let guarded = Guarded::closed(&[], "/wrong");
    let wrong = format!("{PLANTED}-wrong");
    for user in ["worker", "nobody"] {
        let config = with_user(guarded.config("/wrong", "one"), user, &wrong);
        let said = Candidate::start(&config).hears("failed Denied");
        assert!(said.contains(&format!("does not take the user {user:?}")) && said.contains("check"), "{said}");
    }
    let none = Candidate::start(&config(&guarded.cluster.urls(), "/wrong", "one"));
    assert!(none.hears("failed Denied").contains("set username and password"));
}

#[test]
fn who_differs_in_the_password_shares_no_session() {
    let guarded = Guarded::closed(&[], "/apart");
    // So long that a busy machine makes no trouble.
    let right = Config { ttl_s: 60, ..guarded.config("/apart", "one") };
    let one = Candidate::start(&right);
    one.hears("elected");
    let wrong = Config { password: Some(Secret::new("another")), name: "two".into(), ..right };
    Candidate::start(&wrong).hears("failed Denied");
    assert!(one.is_leader() && !one.has_said("retrying"), "{:?}", one.log());
}

#[test]
fn users_that_are_switched_on_meanwhile_are_asked_for_and_who_has_one_goes_on() {
    let mut guarded = Guarded::open(&[]);
    guarded.obey(&role_recipe("worker", "/on"));
    let prepared = Candidate::start(&guarded.config("/on", "prepared"));
    prepared.hears("elected");
    let unprepared = Candidate::start(&config(&guarded.cluster.urls(), "/unprepared", "one"));
    unprepared.hears("elected");
    guarded.switch_on();
    unprepared.retries(&["Denied", "etcd asks for a user", "set username and password"]);
    unprepared.hears("unelected");
    let waiting = Candidate::start(&guarded.config("/on", "waiting"));
    waiting.hears("leader prepared");
    assert!(prepared.is_leader() && !prepared.has_said("unelected"), "{:?}", prepared.log());
    guarded.switch_off();
    unprepared.hears("elected");
    assert!(prepared.is_leader() && !prepared.has_said("unelected"), "{:?}", prepared.log());
}

#[test]
fn a_password_that_is_changed_ends_leading_and_changed_back_gives_it_again() {
    let guarded = Guarded::closed(&[], "/changed");
    let one = Candidate::start(&guarded.config("/changed", "one"));
    one.hears("elected");
    guarded.set_password("worker", &format!("{PLANTED}-2"));
    one.retries(&["Denied", "does not take the user \"worker\""]);
    one.hears("unelected Deadline");
    assert!(!one.is_leader() && !one.has_said("failed"));
    guarded.set_password("worker", &password());
    one.hears("elected");
}

#[test]
fn a_token_that_is_taken_away_is_replaced_before_anybody_notices() {
    let guarded = Guarded::closed(&[], "/taken");
    let one = Candidate::start(&guarded.config("/taken", "one"));
    one.hears("elected");
    let two = Candidate::start(&guarded.config("/taken", "two"));
    two.hears("leader one");
    for count in 0..3 {
        guarded.set_password("worker", &password());
        guarded.root(&["user", "add", &format!("user-{}:{}", count, password())]);
    }
    one.stop();
    two.hears("elected");
    assert!(!two.has_said("retrying Denied"), "{:?}", two.log());
}

#[test]
fn a_role_that_is_revoked_ends_leading_and_given_back_gives_it_again() {
    let guarded = Guarded::closed(&[], "/role");
    let one = Candidate::start(&guarded.config("/role", "one"));
    one.hears("elected");
    guarded.root(&["user", "revoke-role", "worker", "worker-election"]);
    let said = one.retries(&["Denied", "the user \"worker\" may not use the keys under \"/role/\""]);
    assert!(said.contains("etcdctl user grant-role worker worker-election"), "{said}");
    one.hears("unelected");
    guarded.root(&["user", "grant-role", "worker", "worker-election"]);
    one.hears("elected");
    assert!(!one.has_said("failed"));
}
