//! The contract between the election and one of etcd's tongues.
//!
//! A backend only translates: requests to bytes, bytes to inputs. It decides nothing; the machines do. It gives up only
//! what the transport gives up: a connection that is not taken, a handshake that does not end, silence after a ping. Each
//! link leads to one member (in v3 by one connection, in v2 by connections to one address) and is never mended: when it
//! breaks, the backend says so ([`Input::Broken`], or a failed reply) and the session closes it and opens another.
//!
//! Nothing that a server sends is held beyond a cap: see `core/docs/hostile.md`.

use tokio::sync::mpsc;

use crate::machine::{Input, Request};

mod again;
mod causes;
mod dial;
mod links;
mod resolve;
mod said;
mod shell;
mod srv;
mod tasks;
mod threads;
pub mod tls;
pub mod v2;
pub mod v3;

/// Where a backend puts what it hears.
pub type Inbox = mpsc::UnboundedSender<Input>;

/// The state that all backends of an engine share: where hosts are, the tokens of users, and where servers were met. A clone
/// shares it, too.
#[derive(Clone, Default)]
pub struct Commons {
    resolver: resolve::Resolver,
    logins: v3::Logins,
    met: v3::Met,
}

impl Commons {
    /// The threads that run for the backends.
    pub fn threads(&self) -> &threads::Threads {
        self.resolver.threads()
    }
}

/// Carries out requests, and reports to the [`Inbox`] it was made with. Runs on the engine's runtime.
pub trait Backend: Send {
    /// Starts to carry out a request and returns at once.
    ///
    /// Each request that has an answer gets exactly one [`Input::Reply`], unless its link is closed first; after
    /// [`crate::machine::Op::Close`] nothing more is heard of that link. Requests on one link may overtake each other.
    fn perform(&mut self, request: Request);
}
