//! The ways of processes to members: routes, connections, and requests on their way.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{LinkId, Op, RequestId, WatchId};

use crate::cluster_v2::Stage;
use crate::rng::Ns;
use crate::store_v2::Wall;

/// The way of a process to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Fine,
    /// Packets vanish until then.
    Silent(Ns),
    /// Connections are refused until healed.
    Refused,
    /// The name leads to another cluster.
    Foreign,
}

/// A connection of a process.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) endpoint: usize,
    pub(crate) cluster: usize,
    pub(crate) node: usize,
    pub(crate) boots: u32,
    pub(crate) broken: bool,
    /// Behind it a proxy takes single requests to this member of this cluster.
    pub(crate) rerouted: Option<(usize, usize)>,
    /// Its streams lead to a server that is no more, and are silent.
    pub(crate) is_hung: bool,
    /// v2: watches whose polls are not made any more.
    pub(crate) unwatched: Vec<WatchId>,
}

/// A request on its way.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) proc: usize,
    pub(crate) inc: u32,
    pub(crate) link: LinkId,
    pub(crate) endpoint: usize,
    pub(crate) cluster: usize,
    pub(crate) node: usize,
    pub(crate) boots: u32,
    pub(crate) id: RequestId,
    pub(crate) op: Op,
    pub(crate) sent: Ns,
    /// The way back: whether a reply comes at all, and an error in its place.
    pub(crate) replies: bool,
    pub(crate) error: Option<ErrorKind>,
    /// Refused with that error without being applied.
    pub(crate) refused: bool,
    /// Held back somewhere: carried out whatever became of the connection.
    pub(crate) ghost: bool,
    /// v2: a proxy asks a second time.
    pub(crate) is_second: bool,
    /// v2: which of its requests this is.
    pub(crate) stage: Stage,
    /// v2: what the member's clock showed when it took the request, and how far it was ahead.
    pub(crate) taken: Option<(Wall, Wall)>,
}
