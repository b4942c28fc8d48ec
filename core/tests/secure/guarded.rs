//! A cluster with users and passwords.

use std::io::Write;
use std::process::{Command, Stdio};

use etcd_leader::Config;

use super::candidate::{PLANTED, config, with_user};
use support::{Cluster, etcdctl_binary};

/// An etcd on which somebody switches users on, and the user `worker`.
pub(crate) struct Guarded {
    pub(crate) cluster: Cluster,
    is_on: bool,
}

/// The password of every user.
pub(crate) fn password() -> String {
    format!("{PLANTED}-1")
}

impl Guarded {
    /// Users are known, and not asked for yet.
    pub(crate) fn open(flags: &[&str]) -> Guarded {
        // Passwords are checked at the usual cost nowhere else on so busy a machine.
        let flags = [&["--bcrypt-cost=4"], flags].concat();
        let guarded = Guarded { cluster: Cluster::of(1, &flags), is_on: false };
        guarded.root(&["user", "add", &format!("root:{}", password())]);
        guarded.root(&["user", "grant-role", "root", "root"]);
        guarded.root(&["user", "add", &format!("worker:{}", password())]);
        guarded
    }

    /// Users are asked for, and `worker` may use this key.
    pub(crate) fn closed(flags: &[&str], key: &str) -> Guarded {
        let mut guarded = Guarded::open(flags);
        guarded.obey(&etcd_leader::backend::v3::role_recipe("worker", key));
        guarded.switch_on();
        guarded
    }

    pub(crate) fn switch_on(&mut self) {
        self.root(&["auth", "enable"]);
        self.is_on = true;
    }

    pub(crate) fn switch_off(&mut self) {
        self.root(&["auth", "disable"]);
        self.is_on = false;
    }

    /// Does what etcdctl is told, by one who may do everything.
    pub(crate) fn root(&self, arguments: &[&str]) -> String {
        let user = format!("--user=root:{}", password());
        let arguments: Vec<&str> = arguments.iter().copied().chain(self.is_on.then_some(user.as_str())).collect();
        self.cluster.etcdctl(&arguments)
    }

    /// Runs commands as they stand in a message.
    pub(crate) fn obey<S: AsRef<str>>(&self, commands: &[S]) {
        for command in commands {
            let words: Vec<&str> = command.as_ref().split(' ').collect();
            assert_eq!(words[0], "etcdctl");
            self.root(&words[1..]);
        }
    }

    /// Gives a user this password, which ends the user's tokens, also if it is the old one.
    pub(crate) fn set_password(&self, user: &str, password: &str) {
        let mut command = Command::new(etcdctl_binary());
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.cluster.urls()[0]));
        command.args(["user", "passwd", user, "--interactive=false"]);
        command.arg(format!("--user=root:{}", self::password()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("etcdctl");
        writeln!(child.stdin.take().expect("its input"), "{password}").expect("written");
        assert!(child.wait().expect("its end").success());
    }

    /// An election of `worker`'s.
    pub(crate) fn config(&self, key: &str, name: &str) -> Config {
        with_user(config(&self.cluster.urls(), key, name), "worker", &password())
    }
}
