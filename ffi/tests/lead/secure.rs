//! Users, passwords and TLS.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::story::{Story, programs};
use super::url;
use support::name_server::NameServer;
use support::{Cluster, wait_for};

/// The password that must be nowhere.
const PLANTED: &str = "Planted-Swordfish-1";

/// Whether a process can be seen to know the password: in its environment or command line.
fn shows_password(pid: impl std::fmt::Display) -> bool {
    ["environ", "cmdline"].iter().any(|file| {
        let found = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        found.windows(9).any(|part| part == b"Swordfish")
    })
}

#[test]
fn the_variables_of_etcdctl_count_where_an_option_is_missing() {
    let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
    for command in
        [&["user", "add", &format!("root:{PLANTED}")][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        cluster.etcdctl(command);
    }
    let story = Story::new();
    let list = format!("{}, ", url(&cluster).trim_start_matches("http://"));
    let with_password = format!("root:{PLANTED}");
    for variables in
        [vec![("ETCDCTL_USER", with_password.as_str())], vec![("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", PLANTED)]]
    {
        let mut lead = story.lead_with(&["--key", "/jobs"], &["true"], |process| {
            process.env("ETCDCTL_ENDPOINTS", &list).envs(variables);
        });
        lead.ends(0);
    }
    // Without TLS, etcdctl does not look at its variables for it.
    let mut lead = story.lead_with(&["--key", "/jobs", "--endpoints", &url(&cluster)], &["true"], |process| {
        process
            .env("ETCDCTL_USER", &with_password)
            .envs(["CACERT", "CERT", "KEY"].map(|of| (format!("ETCDCTL_{of}"), "/none")));
    });
    lead.ends(0);
    // An option goes before a variable.
    let mut lead = story.lead_with(&["--key", "/jobs", "--user", "nobody", "--wait", "20"], &["true"], |process| {
        process.env("ETCDCTL_ENDPOINTS", &list).env("ETCDCTL_USER", &with_password).env("ETCDCTL_PASSWORD", "x");
    });
    lead.ends(125);
    assert!(lead.said().contains("nobody") && !lead.said().contains("Swordfish"), "{}", lead.said());
    story.nothing_is_left();
}

#[test]
fn a_user_with_a_password_that_nobody_sees() {
    let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
    for command in [
        &["user", "add", &format!("root:{PLANTED}")][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", &format!("worker:{PLANTED}")],
        &["role", "add", "jobs"],
        &["role", "grant-permission", "jobs", "--prefix=true", "readwrite", "/jobs/"],
        &["user", "grant-role", "worker", "jobs"],
        &["auth", "enable"],
    ] {
        cluster.etcdctl(command);
    }
    let story = Story::new();
    let url = url(&cluster);
    let file = story.path("secret");
    fs::write(&file, format!("{PLANTED}\n")).expect("written");
    let from_file = ["--password-file", &file.display().to_string()].map(str::to_string);
    let job = story.job("one", &["signals", "child"]);
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    for (name, more) in [("variable", &[][..]), ("file", &from_file[..])] {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let usual = ["--endpoints", &url, "--key", "/jobs", "--ttl", "3", "--user", "worker", "--verbose"];
        let options = [&usual[..], &more].concat();
        let mut lead = story.lead_with(&options, &job, |process| {
            // With --password-file the variable is not needed, and wiped all the same.
            process.env("ETCD_LEADER_PASSWORD", if name == "file" { "another Swordfish" } else { PLANTED });
        });
        lead.says("the command runs");
        let pids: BTreeSet<i32> = wait_for("the job", || {
            let pids: BTreeSet<i32> =
                story.signs().iter().filter(|sign| sign.event == "lives").map(|sign| sign.pid).collect();
            (pids.len() >= 2).then_some(pids)
        });
        for pid in pids.into_iter().chain([lead.pid().as_raw(), lead.keeper().as_raw()]) {
            assert!(!shows_password(pid), "process {pid} shows the password");
        }
        lead.signal(Signal::SIGTERM);
        lead.ends(0);
        assert!(!lead.said().contains("Swordfish"), "{}", lead.said());
        fs::remove_file(story.path("signs")).expect("removed");
    }
    // A wrong password, and a key that the user may not use, are told; the password is not.
    for (key, password, said) in
        [("/jobs", "wrong Swordfish", "password"), ("/other", PLANTED, "etcdctl role grant-permission")]
    {
        let options = ["--endpoints", &url, "--key", key, "--ttl", "3", "--user", "worker"];
        let mut lead = story.lead_with(&options, &["true"], |process| {
            process.env("ETCD_LEADER_PASSWORD", password);
        });
        lead.ends(125);
        assert!(
            lead.said().contains("the election cannot go on: ") && lead.said().contains("(EL_DENIED)"),
            "{}",
            lead.said()
        );
        assert!(lead.said().contains(said) && !lead.said().contains("Swordfish"), "{}", lead.said());
    }
    story.nothing_is_left();
}

/// A CA and what it signs, made with openssl.
struct Ca<'a> {
    directory: &'a Path,
    name: &'static str,
}

impl Ca<'_> {
    fn new<'a>(directory: &'a Path, name: &'static str) -> Ca<'a> {
        let ca = Ca { directory, name };
        ca.openssl(&format!("req -x509 -days 3650 -subj /CN={name} -out {name}.crt"), name);
        ca
    }

    fn openssl(&self, words: &str, key: &str) {
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).current_dir(self.directory).stdin(Stdio::null());
        if words.starts_with("req") {
            command.args([
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &format!("{key}.key"),
            ]);
        }
        let output = command.output().unwrap_or_else(|error| panic!("openssl: {error}"));
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn issue(&self, name: &str, usage: &str, subject: &str) {
        fs::write(self.directory.join("ext"), format!("subjectAltName={subject}\nextendedKeyUsage={usage}\n"))
            .expect("written");
        self.openssl(&format!("req -subj /CN={name} -out {name}.csr"), name);
        let ca = self.name;
        let sign = format!(
            "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 3650 -extfile ext -out {name}.crt"
        );
        self.openssl(&sign, name);
    }
}

