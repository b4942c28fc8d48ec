//! etcd's v2 API: HTTP and JSON.

use super::{Backend, Inbox};
use crate::config::SessionSettings;
use crate::machine::Request;

/// Speaks etcd's v2 API. To be used within a tokio current-thread runtime, which runs its connections.
#[derive(Debug)]
pub struct V2 {}

impl V2 {
    /// A backend for the endpoints of these settings, which puts what it hears into `inbox`.
    pub fn new(_settings: &SessionSettings, _inbox: Inbox) -> V2 {
        V2 {}
    }
}

impl Backend for V2 {
    fn perform(&mut self, _request: Request) {}
}
