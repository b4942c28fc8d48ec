//! Who we are to etcd, and whom we trust: user and password, certificates.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::pem::MAX_PEM_BYTES;
use super::{Api, Config, Endpoint, Error, check_text, refuse, shown};

const MAX_USERNAME_BYTES: usize = 1024;
const MAX_PASSWORD_BYTES: usize = 1024;
const MAX_PATH_BYTES: usize = 4096;
/// A DNS name has at most 253 characters.
const MAX_SERVER_NAME_BYTES: usize = 253;

/// A text that is shown nowhere: not in errors, not in logs, not by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Keeps this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

/// How we show who we are, and know who they are; the same for all endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// A user of etcd's.
    pub login: Option<Login>,
    /// What `https` endpoints are spoken to with.
    pub tls: Tls,
}

/// A user of etcd's and the password.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Certificates, for `https` endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Whom we trust; the system's roots if `None`.
    pub ca: Option<Pem>,
    /// Our certificate (and those between it and its CA) and its key, if the server asks for one.
    pub identity: Option<(Pem, Pem)>,
    /// The name that the server's certificate must hold, if it is not the endpoint's host.
    pub server_name: Option<String>,
}

/// A PEM text, or the file that holds it; files are read anew for each connection, so that they may be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pem {
    /// Its path.
    File(PathBuf),
    /// Itself.
    Text(Secret),
}

impl Config {
    /// Checks all that is said of users and certificates; reads the files once, so that a mistake is told at the start.
    pub(super) fn check_access(&self, endpoints: &[Endpoint]) -> Result<Access, Error> {
        let login = self.check_login()?;
        let ca = one_of("ca", self.ca_file.as_deref(), self.ca_pem.as_ref())?;
        let cert = one_of("cert", self.cert_file.as_deref(), self.cert_pem.as_ref())?;
        let key = one_of("key", self.key_file.as_deref(), self.key_pem.as_ref())?;
        if let Some(name) = &self.tls_server_name {
            check_text("tls_server_name", name, MAX_SERVER_NAME_BYTES)?;
            if ServerName::try_from(name.as_str()).is_err() {
                return refuse(format!(
                    "tls_server_name {} is no name of a host; give a DNS name or an address",
                    shown(name)
                ));
            }
        }
        let given = [("ca", ca.is_some()), ("cert", cert.is_some()), ("key", key.is_some())]
            .into_iter()
            .find(|(_, is_given)| *is_given)
            .map(|(part, _)| if self.has_file(part) { format!("{part}_file") } else { format!("{part}_pem") })
            .or_else(|| self.tls_server_name.as_ref().map(|_| "tls_server_name".to_string()));
        if let (Some(field), Some(plain)) = (given, endpoints.iter().find(|endpoint| !endpoint.is_tls())) {
            return refuse(format!(
                "{field} is given, and the endpoint {plain} is not encrypted; write https://, or leave {field} out"
            ));
        }
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return refuse("a certificate is given without its key; set key_file or key_pem".into()),
            (None, Some(_)) => {
                return refuse("a key is given without its certificate; set cert_file or cert_pem".into());
            }
        };
        let tls = Tls { ca, identity, server_name: self.tls_server_name.clone() };
        tls.read(&rustls::crypto::ring::default_provider())?;
        Ok(Access { login, tls })
    }

    fn check_login(&self) -> Result<Option<Login>, Error> {
        let (username, password) = match (&self.username, &self.password) {
            (None, None) => return Ok(None),
            (Some(username), Some(password)) => (username, password),
            (Some(username), None) => {
                return refuse(format!("username {} has no password; set password", shown(username)));
            }
            (None, Some(_)) => return refuse("password is given without a user; set username".into()),
        };
        check_text("username", username, MAX_USERNAME_BYTES)?;
        if self.api == Api::V2 && username.contains(':') {
            return refuse(format!(
                "username {} has a colon, which etcd's API v2 takes for the end of the name; use a name without one",
                shown(username)
            ));
        }
        let wrong = match password.expose() {
            "" => "is empty; etcd takes no empty passwords, give the user's".to_string(),
            text if text.len() > MAX_PASSWORD_BYTES => {
                format!("has {} bytes; give at most {MAX_PASSWORD_BYTES}", text.len())
            }
            text if text.contains('\0') => "has a NUL byte; leave it out".to_string(),
            _ => return Ok(Some(Login { username: username.clone(), password: password.clone() })),
        };
        refuse(format!("password {wrong}"))
    }

    fn has_file(&self, part: &str) -> bool {
        match part {
            "ca" => self.ca_file.is_some(),
            "cert" => self.cert_file.is_some(),
            _ => self.key_file.is_some(),
        }
    }
}

/// What is given as a file or as a text, never as both.
fn one_of(part: &str, file: Option<&Path>, text: Option<&Secret>) -> Result<Option<Pem>, Error> {
    let path = match (file, text) {
        (None, None) => return Ok(None),
        (Some(file), Some(_)) => {
            return refuse(format!("{part}_file {file:?} is given, and {part}_pem as well; give one of them"));
        }
        (None, Some(text)) => {
            let bytes = text.expose().len();
            if bytes > MAX_PEM_BYTES {
                return refuse(format!("{part}_pem has {bytes} bytes; give at most {MAX_PEM_BYTES}"));
            }
            return Ok(Some(Pem::Text(text.clone())));
        }
        (Some(file), None) => file,
    };
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() > MAX_PATH_BYTES {
        return refuse(format!("{part}_file has {} bytes; give a path of at most {MAX_PATH_BYTES}", bytes.len()));
    }
    if bytes.contains(&0) {
        return refuse(format!("{part}_file {path:?} has a NUL byte; leave it out"));
    }
    // The files are read again later, and the process may change its directory meanwhile.
    match std::path::absolute(path) {
        Ok(path) => Ok(Some(Pem::File(path))),
        Err(error) => refuse(format!("{part}_file {path:?} cannot be used: {error}; give the path of a file")),
    }
}
