//! Who we are to etcd, and whom we trust: user and password, certificates.

use std::fmt;
use std::path::PathBuf;

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
