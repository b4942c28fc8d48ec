//! Proxies that take each request of one connection to where they like: another server, another store or another cluster
//! stands behind a link that lives on.

use crate::links::Link;
use crate::trace::note;
use crate::world::World;

impl World {
    /// Behind a link of some process single requests go elsewhere from now on. Its streams stay.
    pub(crate) fn reroute(&mut self) -> bool {
        let leads = self.rng.permille(500);
        let Some(proc) = self.victim(leads) else { return false };
        let members = self.clusters[0].nodes.len();
        let is_fit = |link: &&mut Link| !link.broken && link.cluster == 0 && link.rerouted.is_none();
        // Before its first join nobody could tell which cluster is ours.
        let may_be_foreign = self.procs[proc].books.has_joined;
        // In v2 a member's clock counts, and nobody could tell which member has answered.
        let may_be_ours = !self.is_v2() && members > 1;
        let is_foreign = may_be_foreign && (!may_be_ours || self.rng.permille(600));
        if !is_foreign && !may_be_ours {
            return false;
        }
        let other = 1 + self.rng.below(members.max(2) as u64 - 1) as usize;
        let Some(link) = self.procs[proc].links.iter_mut().rev().find(is_fit) else { return false };
        let to = if is_foreign { (1, 0) } else { (0, (link.node + other) % members) };
        link.rerouted = Some(to);
        let id = link.id;
        note!(self, "single requests on link {} of p{proc} go to {to:?}", id.0);
        true
    }

    /// The store is about to be replaced: a proxy holds on to some links, whose single requests reach the new one. Their
    /// streams are silent.
    pub(crate) fn hold_links(&mut self) {
        if self.is_v2() || !self.rng.permille(300) {
            return;
        }
        for proc in 0..self.procs.len() {
            // Before its first join nobody could tell which cluster is ours.
            if !self.procs[proc].books.has_joined {
                continue;
            }
            for at in 0..self.procs[proc].links.len() {
                let is_held = self.rng.permille(500);
                let link = &mut self.procs[proc].links[at];
                if is_held && !link.broken && link.cluster == 0 && link.rerouted.is_none() {
                    (link.rerouted, link.is_hung) = (Some((0, link.node)), true);
                    self.stats.hung_links += 1;
                    let id = link.id;
                    note!(self, "a proxy holds on to link {} of p{proc}", id.0);
                }
            }
        }
    }
}