#[test]
fn tls_with_a_certificate_of_our_own_and_a_wrong_ca() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let ca = Ca::new(directory.path(), "ca");
    Ca::new(directory.path(), "stranger");
    ca.issue("server", "serverAuth", "IP:127.0.0.1");
    ca.issue("client", "clientAuth", "IP:127.0.0.1");
    let flags = [
        format!("--cert-file={}", path("server.crt")),
        format!("--key-file={}", path("server.key")),
        "--client-cert-auth".to_string(),
        format!("--trusted-ca-file={}", path("ca.crt")),
    ];
    let cluster = Cluster::secure(&flags.each_ref().map(String::as_str));
    let story = Story::new();
    let url = cluster.https_url("127.0.0.1");
    let (cert, key) = (path("client.crt"), path("client.key"));
    let usual = ["--endpoints", &url, "--key", "/tls", "--cert", &cert, "--key-file", &key, "--cacert"];
    let mut lead = story.lead(&[&usual[..], &[&path("ca.crt")]].concat(), &["echo", "secure"]);
    lead.ends(0);
    assert_eq!((lead.shown().as_str(), lead.said_but_for_trouble().as_str()), ("secure\n", ""));
    let mut lead =
        story.lead(&[&usual[..], &[&path("stranger.crt"), "--wait", "1", "--stop-timeout", "0"]].concat(), &["true"]);
    lead.ends(69);
    assert!(lead.said().contains("retrying: ") && lead.said().contains("(EL_UNTRUSTED)"), "{}", lead.said());
    // The key where the certificate belongs is refused at once.
    let swapped =
        ["--endpoints", &url, "--key", "/tls", "--cert", &key, "--key-file", &cert, "--cacert", &path("ca.crt")];
    let mut lead = story.lead(&swapped, &["true"]);
    lead.ends(2);
    assert!(lead.said().starts_with("lead: --cert \""), "{}", lead.said());
    story.nothing_is_left();
}

/// etcd 3.4 makes itself a P-256 certificate, later ones P-521.
#[test]
fn a_certificate_that_etcd_makes_itself_is_its_own_ca() {
    let mut cluster = Cluster::secure(&["--auto-tls"]);
    let ca = cluster.member(0).data_directory().join("fixtures/client/cert.pem").display().to_string();
    let (url, story) = (cluster.https_url("127.0.0.1"), Story::new());
    let mut lead = story.lead(&["--endpoints", &url, "--key", "/auto", "--cacert", &ca], &["true"]);
    lead.ends(0);
    story.nothing_is_left();
}

