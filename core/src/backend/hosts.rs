//! Where an endpoint's host is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::Failure;

/// The addresses of an endpoint; at least one. Which of them comes first is drawn by lot: one that takes connections and
/// then is silent costs a whole attempt, and must not be the first again at every other.
pub(super) async fn look_up(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let (host, port) = (endpoint.host(), endpoint.port());
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unknown = |cause: &dyn fmt::Display| {
        Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot look up the host {host}: {cause}"))
    };
    let mut found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(|error| unknown(&error))?.collect();
    if found.is_empty() {
        return Err(unknown(&"it has no address"));
    }
    let first = crate::random::number().unwrap_or(0) as usize % found.len();
    found.rotate_left(first);
    Ok(found)
}
