//! Keys and leases that somebody else deletes, overwrites and revokes.

use etcd_leader::Api;

use super::stage::{KEY, Stage};
use support::v2;

/// The keys of the election, in their order.
fn keys(stage: &Stage) -> Vec<String> {
    match stage.api {
        Api::V2 => {
            let entries = v2::entries(stage.cluster.client_address(0), KEY).expect("the entries");
            entries.into_iter().map(|entry| entry.key).collect()
        }
        _ => {
            let prefix = format!("{KEY}/");
            let keys = stage.cluster.etcdctl(&["get", "--prefix", &prefix, "--sort-by=CREATE", "--keys-only"]);
            keys.lines().filter(|line| !line.is_empty()).map(String::from).collect()
        }
    }
}

pub(crate) fn leaders_key_deleted(stage: &mut Stage) {
    delete(stage, 0);
}

pub(crate) fn waiters_key_deleted(stage: &mut Stage) {
    delete(stage, 1);
}

fn delete(stage: &mut Stage, at: usize) {
    let key = keys(stage).remove(at);
    stage.mark(format!("the key of c{at} is deleted"));
    match stage.api {
        Api::V2 => drop(v2::ask(stage.cluster.client_address(0), "DELETE", &key, "").expect("deleted")),
        _ => assert_eq!(stage.cluster.etcdctl(&["del", &key]), "1\n"),
    }
    stage.healed();
}

pub(crate) fn lease_revoked(stage: &mut Stage) {
    let key = keys(stage).remove(0);
    let (_, lease) = key.rsplit_once('/').expect("the lease's number is the key's end");
    stage.mark("the leader's lease is revoked");
    stage.cluster.etcdctl(&["lease", "revoke", lease]);
    stage.healed();
}

pub(crate) fn key_overwritten_without_lease(stage: &mut Stage) {
    overwrite(stage);
    stage.healed();
}

/// Had the leader kept the key, it would stay for ever now, and nobody would lead any more.
pub(crate) fn overwritten_leader_killed(stage: &mut Stage) {
    overwrite(stage);
    stage.last(0.5);
    stage.kill(0);
    stage.healed();
}

fn overwrite(stage: &Stage) {
    let key = keys(stage).remove(0);
    stage.mark("the leader's key is overwritten");
    match stage.api {
        Api::V2 => {
            let address = stage.cluster.client_address(0);
            drop(v2::ask(address, "PUT", &key, "value=somebody&prevExist=true").expect("overwritten"));
        }
        _ => drop(stage.cluster.etcdctl(&["put", &key, "somebody"])),
    }
}
