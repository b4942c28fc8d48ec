//! Who we are to etcd, and whom we trust: user and password, certificates.

use std::fmt;
use std::path::{Path, PathBuf};

use super::host::{MAX_HOST_BYTES, is_certifiable};
use super::{Api, Config, Endpoint, Error, check_text, refuse, shown};

/// Far above any bundle of certificates; the system's own has a quarter of it.
pub const MAX_PEM_BYTES: usize = 1 << 20;
const MAX_USERNAME_BYTES: usize = 1024;
const MAX_PASSWORD_BYTES: usize = 1024;
const MAX_PATH_BYTES: usize = 4096;

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

/// A PEM text, or the file that holds it; files are read again for each connection, so that they may be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pem {
    /// Its path.
    File(PathBuf),
    /// Itself.
    Text(Secret),
}

impl Config {
    /// Checks all that is said of users and certificates, but for what the files hold.
    pub(super) fn check_access(&self, endpoints: &[Endpoint]) -> Result<Access, Error> {
        let login = self.check_login()?;
        let ca = one_of("ca", self.ca_file.as_deref(), self.ca_pem.as_ref())?;
        let cert = one_of("cert", self.cert_file.as_deref(), self.cert_pem.as_ref())?;
        let key = one_of("key", self.key_file.as_deref(), self.key_pem.as_ref())?;
        if let Some(name) = &self.tls_server_name {
            check_text("tls_server_name", name, MAX_HOST_BYTES)?;
            if !is_certifiable(name) {
                return refuse(format!(
                    "tls_server_name {} is no name of a host; give a DNS name or an address",
                    shown(name)
                ));
            }
        }
        if let (Some(field), Some(plain)) = (self.tls_field(), endpoints.iter().find(|endpoint| !endpoint.is_tls())) {
            return refuse(format!(
                "{field} is given, and the endpoint {plain} is not encrypted; write https:// or unixs://, or leave {field} out"
            ));
        }
        let is_zoned = |endpoint: &&Endpoint| endpoint.is_tls() && endpoint.has_zone();
        if let (Api::V2, None, Some(zoned)) = (self.api, &self.tls_server_name, endpoints.iter().find(is_zoned)) {
            return refuse(format!(
                "the endpoint {zoned} has a zone, and API v2 cannot tell which name its certificate is to hold; set \
                 tls_server_name"
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
        Ok(Access { login, tls: Tls { ca, identity, server_name: self.tls_server_name.clone() } })
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

    /// The first field that says something of certificates.
    pub(super) fn tls_field(&self) -> Option<&'static str> {
        [
            ("ca_file", self.ca_file.is_some()),
            ("ca_pem", self.ca_pem.is_some()),
            ("cert_file", self.cert_file.is_some()),
            ("cert_pem", self.cert_pem.is_some()),
            ("key_file", self.key_file.is_some()),
            ("key_pem", self.key_pem.is_some()),
            ("tls_server_name", self.tls_server_name.is_some()),
        ]
        .into_iter()
        .find_map(|(field, is_given)| is_given.then_some(field))
    }
}

/// What is given as a file or as a text, never as both.
fn one_of(part: &str, file: Option<&Path>, text: Option<&Secret>) -> Result<Option<Pem>, Error> {
    let path = match (file, text) {
        (None, None) => return Ok(None),
        // A key that stands in the wrong place is not to be seen either.
        (Some(file), _) if file.as_os_str().as_encoded_bytes().windows(5).any(|at| at == b"-----") => {
            return refuse(format!("{part}_file is no path but a text in PEM; give it as {part}_pem"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const PASSWORD: &str = "hunter2-planted";
    /// Not read here: what they hold matters to nobody.
    const CERT: &str = "-----BEGIN CERTIFICATE-----\nMII";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIG";

    fn good() -> Config {
        Config {
            endpoints: vec!["https://127.0.0.1".into(), "https://etcd".into()],
            key: "/jobs/nightly".into(),
            name: "one".into(),
            ..Config::default()
        }
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text))
    }

    /// Refused, with all of these in the message and nothing secret.
    fn refused(config: &Config, parts: &[&str]) {
        let error = config.validate().expect_err(parts[0]);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        for part in parts {
            assert!(error.detail().contains(part), "{:?} should say {part:?}", error.detail());
        }
        for hidden in [PASSWORD, "MII", "MHc", "MIG"] {
            assert!(!format!("{error:?} {config:?}").contains(hidden), "{error:?} {config:?}");
        }
    }

    #[test]
    fn users_are_checked() {
        let user = |username: &str, password: &str| Config {
            username: Some(username.into()),
            password: secret(password),
            ..good()
        };
        refused(&Config { password: None, ..user("me", "") }, &["username \"me\"", "no password", "set password"]);
        refused(&Config { username: None, ..user("", PASSWORD) }, &["password", "without a user", "set username"]);
        refused(&user("me", ""), &["password", "empty"]);
        refused(&user("", PASSWORD), &["username", "empty"]);
        refused(&user("m\0e", PASSWORD), &["username", "NUL byte", "leave it out"]);
        refused(&user("me", &format!("{PASSWORD}\0")), &["password", "NUL byte", "leave it out"]);
        refused(&user("me", &PASSWORD.repeat(100)), &["password", "1500 bytes", "at most 1024"]);
        refused(&Config { api: Api::V2, ..user("m:e", PASSWORD) }, &["username \"m:e\"", "colon"]);
        assert!(user("m:e", PASSWORD).validate().is_ok());
    }

    #[test]
    fn certificates_belong_to_https_and_are_given_once_and_whole() {
        let ca = Config { ca_pem: secret(CERT), ..good() };
        let both = Config { cert_pem: secret(CERT), key_pem: secret(KEY), ..good() };
        let mixed = vec!["https://etcd".to_string(), "http://other".into()];
        refused(&Config { endpoints: mixed.clone(), ..ca.clone() }, &["ca_pem", "http://other:2379", "write https://"]);
        let named = Config { tls_server_name: Some("etcd".into()), endpoints: mixed, ..good() };
        refused(&named, &["tls_server_name", "http://other:2379", "leave tls_server_name out"]);
        refused(&Config { ca_file: Some("/ca".into()), ..ca.clone() }, &["ca_file \"/ca\"", "ca_pem", "one of them"]);
        refused(&Config { key_pem: None, ..both.clone() }, &["without its key", "key_file or key_pem"]);
        refused(&Config { cert_pem: None, ..both.clone() }, &["without its certificate", "cert_file or cert_pem"]);
        refused(&Config { tls_server_name: Some("a b".into()), ..good() }, &["tls_server_name \"a b\"", "DNS name"]);
        refused(&Config { tls_server_name: Some("".into()), ..good() }, &["tls_server_name", "empty"]);
        refused(&Config { ca_pem: secret(&"x".repeat(1 << 21)), ..good() }, &["ca_pem", "2097152", "at most 1048576"]);
        let zoned = Config { api: Api::V2, endpoints: vec!["https://[fe80::1%lo]".into()], ..good() };
        refused(&zoned, &["https://[fe80::1%lo]:2379", "zone", "set tls_server_name"]);
        assert!(Config { tls_server_name: Some("etcd".into()), ..zoned }.validate().is_ok());
        assert!(ca.validate().is_ok() && both.validate().is_ok());
        assert_ne!(ca.validate().expect("good").session, good().validate().expect("good").session);
    }

    #[test]
    fn paths_that_cannot_be_used_are_refused() {
        let as_ca = |path: PathBuf| Config { ca_file: Some(path), ..good() };
        refused(&as_ca("".into()), &["ca_file", "path of a file"]);
        refused(&as_ca("a\0b".into()), &["ca_file", "NUL byte"]);
        refused(&as_ca("a".repeat(5000).into()), &["ca_file", "5000", "4096"]);
        let key_as_path = Config { cert_pem: secret(CERT), key_file: Some(KEY.into()), ..good() };
        let error = key_as_path.validate().expect_err("no path");
        assert_eq!(error.detail(), "key_file is no path but a text in PEM; give it as key_pem");
        let named = as_ca("no such file".into()).validate().expect("nothing is read here");
        assert!(matches!(named.session.access.tls.ca, Some(Pem::File(path)) if path.is_absolute()));
    }
}
