//! HTTP to one etcd member: what is asked, and the answer that is not yet believed. The only file that names reqwest.

use std::error::Error;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use rustls::ClientConfig;

use super::status::{self, Extent, Fault, Peer};
use crate::backend::causes::causes;
use crate::backend::dial::{CONNECT_PATIENCE, HANDSHAKE_PATIENCE};
use crate::backend::tls;
use crate::config::{Endpoint, Login};
use crate::error::ErrorKind;
use crate::machine::Failure;

/// Proxies close connections that were idle for a minute; a request must not be sent on one that is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection on which nothing is acknowledged any more is given up after this time. HTTP/1 knows no sign of life of its
/// own; a server that is frozen is noticed by the session.
const SILENCE: Duration = Duration::from_secs(12);
const FORM: &str = "application/x-www-form-urlencoded";

/// One member, on the address that it is pinned to. Clones share its connections.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    endpoint: Endpoint,
    asked: tls::Asked,
    peers: Arc<Peers>,
}

/// Where an endpoint is to be found.
#[derive(Clone, Debug)]
pub(super) enum Place {
    At(SocketAddr),
    #[cfg(unix)]
    Socket(PathBuf),
}

impl Place {
    fn port(&self) -> Option<u16> {
        match self {
            Place::At(address) => Some(address.port()),
            #[cfg(unix)]
            Place::Socket(_) => None,
        }
    }
}

/// What all links have in common.
pub(super) struct Peers {
    /// Every endpoint that was configured: where a redirect may lead.
    pub(super) endpoints: Vec<Endpoint>,
    /// What each request shows.
    pub(super) login: Option<Login>,
    /// What each link over TLS is made with.
    pub(super) tls: tls::Client,
}

impl Peers {
    /// What the connections of a link to this endpoint are made with. Also where the endpoint is not encrypted: it may
    /// redirect to one that is, and reqwest asks for the process's own provider if it is given none.
    pub(super) async fn tls(&self, endpoint: &Endpoint) -> Result<(ClientConfig, tls::Asked), Failure> {
        let named = |failure: Failure| Failure::new(failure.kind, format!("{endpoint}: {}", failure.detail));
        if self.endpoints.iter().any(Endpoint::is_tls) {
            return self.tls.config().await.map_err(named);
        }
        ClientConfig::builder_with_provider(crate::crypto::provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
            .map(|config| (config, tls::Asked::default()))
            .map_err(|error| named(Failure::new(ErrorKind::Internal, error.to_string())))
    }

    fn fault(&self, asked: &tls::Asked, endpoint: &Endpoint, error: &reqwest::Error) -> Fault {
        // What reqwest says itself names the URL once more; its cause is what there is to know.
        let cause = error.source().unwrap_or(error);
        let extent = if error.is_connect() { Extent::Unconnected } else { Extent::Wire };
        if let Some(failure) = tls::failure(endpoint, self.tls.tls(), asked, error) {
            return Fault { failure, extent };
        }
        let failure = match extent {
            _ if error.is_builder() => Failure::new(ErrorKind::Invalid, format!("{endpoint}: {}", causes(cause))),
            Extent::Unconnected => status::unconnected(endpoint, error.is_timeout(), cause),
            _ => status::broken(endpoint, cause),
        };
        Fault { failure, extent }
    }
}

/// A request. Text in it is encoded already.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) form: Option<String>,
}

/// The head of an answer; its body is still to come.
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether it is the link's own member that answers, not one that it redirected us to.
    pub(super) is_direct: bool,
    endpoint: Endpoint,
    asked: tls::Asked,
    peers: Arc<Peers>,
    response: reqwest::Response,
}