/// The DNS says where the servers are, and not which of them to trust: the certificate names the domain.
#[test]
fn servers_of_a_domain_are_spoken_to_over_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let ca = Ca::new(directory.path(), "ca");
    let names = NameServer::of("_etcd-client-ssl._tcp.secure.test");
    let story = Story::new();
    for (server, subject, status) in [("domain", "DNS:secure.test", 0), ("server", "DNS:localhost,IP:127.0.0.1", 69)] {
        ca.issue(server, "serverAuth", subject);
        let files = ["crt", "key"].map(|kind| path(&format!("{server}.{kind}")));
        let cluster = Cluster::secure(&[&format!("--cert-file={}", files[0]), &format!("--key-file={}", files[1])]);
        names.lists(&[("localhost", cluster.https_port())]);
        let [first, rest @ ..] = names.enter(directory.path());
        let mut process = Command::new(first);
        process.args(rest).arg(&programs().plain).args(["--endpoints", "srvs://secure.test", "--key", "/tls"]);
        process.args(["--cacert", &path("ca.crt"), "--wait", if status == 0 { "60" } else { "1" }]);
        process.args(["--stop-timeout", "0", "--", "true"]);
        let mut lead = story.start(process, |_| {});
        lead.ends(status);
        assert_eq!(status != 0, lead.said().contains("(EL_UNTRUSTED)"), "{}", lead.said());
        assert_eq!(status != 0, lead.said().contains("secure.test"), "{}", lead.said());
    }
    story.nothing_is_left();
}

#[test]
fn a_password_that_stands_twice_in_the_environment_is_wiped_twice() {
    let story = Story::new();
    let mut process = Command::new(&programs().twice);
    process.arg(&programs().plain).args(["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--user", "worker"]);
    process.args(["--", "true"]);
    let mut lead = story.start(process, |_| {});
    lead.says("retrying");
    for pid in [lead.pid(), lead.keeper()] {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("its environment");
        assert!(!environment.windows(9).any(|part| part == b"Swordfish"), "process {pid} shows the password");
    }
    lead.signal(Signal::SIGTERM);
    lead.status();
}

#[test]
fn a_password_that_can_be_read_once_is_none_for_restart() {
    let story = Story::new();
    let usual = ["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--user", "worker", "--password-file"];
    let mut lead = story.lead(&[&usual[..], &["/dev/null", "--restart"]].concat(), &["true"]);
    lead.ends(2);
    assert!(lead.said().contains("--password-file \"/dev/null\" can be read only once"), "{}", lead.said());
}

#[test]
fn a_signal_ends_the_wait_for_a_password_from_a_pipe() {
    let story = Story::new();
    let pipe = story.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let usual = ["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--user", "worker", "--password-file"];
    let mut lead = story.lead(&[&usual[..], &[&pipe.display().to_string()]].concat(), &["true"]);
    // It has a keeper just before it asks for the password.
    lead.keeper();
    lead.signal(Signal::SIGTERM);
    assert_eq!(lead.status().signal(), Some(Signal::SIGTERM as i32), "{}", lead.said());
    story.nothing_is_left();
}

#[test]
fn with_restart_it_outlives_a_refusal_and_a_password_file_that_is_away() {
    let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
    let root = format!("--user=root:{PLANTED}");
    let grant = ["role", "grant-permission", "jobs", "--prefix=true", "readwrite", "/jobs/"];
    for command in [
        &["user", "add", &format!("root:{PLANTED}")][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", &format!("worker:{PLANTED}")],
        &["role", "add", "jobs"],
        &grant,
        &["user", "grant-role", "worker", "jobs"],
        &["auth", "enable"],
    ] {
        cluster.etcdctl(command);
    }
    let story = Story::new();
    let file = story.path("secret");
    fs::write(&file, PLANTED).expect("written");
    let (url, path) = (url(&cluster), file.display().to_string());
    let options = ["--endpoints", &url, "--key", "/jobs", "--ttl", "3", "--user", "worker", "--password-file", &path];
    let job = story.job("one", &["exit=0"]);
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    let mut lead = story.lead(&[&options[..], &["--restart", "--pause", "0"]].concat(), &job);
    let runs = || story.of("one").filter(|sign| sign.event.starts_with("token-")).count();
    wait_for("a run", || (runs() > 0).then_some(()));
    cluster.etcdctl(&[&root, "role", "revoke-permission", "jobs", "--prefix=true", "/jobs/"]);
    lead.says("(EL_DENIED)");
    let before = runs();
    cluster.etcdctl(&[&[root.as_str()][..], &grant].concat());
    wait_for("a run once it is allowed again", || (runs() > before).then_some(()));
    fs::remove_file(&file).expect("removed");
    lead.says("No such file");
    lead.signal(Signal::SIGTERM);
    lead.ends(128 + Signal::SIGTERM as i32);
    story.nothing_is_left();
}
