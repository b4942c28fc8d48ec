//! A cluster with TLS, and those who live in it.

use std::path::PathBuf;

use etcd_leader::Config;

use super::candidate::config;
use super::pki::{Ca, Files, For, Pair};
use support::Cluster;

/// A cluster with TLS, its CA, and the files of both.
pub(crate) struct House {
    pub(crate) cluster: Cluster,
    pub(crate) ca: Ca,
    pub(crate) ca_file: PathBuf,
    pub(crate) server: Files,
    pub(crate) directory: tempfile::TempDir,
}

impl House {
    pub(crate) fn new(server: impl FnOnce(&Ca) -> Pair, asks_for_clients: bool) -> House {
        let directory = tempfile::tempdir().expect("a directory");
        let ca = Ca::new("the right CA");
        let ca_file = directory.path().join("ca.crt");
        ca.write(&ca_file);
        let server = server(&ca).write(directory.path(), "server");
        // API v2 is for those who ask for it.
        let mut flags = vec![
            "--enable-v2=true".to_string(),
            format!("--cert-file={}", server.cert.display()),
            format!("--key-file={}", server.key.display()),
        ];
        if asks_for_clients {
            flags.push("--client-cert-auth".into());
            flags.push(format!("--trusted-ca-file={}", ca_file.display()));
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        House { cluster: Cluster::secure(&flags), ca, ca_file, server, directory }
    }

    pub(crate) fn client(&self, name: &str) -> Files {
        self.ca.issue(&[], For::Client).write(self.directory.path(), name)
    }

    pub(crate) fn config(&self, name: &str) -> Config {
        let config = config(&[self.cluster.https_url("127.0.0.1")], "/tls", name);
        Config { ca_file: Some(self.ca_file.clone()), ..config }
    }

    pub(crate) fn restart(&mut self) {
        self.cluster.member(0).kill();
        self.cluster.start();
    }
}

pub(crate) fn good(ca: &Ca) -> Pair {
    ca.issue(&["localhost", "127.0.0.1"], For::Server)
}

pub(crate) fn with_identity(config: Config, files: &Files) -> Config {
    Config { cert_file: Some(files.cert.clone()), key_file: Some(files.key.clone()), ..config }
}
