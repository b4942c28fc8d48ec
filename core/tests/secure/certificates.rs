//! Certificates that etcdctl accepts: other curves and hashes, old versions, labels of OpenSSL's, and what Go is content
//! with. They are made with openssl, as their users make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use etcd_leader::config::Secret;
use etcd_leader::{Api, Config, Election};

use super::candidate::{Candidate, config};
use super::house::{House, good, with_identity};
use super::pki::{Ca, Files, Pair};
use support::port::Port;
use support::spawn::spawn;
use support::{Cluster, has_v2};

/// A folder in which openssl works.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Workshop {
        Workshop(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs openssl with the words of this line.
    fn openssl(&self, line: &str) {
        let output = Command::new("openssl").args(line.split_whitespace()).current_dir(self.0.path()).output();
        let output = output.expect("openssl; on Debian: apt-get install openssl");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key of this kind, in `name.key`.
    fn key(&self, name: &str, kind: &str) {
        match kind.strip_prefix("rsa:") {
            Some(bits) => self.openssl(&format!("genrsa -out {name}.key {bits}")),
            None => self.openssl(&format!("ecparam -genkey -noout -name {kind} -out {name}.key")),
        }
    }

    /// A certificate for 127.0.0.1 that signs itself, in `name.crt`; `more` is said to openssl beside that.
    fn self_signed(&self, name: &str, kind: &str, more: &str) {
        self.key(name, kind);
        self.openssl(&format!(
            "req -x509 -new -key {name}.key -out {name}.crt -days 30 -subj /CN={name} \
             -addext subjectAltName=IP:127.0.0.1 {more}"
        ));
    }

    /// A certificate with these extensions that `ca` has signed, in `name.crt`.
    fn signed(&self, name: &str, kind: &str, ca: &str, extensions: &str, more: &str) {
        self.key(name, kind);
        fs::write(self.path("extensions"), extensions).expect("written");
        self.openssl(&format!("req -new -key {name}.key -out {name}.csr -subj /CN={name}"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -out {name}.crt -days 30 \
             -extfile extensions {more}"
        ));
    }

    /// A certificate of version 1 that `ca` has signed.
    fn signed_v1(&self, name: &str, kind: &str, ca: &str) {
        self.key(name, kind);
        // One that names no extensions.
        fs::write(self.path("bare.cnf"), "[req]\ndistinguished_name = names\n[names]\n").expect("written");
        let new = format!("req -new -config bare.cnf -key {name}.key -subj /CN={name}");
        let signed = format!("-CA {ca}.crt -CAkey {ca}.key -out {name}.crt -days 30");
        let help = Command::new("openssl").args(["req", "-help"]).output().expect("openssl");
        if String::from_utf8_lossy(&help.stderr).contains("-x509v1") {
            // From 3.4 on, nothing else makes version 1.
            self.openssl(&format!("{new} -x509v1 {signed}"));
        } else {
            self.openssl(&format!("{new} -out {name}.csr"));
            self.openssl(&format!("x509 -req -in {name}.csr -CAcreateserial {signed}"));
        }
    }

    fn files(&self, name: &str) -> Files {
        Files { cert: self.path(&format!("{name}.crt")), key: self.path(&format!("{name}.key")) }
    }

    fn pair(&self, name: &str) -> Pair {
        let read = |path: &Path| fs::read_to_string(path).expect("PEM");
        let files = self.files(name);
        Pair { cert: read(&files.cert), key: read(&files.key) }
    }

    /// An etcd with this certificate, and an election that trusts `ca`.
    fn etcd(&self, name: &str, ca: &str) -> (House, Config) {
        let house = House::new(|_| self.pair(name), false);
        let config = Config { ca_file: Some(self.path(&format!("{ca}.crt"))), ..house.config("one") };
        (house, config)
    }
}

/// An etcd that asks for certificates, and a folder with the CA (`ca`) that it wants them of.
fn with_client_ca() -> (Workshop, House) {
    let (workshop, house) = (Workshop::new(), House::new(good, true));
    house.ca.write_with_key(&workshop.path("ca.crt"), &workshop.path("ca.key"));
    (workshop, house)
}

fn elects(config: &Config) {
    Candidate::start(config).hears("elected");
}

/// etcd 3.4 makes itself a P-256 certificate, later ones P-521; each is its own CA.
#[test]
fn a_certificate_that_etcd_makes_itself_is_its_own_ca() {
    let mut cluster = Cluster::secure(&["--auto-tls", "--enable-v2=true"]);
    let files = cluster.member(0).data_directory().join("fixtures/client/cert.pem");
    let config = Config { ca_file: Some(files), ..config(&[cluster.https_url("127.0.0.1")], "/auto", "one") };
    elects(&config);
    if has_v2() {
        elects(&Config { api: Api::V2, key: "/v2".into(), ..config });
    }
}

#[test]
fn every_curve_is_taken_with_every_hash() {
    let workshop = Workshop::new();
    for (at, (kind, hash)) in [
        ("prime256v1", "-sha512"),
        ("secp384r1", "-sha512"),
        ("secp521r1", "-sha256"),
        ("secp521r1", "-sha384"),
        ("secp521r1", "-sha512"),
    ]
    .into_iter()
    .enumerate()
    {
        let (ca, server) = (format!("ca{at}"), format!("server{at}"));
        workshop.self_signed(&ca, kind, &format!("{hash} -addext basicConstraints=critical,CA:TRUE"));
        workshop.signed(&server, kind, &ca, "subjectAltName=IP:127.0.0.1", hash);
        let (_house, config) = workshop.etcd(&server, &ca);
        elects(&config);
    }
}

#[test]
fn a_client_key_on_p521_is_used_in_both_of_its_forms() {
    let (workshop, house) = with_client_ca();
    workshop.signed("client", "secp521r1", "ca", "extendedKeyUsage=clientAuth", "-sha512");
    elects(&with_identity(house.config("sec1"), &workshop.files("client")));
    workshop.openssl("pkcs8 -topk8 -nocrypt -in client.key -out client.pk8");
    let files = Files { key: workshop.path("client.pk8"), ..workshop.files("client") };
    elects(&with_identity(house.config("pkcs8"), &files));
    // A key that is another's is still found out.
    workshop.key("other", "secp521r1");
    let files = Files { key: workshop.path("other.key"), ..files };
    let error = Election::check(&with_identity(house.config("other"), &files));
    assert!(error.expect_err("refused").detail().contains("do not belong together"));
}

/// The server judges our certificate, and Go takes version 1.
#[test]
fn a_client_certificate_of_version_1_is_shown() {
    let (workshop, house) = with_client_ca();
    workshop.signed_v1("client", "prime256v1", "ca");
    assert!(!text_of(&workshop, "client").contains("Version: 3"), "this openssl makes no version 1");
    elects(&with_identity(house.config("one"), &workshop.files("client")));
}

fn text_of(workshop: &Workshop, name: &str) -> String {
    workshop.openssl(&format!("x509 -in {name}.crt -noout -text -out {name}.text"));
    fs::read_to_string(workshop.path(&format!("{name}.text"))).expect("a text")
}

/// `openssl req -x509` says that it is a CA.
#[test]
fn a_self_signed_server_certificate_that_is_a_ca_is_trusted_if_it_was_given() {
    let workshop = Workshop::new();
    workshop.self_signed("server", "prime256v1", "-addext basicConstraints=critical,CA:TRUE");
    workshop.self_signed("stranger", "prime256v1", "-addext basicConstraints=critical,CA:TRUE");
    let (house, config) = workshop.etcd("server", "server");
    elects(&config);
    if has_v2() {
        elects(&Config { api: Api::V2, key: "/v2".into(), ..config.clone() });
    }
    // It is judged all the same: by its name, and by whether it was given.
    let elsewhere = Config { endpoints: vec![house.cluster.https_url("localhost")], ..config.clone() };
    Candidate::start(&elsewhere).retries(&["Untrusted", "not for localhost", "127.0.0.1"]);
    let stranger = Config { ca_file: Some(workshop.path("stranger.crt")), ..config };
    Candidate::start(&stranger).retries(&["Untrusted", "ca_file"]);
}

#[test]
fn a_self_signed_server_certificate_that_has_expired_is_told_with_its_date() {
    let pair = Ca::expired();
    let house = House::new(|_| pair.clone(), false);
    let config = Config { ca_file: Some(house.server.cert.clone()), ..house.config("one") };
    Candidate::start(&config).retries(&["Untrusted", "expired on 2021-01-01 00:00 UTC"]);
}

#[test]
fn a_wildcard_before_one_label_counts_as_it_does_for_etcdctl() {
    let workshop = Workshop::new();
    workshop.self_signed("ca", "prime256v1", "-addext basicConstraints=critical,CA:TRUE");
    workshop.signed("server", "prime256v1", "ca", "subjectAltName=DNS:*.local", "");
    let (_house, config) = workshop.etcd("server", "ca");
    let named = |name: &str| Config { tls_server_name: Some(name.into()), key: "/named".into(), ..config.clone() };
    elects(&named("etcd.local"));
    Candidate::start(&named("a.etcd.local")).retries(&["Untrusted", "not for a.etcd.local", "*.local"]);
    Candidate::start(&named("local")).retries(&["Untrusted", "not for local", "*.local"]);
}

#[test]
fn the_labels_of_openssl_and_of_old_tools_are_taken() {
    let workshop = Workshop::new();
    workshop.self_signed("ca", "prime256v1", "-addext basicConstraints=critical,CA:TRUE");
    workshop.signed("server", "prime256v1", "ca", "subjectAltName=IP:127.0.0.1", "");
    workshop.openssl("x509 -in ca.crt -trustout -addtrust serverAuth -out trusted.crt");
    let plain = fs::read_to_string(workshop.path("ca.crt")).expect("PEM");
    fs::write(workshop.path("x509.crt"), plain.replace(" CERTIFICATE", " X509 CERTIFICATE")).expect("written");
    let (_house, config) = workshop.etcd("server", "ca");
    for (name, label) in [("trusted.crt", "BEGIN TRUSTED CERTIFICATE"), ("x509.crt", "BEGIN X509 CERTIFICATE")] {
        let text = fs::read_to_string(workshop.path(name)).expect("PEM");
        assert!(text.contains(label), "{text}");
        elects(&Config { ca_file: Some(workshop.path(name)), key: format!("/{name}"), ..config.clone() });
    }
}

#[test]
fn rsa_keys_that_are_too_short_are_named_with_their_length() {
    let workshop = Workshop::new();
    workshop.self_signed("short", "rsa:1024", "-addext basicConstraints=critical,CA:TRUE");
    let files = workshop.files("short");
    let error = Election::check(&with_identity(config(&["https://127.0.0.1".into()], "/short", "one"), &files));
    let said = error.expect_err("refused").to_string();
    assert!(said.contains("key_file") && said.contains("an RSA key of 1024 bits"), "{said}");

    // Of a server, and of its CA.
    workshop.self_signed("ca", "rsa:2048", "-addext basicConstraints=critical,CA:TRUE");
    workshop.signed("server", "rsa:1024", "ca", "subjectAltName=IP:127.0.0.1", "");
    let (_house, config) = workshop.etcd("server", "ca");
    Candidate::start(&config).retries(&["Untrusted", "an RSA key of 1024 bits", "too short"]);
    workshop.signed("below", "rsa:2048", "short", "subjectAltName=IP:127.0.0.1", "");
    let (_house, config) = workshop.etcd("below", "short");
    Candidate::start(&config).retries(&["Untrusted", "an RSA key of 1024 bits", "too short"]);
}

#[test]
fn line_ends_that_are_two_characters_are_named() {
    let house = House::new(good, false);
    let pem = fs::read_to_string(&house.ca_file).expect("PEM").replace('\n', "\\n");
    let error = Election::check(&Config { ca_file: None, ca_pem: Some(Secret::new(pem)), ..house.config("one") });
    let said = error.expect_err("refused").to_string();
    assert!(said.contains("ca_pem") && said.contains("the two characters \\n in place of line ends"), "{said}");
}

/// A server that has no cipher suite in common with us says handshake_failure, as one that misses our certificate may.
#[test]
fn an_alert_is_about_our_certificate_only_if_the_server_asked_for_it() {
    let workshop = Workshop::new();
    workshop.self_signed("server", "rsa:2048", "");
    let port = Port::new();
    let mut server = Command::new("openssl");
    server.args([
        "s_server",
        "-tls1_2",
        "-cipher",
        "AES128-SHA",
        "-cert",
        "server.crt",
        "-key",
        "server.key",
        "-accept",
    ]);
    server.arg(port.address().to_string()).current_dir(workshop.0.path());
    // It ends with its input.
    server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = spawn(server).expect("openssl");
    let url = format!("https://{}", port.address());
    let one = Config { ca_file: Some(workshop.path("server.crt")), ..config(&[url], "/alert", "one") };
    let said = Candidate::start(&one).retries(&["Untrusted"]);
    server.kill().expect("killed");
    server.wait().expect("ended");
    assert!(said.contains("in common with us"), "{said}");
}
