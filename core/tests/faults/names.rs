//! A name of etcd's that stops being known, to one candidate alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::stage::Stage;
use support::netns::{Network, Place};

const NAME: &str = "etcd-1.faults.test";

pub(crate) fn url() -> String {
    format!("http://{NAME}:2379")
}

/// What a process of its own mount namespace finds in /etc/hosts; and a name server that never answers.
pub(crate) struct Hosts {
    hosts: PathBuf,
    servers: PathBuf,
    entry: String,
}

impl Hosts {
    pub(crate) fn new(directory: &Path, network: &Network) -> Hosts {
        let entry = format!("{} {NAME}\n", network.address(Place::Member(0)));
        let hosts = Hosts { hosts: directory.join("hosts"), servers: directory.join("resolv.conf"), entry };
        hosts.know();
        // Nobody has this address.
        let nobody = network.address(Place::Here).replace(".254", ".253");
        fs::write(&hosts.servers, format!("nameserver {nobody}\noptions timeout:1 attempts:1\n")).expect("written");
        hosts
    }

    pub(crate) fn know(&self) {
        fs::write(&self.hosts, &self.entry).expect("written");
    }

    pub(crate) fn forget(&self) {
        fs::write(&self.hosts, "").expect("written");
    }

    /// What stands before the program.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let script = format!(
            "mount --bind {} /etc/hosts && mount --bind {} /etc/resolv.conf && exec \"$@\"",
            self.hosts.display(),
            self.servers.display()
        );
        ["unshare", "--mount", "sh", "-c", &script, "sh"].map(String::from).to_vec()
    }
}

/// And the connections that it has break.
pub(crate) fn name_forgotten(stage: &mut Stage) {
    let hosts =
        |stage: &Stage, verb: fn(&Hosts)| verb(stage.candidates[0].spec.hosts.as_ref().expect("names of its own"));
    hosts(stage, Hosts::forget);
    stage.cluster.member(0).kill();
    stage.cluster.member(0).start();
    stage.mark("c0 does not know etcd's address any more, and its connections are broken");
    stage.last(2.0);
    hosts(stage, Hosts::know);
    stage.healed();
}
