//! Slow is not dead, and a leader without a link has no time to lose (law 7).

use std::time::Duration;

use etcd_leader_rules::member::Standing;
use etcd_leader_rules::time::Time;

use crate::process::{Cand, Proc};

/// While a process leads and has no link, nor is opening one, it is about to open one: half an attempt is the longest wait.
pub(crate) fn a_leader_looks_for_a_link(proc: &Proc, attempt: Duration, now: Time) -> Result<(), String> {
    let leads = |cand: &Cand| matches!(cand.report.standing, Standing::Leading { until, .. } if now < until);
    let is_linked = proc.links.iter().any(|link| !link.broken);
    let timeout = proc.crew.as_ref().and_then(|crew| crew.poll_timeout());
    match timeout {
        _ if is_linked || !proc.cands.iter().any(leads) => Ok(()),
        Some(timeout) if timeout <= now + attempt / 2 => Ok(()),
        _ => Err(format!("leads without a link, and waits until {timeout:?}")),
    }
}
