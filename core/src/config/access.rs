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
        let tls = Tls { ca, identity, server_name: self.tls_server_name.clone() };
        tls.read()?;
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

    fn good() -> Config {
        Config {
            endpoints: vec!["https://127.0.0.1".into(), "https://etcd".into()],
            key: "/jobs/nightly".into(),
            name: "one".into(),
            ..Config::default()
        }
    }

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["etcd".into()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
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
        let (cert, key) = pair();
        let ca = Config { ca_pem: secret(&cert), ..good() };
        let both = Config { cert_pem: secret(&cert), key_pem: secret(&key), ..good() };
        let mixed = vec!["https://etcd".to_string(), "http://other".into()];
        refused(&Config { endpoints: mixed.clone(), ..ca.clone() }, &["ca_pem", "http://other:2379", "write https://"]);
        let named = Config { tls_server_name: Some("etcd".into()), endpoints: mixed, ..good() };
        refused(&named, &["tls_server_name", "http://other:2379", "leave tls_server_name out"]);
        refused(&Config { ca_file: Some("/ca".into()), ..ca.clone() }, &["ca_file \"/ca\"", "ca_pem", "one of them"]);
        refused(&Config { key_pem: None, ..both.clone() }, &["without its key", "key_file or key_pem"]);
        refused(&Config { cert_pem: None, ..both.clone() }, &["without its certificate", "cert_file or cert_pem"]);
        refused(&Config { key_pem: secret(&pair().1), ..both.clone() }, &["cert_pem and key_pem", "do not belong"]);
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
    fn what_is_no_pem_is_refused_with_the_command_that_helps() {
        let (cert, key) = pair();
        let as_key = |text: &str| Config { cert_pem: secret(&cert), key_pem: secret(text), ..good() };
        let as_ca = |text: &str| Config { ca_pem: secret(text), ..good() };
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIx\n-----END ENCRYPTED PRIVATE KEY-----\n";
        refused(&as_key(encrypted), &["key_pem", "encrypted", "openssl pkey -in FILE -out plain.key"]);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nMIIx\n";
        refused(&as_key(old), &["key_pem", "encrypted", "openssl pkey"]);
        refused(&as_key(&key[..key.len() / 2]), &["key_pem", "damaged", "whole private key"]);
        refused(&as_key(&cert), &["key_pem", "holds a certificate", "mixed up"]);
        refused(&as_key("x"), &["key_pem", "no private key", "BEGIN PRIVATE KEY"]);
        refused(&as_key(""), &["key_pem", "empty"]);
        refused(&as_ca(&key), &["ca_pem", "private key and no certificate", "mixed up"]);
        refused(&as_ca(&cert[..cert.len() / 2]), &["ca_pem", "damaged"]);
        refused(&as_ca(&cert.replace("MII", "AAA")), &["ca_pem", "number 1", "cannot be used"]);
        refused(&as_ca("certificate"), &["ca_pem", "holds no certificate", "BEGIN CERTIFICATE"]);
    }

    #[test]
    fn files_that_cannot_be_used_are_refused_with_their_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            path
        };
        let as_ca = |path: PathBuf| Config { ca_file: Some(path), ..good() };
        refused(&as_ca("/no such file".into()), &["ca_file \"/no such file\"", "No such file", "may read"]);
        refused(&as_ca(directory.path().into()), &["ca_file", "not a regular file"]);
        refused(&as_ca("".into()), &["ca_file", "path of a file"]);
        refused(&as_ca("a\0b".into()), &["ca_file", "NUL byte"]);
        refused(&as_ca("a".repeat(5000).into()), &["ca_file", "5000", "4096"]);
        let key_as_path = Config { cert_pem: secret(&pair().0), key_file: Some(pair().1.into()), ..good() };
        let error = key_as_path.validate().expect_err("no path");
        assert_eq!(error.detail(), "key_file is no path but a text in PEM; give it as key_pem");
        refused(&as_ca(write("empty", b"")), &["ca_file", "is empty"]);
        refused(&as_ca(write("large", &vec![b'x'; MAX_PEM_BYTES + 1])), &["ca_file", "1048576 bytes"]);
        let pfx = [0x30, 0x82, 0x09, 0x00, 0x02, 0x01, 0x03, 0x30];
        refused(&as_ca(write("a.pfx", &pfx)), &["ca_file", "PKCS #12", "openssl pkcs12 -in", "a.pfx"]);
        let der = [0x30, 0x82, 0x01, 0x00, 0x30, 0x81];
        refused(&as_ca(write("a.der", &der)), &["ca_file", "DER", "openssl x509 -inform der -in", "a.der"]);
        let as_key = Config { cert_pem: secret(&pair().0), key_file: Some(write("k.der", &der)), ..good() };
        refused(&as_key, &["key_file", "DER", "openssl pkey -inform der -in", "k.der"]);
        let good_one = as_ca(write("ca.pem", pair().0.as_bytes())).validate().expect("good");
        assert!(matches!(good_one.session.access.tls.ca, Some(Pem::File(path)) if path.is_absolute()));
    }
}
