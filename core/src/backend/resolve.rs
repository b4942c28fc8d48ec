//! Where an endpoint's host is. One look-up for each host at a time in the whole engine: it runs to its end, whoever asked
//! for it. What was found last serves until another look-up has found something: a server that is being restarted is where
//! it was, and a name server that is dead must not keep us from it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::Failure;

/// After so long a host is looked up again, beside the use of what is known.
const REFRESH: Duration = Duration::from_secs(30);

/// The hosts of an engine's endpoints. Clones are the same. To be used within a tokio runtime.
#[derive(Clone, Default)]
pub(super) struct Resolver {
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

#[derive(Default)]
struct Host {
    /// The addresses that were found last, and when.
    found: Option<(Vec<IpAddr>, Instant)>,
    /// None of them takes connections: the host may be elsewhere by now.
    is_refused: bool,
    flight: Option<Flight>,
}

/// A look-up under way.
type Flight = watch::Receiver<Option<Result<Vec<IpAddr>, String>>>;

impl Resolver {
    /// The addresses of an endpoint; at least one. Which of them comes first is drawn by lot: one that takes connections
    /// and then is silent must not be the first again each time.
    pub(super) async fn look_up(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = (endpoint.host(), endpoint.port());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut found = self.addresses(host).await.map_err(|error| unknown(endpoint, &error))?;
        if found.is_empty() {
            return Err(unknown(endpoint, &"it has no address"));
        }
        let first = crate::random::number().unwrap_or(0) as usize % found.len();
        found.rotate_left(first);
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// None of the addresses that are known of this host takes connections: it is looked up again.
    pub(super) fn refused(&self, endpoint: &Endpoint) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get_mut(endpoint.host()) {
            host.is_refused = true;
            host.flight.get_or_insert_with(|| self.take_off(endpoint.host()));
        }
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let mut flight = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let host = hosts.entry(name.to_string()).or_default();
            match &host.found {
                Some((addresses, at)) => {
                    if host.is_refused || at.elapsed() >= REFRESH {
                        host.flight.get_or_insert_with(|| self.take_off(name));
                    }
                    return Ok(addresses.clone());
                }
                None => host.flight.get_or_insert_with(|| self.take_off(name)).clone(),
            }
        };
        let landed = flight.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone()).unwrap_or_else(|| Err("it was given up".into()))
    }

    fn take_off(&self, name: &str) -> Flight {
        let (land, flight) = watch::channel(None);
        let (hosts, name) = (self.hosts.clone(), name.to_string());
        tokio::spawn(async move {
            // Any port will do.
            let result = tokio::net::lookup_host((name.as_str(), 0)).await;
            let result = result.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
            let result = result.map_err(|error| error.to_string());
            let mut hosts = hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let host = hosts.entry(name).or_default();
            host.flight = None;
            if let Ok(addresses) = &result
                && !addresses.is_empty()
            {
                (host.found, host.is_refused) = (Some((addresses.clone(), Instant::now())), false);
            }
            drop(hosts);
            let _ = land.send(Some(result));
        });
        flight
    }
}

fn unknown(endpoint: &Endpoint, cause: &dyn fmt::Display) -> Failure {
    let host = endpoint.host();
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot look up the host {host}: {cause}"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse("endpoints[0]", url).expect("an endpoint")
    }

    fn block_on(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn a_host_is_looked_up_once_and_again_when_it_is_refused() {
        block_on(is_looked_up_again());
    }

    async fn is_looked_up_again() {
        let resolver = Resolver::default();
        let here = endpoint("http://localhost:7");
        let both = futures_util::future::join(resolver.look_up(&here), resolver.look_up(&here)).await;
        assert!(both.0.expect("an address")[0].ip().is_loopback());
        assert_eq!(both.1.expect("an address")[0].port(), 7);
        let found_at = || resolver.hosts.lock().expect("the lock")["localhost"].found.as_ref().map(|(_, at)| *at);
        let first = found_at();
        resolver.look_up(&here).await.expect("it is known");
        assert_eq!(found_at(), first);
        resolver.refused(&here);
        let flight = resolver.hosts.lock().expect("the lock")["localhost"].flight.clone();
        let mut flight = flight.expect("it is being looked up");
        flight.wait_for(Option::is_some).await.expect("it lands");
        assert!(found_at() > first);
    }

    /// A name server that is dead costs each look-up seconds; a server that is being restarted is where it was.
    #[test]
    fn what_is_known_serves_while_a_look_up_is_under_way() {
        block_on(nobody_waits_for_it());
    }

    async fn nobody_waits_for_it() {
        let resolver = Resolver::default();
        let here = endpoint("http://slow.invalid:7");
        let (_never, flight) = watch::channel(None);
        let found = Some((vec![[127, 0, 0, 1].into()], Instant::now()));
        let host = Host { found, is_refused: true, flight: Some(flight) };
        resolver.hosts.lock().expect("the lock").insert("slow.invalid".into(), host);
        let known = resolver.look_up(&here).now_or_never().expect("at once");
        assert_eq!(known.expect("the last that was known")[0].port(), 7);
    }

    #[test]
    fn what_is_known_serves_while_a_look_up_fails() {
        block_on(the_last_that_is_known_serves());
    }

    async fn the_last_that_is_known_serves() {
        let resolver = Resolver::default();
        let nowhere = endpoint("http://nowhere.invalid:7");
        let failure = resolver.look_up(&nowhere).await.expect_err("there is no such host");
        assert_eq!(failure.kind, ErrorKind::Unreachable);
        assert!(failure.detail.contains("look up the host nowhere.invalid"), "{}", failure.detail);
        let host = Host { found: Some((vec![[127, 0, 0, 1].into()], Instant::now())), is_refused: true, flight: None };
        resolver.hosts.lock().expect("the lock").insert("nowhere.invalid".into(), host);
        assert_eq!(resolver.look_up(&nowhere).await.expect("the last that was known")[0].port(), 7);
    }
}
