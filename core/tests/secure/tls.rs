//! Certificates: whom an election trusts, who trusts it, and what it says if not.

use std::fs;
use std::path::PathBuf;

use etcd_leader::Config;
use etcd_leader::config::Secret;

use super::candidate::{Candidate, PLANTED, check_silence, config, with_user};
use super::house::{House, good, with_identity};
use super::pki::{Ca, For, replace};

#[test]
fn an_election_runs_over_tls_with_certificates_on_both_sides() {
    let house = House::new(good, true);
    let files = house.client("client");
    let one = Candidate::start(&with_identity(house.config("one"), &files));
    one.hears("elected");
    // The other has all as text, and names the server otherwise.
    let text = |path: &PathBuf| Some(Secret::new(fs::read_to_string(path).expect("PEM")));
    let two = Config {
        endpoints: vec![house.cluster.https_url("localhost")],
        ca_file: None,
        ca_pem: text(&house.ca_file),
        cert_pem: text(&files.cert),
        key_pem: text(&files.key),
        ..house.config("two")
    };
    let two = Candidate::start(&two);
    two.hears("leader one");
    one.stop();
    two.hears("elected");
}

#[test]
fn a_missing_client_certificate_is_reported_and_one_that_was_put_there_is_taken() {
    let house = House::new(good, true);
    let none = Candidate::start(&house.config("none"));
    none.retries(&["Untrusted", "wants a client certificate", "cert_file"]);

    let stranger = Ca::new("a stranger").issue(&[], For::Client).write(house.directory.path(), "stranger");
    let two = Candidate::start(&with_identity(house.config("two"), &stranger));
    two.retries(&["Untrusted", "client certificate"]);
    house.ca.issue(&[], For::Client).replace(&stranger);
    two.hears("elected");
    assert!(!none.has_said("failed"), "a certificate is a matter of repair, not of the end");
}

/// In TLS 1.3 the server looks at our certificate when the handshake is over for us, and what it says is lost if we write
/// meanwhile: that was told as a broken connection every other time.
#[test]
fn a_certificate_that_is_missing_or_unknown_there_is_told_with_that_cause_every_time() {
    let house = House::new(good, true);
    let stranger = Ca::new("a stranger").issue(&[], For::Client).write(house.directory.path(), "stranger");
    for at in 0..20 {
        // So long that a slow handshake on a busy machine is not told first.
        let none = Config { ttl_s: 60, ..house.config(&format!("none-{at}")) };
        for config in [with_identity(none.clone(), &stranger), none] {
            let said = Candidate::start(&config).hears("retrying");
            assert!(said.starts_with("Untrusted"), "round {at}: {said}");
        }
    }
}

#[test]
fn a_wrong_ca_is_reported_and_healed_by_replacing_the_file() {
    let mut house = House::new(good, false);
    Ca::new("the wrong CA").write(&house.ca_file);
    let one = Candidate::start(&house.config("one"));
    let said = one.retries(&["Untrusted", "not signed by a CA in ca_file"]);
    assert!(said.contains(&house.ca_file.display().to_string()), "{said}");
    house.ca.write(&house.ca_file);
    one.hears("elected");

    // The other way round: the CA was taken away meanwhile, which counts from the next connection on.
    Ca::new("the wrong CA").write(&house.ca_file);
    house.restart();
    one.retries(&["not signed by a CA in ca_file"]);
    house.ca.write(&house.ca_file);
    one.recovers();
}

#[test]
fn a_server_certificate_that_has_expired_is_reported_with_the_date() {
    let mut house = House::new(|ca| ca.issue_between(&["127.0.0.1"], For::Server, (2020, 2021)), false);
    let one = Candidate::start(&house.config("one"));
    one.retries(&["Untrusted", "expired on 2021-01-01 00:00 UTC"]);
    good(&house.ca).replace(&house.server);
    house.restart();
    one.hears("elected");
}

#[test]
fn a_server_certificate_that_is_not_valid_yet_is_reported_with_the_date() {
    let house = House::new(|ca| ca.issue_between(&["127.0.0.1"], For::Server, (2090, 2100)), false);
    let one = Candidate::start(&house.config("one"));
    one.retries(&["Untrusted", "not valid before 2090-01-01 00:00 UTC", "clock"]);
}