impl Http {
    /// Connections to `endpoint` at this place only.
    pub(super) fn new(
        endpoint: &Endpoint,
        place: Place,
        (tls, asked): (ClientConfig, tls::Asked),
        peers: Arc<Peers>,
    ) -> Result<Http, Failure> {
        // The client counts the handshake to the connection.
        let patience = CONNECT_PATIENCE + if endpoint.is_tls() { HANDSHAKE_PATIENCE } else { Duration::ZERO };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("etcd-leader/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(patience)
            .tcp_keepalive(SILENCE / 2)
            .pool_idle_timeout(IDLE_TIMEOUT);
        let endpoint = place.port().map_or_else(|| endpoint.clone(), |port| endpoint.at(port));
        let client = match place {
            Place::At(address) => client.resolve(endpoint.url_host(), address),
            #[cfg(unix)]
            Place::Socket(path) => client.unix_socket(path),
        };
        #[cfg(target_os = "linux")]
        let client = client.tcp_user_timeout(SILENCE);
        let client = client
            .build()
            .map_err(|error| Failure::new(ErrorKind::Internal, format!("{endpoint}: {}", causes(&error))))?;
        Ok(Http { client, endpoint, asked, peers })
    }

    /// The member that it leads to.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What requests show, if anything.
    pub(super) fn login(&self) -> Option<&Login> {
        self.peers.login.as_ref()
    }

    /// Both, for the words of a failure.
    pub(super) fn peer(&self) -> Peer<'_> {
        Peer { endpoint: &self.endpoint, login: self.login() }
    }

    /// Sends a request, to another configured endpoint if this one says so, and waits for the head of the answer.
    pub(super) async fn send(&self, call: &Call) -> Result<Incoming, Fault> {
        let incoming = self.send_to(&self.endpoint, call).await?;
        if !incoming.status.is_redirection() {
            return Ok(incoming);
        }
        let target = self.target(&incoming, call).map_err(Fault::answered)?;
        let mut incoming = self.send_to(target, call).await?;
        if incoming.status.is_redirection() {
            let peer = Peer { endpoint: target, ..self.peer() };
            return Err(Fault::answered(status::redirected(peer, location(&incoming.headers))));
        }
        incoming.is_direct = false;
        Ok(incoming)
    }

    async fn send_to(&self, endpoint: &Endpoint, call: &Call) -> Result<Incoming, Fault> {
        let mark = if call.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{mark}{}", endpoint.base_url(), call.path, call.query);
        let mut request = self.client.request(call.method.clone(), url);
        if let Some(login) = &self.peers.login {
            request = request.basic_auth(&login.username, Some(login.password.expose()));
        }
        if let Some(form) = &call.form {
            request = request.header(CONTENT_TYPE, FORM).body(form.clone());
        }
        let response = request.send().await.map_err(|error| self.peers.fault(&self.asked, endpoint, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Incoming {
            status,
            headers,
            is_direct: true,
            endpoint: endpoint.clone(),
            asked: self.asked.clone(),
            peers: self.peers.clone(),
            response,
        })
    }

    /// Old members redirect writes to their leader, as 307 to the same path. Nothing else is followed.
    fn target(&self, incoming: &Incoming, call: &Call) -> Result<&Endpoint, Failure> {
        let location = location(&incoming.headers);
        let refuse = || status::redirected(self.peer(), location);
        if incoming.status != StatusCode::TEMPORARY_REDIRECT {
            return Err(refuse());
        }
        let here = url_of(&self.endpoint).ok_or_else(refuse)?;
        let there = here.join(location).map_err(|_| refuse())?;
        if there.path() != call.path {
            return Err(refuse());
        }
        let leads_to = |endpoint: &&Endpoint| url_of(endpoint).is_some_and(|url| place(&url) == place(&there));
        self.peers.endpoints.iter().find(leads_to).ok_or_else(refuse)
    }
}

impl Incoming {
    /// Reads the body, of which no more than this is ever held.
    pub(super) async fn body(mut self, max_bytes: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        let fault = |error| self.peers.fault(&self.asked, &self.endpoint, &error);
        while let Some(chunk) = self.response.chunk().await.map_err(fault)? {
            if body.len() + chunk.len() > max_bytes {
                let what = format_args!("it has more than {max_bytes} bytes");
                return Err(Fault::answered(status::garbled(&self.endpoint, what)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn location(headers: &HeaderMap) -> &str {
    headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or("nowhere")
}

fn url_of(endpoint: &Endpoint) -> Option<reqwest::Url> {
    endpoint.base_url().parse().ok()
}

fn place(url: &reqwest::Url) -> (&str, Option<&str>, Option<u16>) {
    (url.scheme(), url.host_str(), url.port_or_known_default())
}
