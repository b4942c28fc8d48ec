//! The resolver finds the addresses of an endpoint's host, or the servers that the DNS lists for a domain. The whole engine
//! looks each of them up once at a time; a look-up runs to its end, whoever asked for it. The last result serves until
//! another look-up has found something: a server that is being restarted is where it was, and a name server that is dead
//! must not keep us from it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::srv::{NameServers, Target};
use super::threads::Threads;
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::Failure;

/// After so long a host is looked up again, beside the use of what is known.
const REFRESH: Duration = Duration::from_secs(30);

/// The hosts and services of an engine's endpoints. Clones are the same. To be used within a tokio runtime.
#[derive(Clone, Default)]
pub(super) struct Resolver {
    places: Arc<Mutex<HashMap<Name, Place>>>,
    threads: Threads,
}

/// A look-up asks for one of these.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// The addresses of a host.
    Host(String),
    /// The servers that SRV records of this name list.
    Service(String),
}

/// The addresses of each server that a name leads to, at least one: that of a host is one server. The ports are 0 for a host.
type Servers = Vec<Vec<SocketAddr>>;

#[derive(Default)]
struct Place {
    /// The last look-up found these servers at this time.
    found: Option<(Servers, Instant)>,
    /// None of them takes connections: the servers may be elsewhere by now.
    is_refused: bool,
    flight: Option<Flight>,
}

/// A look-up under way.
type Flight = watch::Receiver<Option<Result<Servers, String>>>;

impl Name {
    fn of(endpoint: &Endpoint) -> Name {
        match endpoint.service() {
            Some(service) => Name::Service(service.records),
            None => Name::Host(endpoint.host().to_string()),
        }
    }
}

impl Resolver {
    /// The threads on which hosts are looked up.
    pub(super) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The addresses of an endpoint; at least one. Which of a host's comes first is drawn by lot: one that takes connections
    /// and then is silent must not be the first again each time. Of several servers each turn begins with another one; the
    /// others stand in for one that takes no connection.
    pub(super) async fn look_up(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = (endpoint.host(), endpoint.port());
        // The domain of a service is never an address.
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut servers = self.servers(Name::of(endpoint)).await.map_err(|error| unknown(endpoint, &error))?;
        let count = servers.len();
        servers.rotate_left(endpoint.service().map_or(0, |service| service.turn) % count);
        for addresses in &mut servers {
            let first = crate::random::number().unwrap_or(0) as usize % addresses.len();
            addresses.rotate_left(first);
        }
        let mut found = servers.concat();
        found.iter_mut().filter(|address| address.port() == 0).for_each(|address| address.set_port(port));
        Ok(found)
    }

    /// None of the addresses that are known of this endpoint takes connections: it is looked up again.
    pub(super) fn refused(&self, endpoint: &Endpoint) {
        let name = Name::of(endpoint);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(&name) {
            place.is_refused = true;
            place.flight.get_or_insert_with(|| self.take_off(name));
        }
    }

    async fn servers(&self, name: Name) -> Result<Servers, String> {
        let mut flight = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(name.clone()).or_default();
            match &place.found {
                Some((servers, at)) => {
                    if place.is_refused || at.elapsed() >= REFRESH {
                        place.flight.get_or_insert_with(|| self.take_off(name));
                    }
                    return Ok(servers.clone());
                }
                None => place.flight.get_or_insert_with(|| self.take_off(name)).clone(),
            }
        };
        let landed = flight.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone()).unwrap_or_else(|| Err("it was given up".into()))
    }

    fn take_off(&self, name: Name) -> Flight {
        let (land, flight) = watch::channel(None);
        let (places, threads) = (self.places.clone(), self.threads.clone());
        tokio::spawn(async move {
            let result = match &name {
                Name::Host(host) => addresses(&threads, host).await.map(|addresses| vec![addresses]),
                Name::Service(records) => listed(&threads, records).await,
            };
            let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(name).or_default();
            place.flight = None;
            if let Ok(servers) = &result {
                (place.found, place.is_refused) = (Some((servers.clone(), Instant::now())), false);
            }
            drop(places);
            let _ = land.send(Some(result));
        });
        flight
    }
}