#[test]
fn a_server_certificate_for_another_name_is_reported_with_the_names_that_it_holds() {
    let mut house = House::new(|ca| ca.issue(&["etcd-1.example", "10.0.0.1"], For::Server), false);
    let one = Candidate::start(&house.config("one"));
    one.retries(&["Untrusted", "not for 127.0.0.1", "it holds etcd-1.example, 10.0.0.1", "tls_server_name"]);
    let named = Config { tls_server_name: Some("etcd-1.example".into()), ..house.config("named") };
    let named = Candidate::start(&named);
    named.hears("elected");
    named.stop();
    good(&house.ca).replace(&house.server);
    house.restart();
    one.hears("elected");
}

#[test]
fn a_name_that_stands_in_the_common_name_only_does_not_count() {
    let house = House::new(|ca| ca.issue(&[], For::Server), false);
    let config = Config { endpoints: vec![house.cluster.https_url("localhost")], ..house.config("one") };
    Candidate::start(&config).retries(&[
        "Untrusted",
        "not for localhost",
        "holds no name",
        "common name does not count",
    ]);
}

#[test]
fn a_certificate_for_clients_is_none_for_a_server() {
    let house = House::new(|ca| ca.issue(&["127.0.0.1"], For::Client), false);
    Candidate::start(&house.config("one")).retries(&["Untrusted", "not meant for servers", "serverAuth"]);
}

#[test]
fn without_a_ca_the_systems_are_trusted_and_ours_is_not_among_them() {
    let house = House::new(good, false);
    let config = Config { ca_file: None, ..house.config("one") };
    Candidate::start(&config).retries(&["Untrusted", "not signed by a CA that this system trusts", "ca_file"]);
}

#[test]
fn a_ca_that_the_system_trusts_is_enough_and_a_process_tells_no_secret() {
    let house = House::new(good, true);
    let files = house.client("client");
    let output = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "tls::process", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", &house.ca_file)
        .env("EL_TEST_SECURE", house.cluster.https_url("127.0.0.1"))
        .env("EL_TEST_CERT", &files.cert)
        .env("EL_TEST_KEY", &files.key)
        .env("RUST_LOG", "trace")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    check_silence(&said);
    let key = fs::read_to_string(&files.key).expect("the key");
    assert!(key.lines().filter(|line| line.len() > 20).all(|line| !said.contains(line)), "{said}");
}

/// Not a test: what the process of the one above runs.
#[test]
#[ignore = "runs only in the process that another test starts"]
fn process() {
    let given = |name: &str| std::env::var(name).expect("started by another test");
    let config = Config {
        cert_file: Some(given("EL_TEST_CERT").into()),
        key_pem: Some(Secret::new(fs::read_to_string(given("EL_TEST_KEY")).expect("a key"))),
        ..with_user(config(&[given("EL_TEST_SECURE")], "/system", "one"), "worker", &format!("{PLANTED}-1"))
    };
    let one = Candidate::start(&config);
    one.hears("elected");
}

#[test]
fn http_on_a_port_of_https_and_the_reverse_are_told() {
    let house = House::new(good, false);
    let plain = house.cluster.https_url("127.0.0.1").replace("https://", "http://");
    let plain = Candidate::start(&config(&[plain], "/plain", "plain"));
    plain.retries(&["closed the connection without a word", "write https://"]);
    let secure = house.cluster.urls()[0].replace("http://", "https://");
    let secure = Candidate::start(&Config { endpoints: vec![secure], ..house.config("secure") });
    secure.retries(&["does not speak TLS", "write http://"]);
}

#[test]
fn a_client_certificate_is_rotated_on_disk_while_its_user_leads() {
    let mut house = House::new(good, true);
    let files = house.client("client");
    let one = Candidate::start(&with_identity(house.config("one"), &files));
    one.hears("elected");

    // Half a file, as a careless tool leaves it: reported, and retried.
    let next = house.ca.issue(&[], For::Client);
    fs::write(&files.cert, &next.cert[..next.cert.len() / 2]).expect("half of it");
    house.restart();
    one.retries(&["Untrusted", "cert_file", "damaged"]);
    // The new certificate, but still the old key.
    replace(&files.cert, &next.cert);
    one.retries(&["Untrusted", "do not belong together"]);
    next.replace(&files);
    one.hears("fine");

    fs::remove_file(&files.key).expect("removed");
    house.restart();
    one.retries(&["Untrusted", "key_file", "No such file"]);
    next.replace(&files);
    one.hears("fine");
}
