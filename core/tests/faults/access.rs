//! Users, passwords and certificates that change while somebody leads.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use etcd_leader::Api;

use super::pki::{Ca, Files, For};
use super::stage::{Door, KEY, Stage};
use support::netns::{Network, Place};
use support::{etcdctl_binary, v2};

/// Of every user.
pub(crate) fn password() -> String {
    "Planted-Swordfish-1".into()
}

/// Does what etcdctl is told, by one who may do everything.
fn root(stage: &Stage, arguments: &[&str]) {
    let user = format!("--user=root:{}", password());
    stage.cluster.etcdctl(&[arguments, &[&user]].concat());
}

/// From now on etcd asks for users, and `worker` may use the key.
pub(crate) fn guard(stage: &Stage) {
    if stage.api == Api::V2 {
        return super::access_v2::guard(stage);
    }
    let with_password = |user: &str| format!("{user}:{}", password());
    stage.cluster.etcdctl(&["user", "add", &with_password("root")]);
    stage.cluster.etcdctl(&["user", "grant-role", "root", "root"]);
    stage.cluster.etcdctl(&["user", "add", &with_password("worker")]);
    for command in etcd_leader::backend::v3::role_recipe("worker", KEY) {
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        stage.cluster.etcdctl(&words);
    }
    stage.cluster.etcdctl(&["auth", "enable"]);
}

pub(crate) fn role_revoked_and_given_back(stage: &mut Stage) {
    let role = etcd_leader::backend::v3::role_recipe("worker", KEY);
    let role =
        role.last().and_then(|command| command.rsplit(' ').next()).expect("user grant-role worker ROLE").to_string();
    root(stage, &["user", "revoke-role", "worker", &role]);
    stage.mark("the role is revoked");
    stage.last(2.0);
    root(stage, &["user", "grant-role", "worker", &role]);
    stage.healed();
}

pub(crate) fn password_changed_and_back(stage: &mut Stage) {
    set_password(stage, "another one");
    stage.mark("the password is another");
    stage.last(2.0);
    set_password(stage, &password());
    stage.healed();
}

fn set_password(stage: &Stage, password: &str) {
    let mut command = Command::new(etcdctl_binary());
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", stage.cluster.urls()[0]));
    command.args(["user", "passwd", "worker", "--interactive=false"]);
    command.arg(format!("--user=root:{}", self::password()));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("etcdctl");
    writeln!(child.stdin.take().expect("its input"), "{password}").expect("written");
    assert!(child.wait().expect("its end").success());
}

/// A server's certificate that can be replaced, and the CA that candidates trust.
pub(crate) struct Certificates {
    ca: Ca,
    ca_file: PathBuf,
    server: Files,
    address: String,
    /// Holds the files for as long as this lives.
    _directory: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn new(network: &Network) -> Certificates {
        let directory = tempfile::tempdir().expect("a directory");
        let ca = Ca::new("the CA");
        let ca_file = directory.path().join("ca.crt");
        ca.write(&ca_file);
        let address = network.address(Place::Member(0));
        let server = ca.issue(&[&address], For::Server).write(directory.path(), "server");
        Certificates { ca, ca_file, server, address, _directory: directory }
    }

    /// Whom candidates trust.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// What has a member listen for TLS too.
    pub(crate) fn flags(&self, network: &Network) -> Vec<String> {
        vec![
            format!("--listen-client-urls=http://{}:2379,{}", self.address, Certificates::url(network)),
            format!("--cert-file={}", self.server.cert.display()),
            format!("--key-file={}", self.server.key.display()),
        ]
    }

    pub(crate) fn url(network: &Network) -> String {
        format!("https://{}:2377", network.address(Place::Member(0)))
    }
}

pub(crate) fn certificate_expired_and_replaced(stage: &mut Stage) {
    let tls = stage.tls.as_ref().expect("certificates");
    let expired = tls.ca.issue_between(&[&tls.address], For::Server, (2020, 2021));
    expired.replace(&tls.server);
    // Connections that stand are not cut by it.
    stage.cluster.member(0).kill();
    stage.cluster.member(0).start();
    stage.mark("the certificate has expired");
    stage.last(2.0);
    let tls = stage.tls.as_ref().expect("certificates");
    tls.ca.issue(&[&tls.address], For::Server).replace(&tls.server);
    stage.healed();
}

/// What there is of the election in etcd.
pub(crate) fn left_behind(stage: &Stage) -> String {
    let is_guarded = stage.scene.door == Door::Users;
    match stage.api {
        Api::V2 if is_guarded => super::access_v2::entries(stage),
        Api::V2 => {
            let entries = v2::entries(stage.cluster.client_address(0), KEY).expect("the entries");
            entries.into_iter().map(|entry| entry.key + "\n").collect()
        }
        _ => {
            let user = format!("--user=root:{}", password());
            let user = is_guarded.then_some(user.as_str());
            let words = ["get", "--prefix", KEY, "--keys-only"];
            stage.cluster.etcdctl(&words.into_iter().chain(user).collect::<Vec<_>>())
        }
    }
}