/// The addresses of a host, by the system; at least one. It turns the zone of an address into the number of an interface.
async fn addresses(threads: &Threads, host: &str) -> Result<Vec<SocketAddr>, String> {
    let name = host.to_string();
    let look_up = move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let found = threads.run(look_up).await.map_err(|error| no_thread(&error))?.map_err(|error| error.to_string())?;
    if found.is_empty() { Err("it has no address".into()) } else { Ok(found) }
}

/// The servers that these records list, with their ports. One that has no address is left out, unless all have none.
async fn listed(threads: &Threads, records: &str) -> Result<Servers, String> {
    let name_servers = threads.run(NameServers::read).await.map_err(|error| no_thread(&error))??;
    let targets = name_servers.targets(records).await?;
    let server = async |target: &Target| {
        let found = addresses(threads, &target.host).await.map_err(|error| format!("{}: {error}", target.host));
        let with_port = |address: SocketAddr| SocketAddr::new(address.ip(), target.port);
        found.map(|addresses| addresses.into_iter().map(with_port).collect::<Vec<_>>())
    };
    let (mut servers, mut trouble) = (Servers::new(), String::new());
    for found in join_all(targets.iter().map(server)).await {
        match found {
            Ok(addresses) => servers.push(addresses),
            Err(error) => trouble = error,
        }
    }
    if servers.is_empty() { Err(trouble) } else { Ok(servers) }
}

fn no_thread(error: &io::Error) -> String {
    format!("the system gives no thread for it ({error}); an address needs none")
}

fn unknown(endpoint: &Endpoint, cause: &dyn fmt::Display) -> Failure {
    let what = match Name::of(endpoint) {
        Name::Host(host) => format!("the host {host}"),
        Name::Service(records) => format!("the servers that the DNS lists as {records}"),
    };
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot look up {what}: {cause}"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse_list("endpoints[0]", url, false).expect("an endpoint").remove(0)
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
        let name = Name::of(&here);
        let found_at = || resolver.places.lock().expect("the lock")[&name].found.as_ref().map(|(_, at)| *at);
        let first = found_at();
        resolver.look_up(&here).await.expect("it is known");
        assert_eq!(found_at(), first);
        resolver.refused(&here);
        let flight = resolver.places.lock().expect("the lock")[&name].flight.clone();
        let mut flight = flight.expect("it is being looked up");
        flight.wait_for(Option::is_some).await.expect("it lands");
        assert!(found_at() > first);
    }

    #[test]
    fn a_zone_becomes_the_number_of_an_interface() {
        block_on(loopback_has_the_first_number());
    }

    async fn loopback_has_the_first_number() {
        let found = Resolver::default().look_up(&endpoint("http://[fe80::1%25lo]:7")).await.expect("loopback is there");
        assert!(
            matches!(found[0], SocketAddr::V6(address) if address.scope_id() == 1 && address.port() == 7),
            "{found:?}"
        );
        let failure =
            Resolver::default().look_up(&endpoint("http://[fe80::1%none]:7")).await.expect_err("no interface");
        assert!(
            failure.detail.contains("http://[fe80::1%none]:7: cannot look up the host fe80::1%none"),
            "{failure:?}"
        );
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
        let found = Some((vec![vec![([127, 0, 0, 1], 0).into()]], Instant::now()));
        let host = Place { found, is_refused: true, flight: Some(flight) };
        resolver.places.lock().expect("the lock").insert(Name::of(&here), host);
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
        let host = Place {
            found: Some((vec![vec![([127, 0, 0, 1], 0).into()]], Instant::now())),
            is_refused: true,
            flight: None,
        };
        resolver.places.lock().expect("the lock").insert(Name::of(&nowhere), host);
        assert_eq!(resolver.look_up(&nowhere).await.expect("the last that was known")[0].port(), 7);
    }
}
