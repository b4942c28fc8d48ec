//! The same for API v2, which has users of its own.

use etcd_leader::backend::v2::role_recipe;

use super::access::password;
use super::stage::{KEY, Stage};
use support::v2;

/// `root:Planted-Swordfish-1`
const AS_ROOT: &str = "Basic cm9vdDpQbGFudGVkLVN3b3JkZmlzaC0x";

fn run(stage: &Stage, command: &str) -> String {
    v2::manage(stage.cluster.client_address(0), &password(), command)
}

pub(crate) fn guard(stage: &Stage) {
    for user in ["root", "worker"] {
        run(stage, &format!("etcdctl user add {user}:{}", password()));
    }
    for command in role_recipe("worker", KEY) {
        run(stage, &command);
    }
    run(stage, "etcdctl auth enable");
    run(stage, "etcdctl role revoke guest --readwrite --path '/*'");
}

pub(crate) fn entries(stage: &Stage) -> String {
    run(stage, &format!("etcdctl ls {KEY}"))
}

pub(crate) fn role_revoked_and_given_back(stage: &mut Stage) {
    run(stage, "etcdctl user revoke worker --roles worker-election");
    stage.mark("the role is revoked");
    stage.last(2.0);
    run(stage, "etcdctl user grant worker --roles worker-election");
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
    v2::set_password(stage.cluster.client_address(0), AS_ROOT, "worker", password);
}
