//! Certificates for tests, in files that can be replaced.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A certification authority.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Server,
    Client,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// The files that hold a [`Pair`].
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a CA").pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    /// Writes the CA's certificate where it is to be found.
    pub(crate) fn write(&self, path: &Path) {
        replace(path, &self.pem);
    }

    /// Writes its certificate and its key, for another tool to sign with.
    pub(crate) fn write_with_key(&self, cert: &Path, key: &Path) {
        self.write(cert);
        replace(key, &self.issuer.key().serialize_pem());
    }

    /// A certificate for 127.0.0.1 that is a CA's, is signed by itself and has expired at the end of 2020.
    pub(crate) fn expired() -> Pair {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_string()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let key = KeyPair::generate().expect("a key");
        Pair { cert: params.self_signed(&key).expect("a certificate").pem(), key: key.serialize_pem() }
    }

    /// A good certificate for these names, with nothing but the one use.
    pub(crate) fn issue(&self, names: &[&str], usage: For) -> Pair {
        self.issue_between(names, usage, (2020, 2100))
    }

    /// A certificate that is valid from the first day of the one year to the first of the other.
    pub(crate) fn issue_between(&self, names: &[&str], usage: For, years: (i32, i32)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![match usage {
            For::Server => ExtendedKeyUsagePurpose::ServerAuth,
            For::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

impl Pair {
    /// Writes it as `<name>.crt` and `<name>.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> Files {
        let files = Files { cert: directory.join(format!("{name}.crt")), key: directory.join(format!("{name}.key")) };
        self.replace(&files);
        files
    }

    /// Puts it in the place of another.
    pub(crate) fn replace(&self, files: &Files) {
        replace(&files.key, &self.key);
        replace(&files.cert, &self.cert);
    }
}

/// As tools that renew certificates do it: there is no moment in which half a file is to be seen.
pub(crate) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, path).expect("renamed");
}
