//! Certificates and keys that were real once, and what never was one: refused in words that show nothing of a key.

use std::cell::Cell;

use etcd_leader::backend::tls::Credentials;
use etcd_leader::config::{MAX_PEM_BYTES, Pem, Secret, Tls};
use etcd_leader::{Config, Election, ErrorKind};
use proptest::collection::vec;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::mutation::{Mutation, mutated, mutations};
use super::{check, without_panic};

fn pair() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["etcd".to_string()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// What one PEM is made of.
#[derive(Clone, Debug)]
enum Piece {
    Cert,
    Key,
    Damaged(bool, Vec<Mutation>),
    /// A block of another name around real content.
    Renamed(bool, &'static str),
    Text(String),
    Repeated(bool, usize),
}

fn a_piece() -> impl Strategy<Value = Piece> {
    let name = prop_oneof![
        Just("CERTIFICATE"),
        Just("PRIVATE KEY"),
        Just("ENCRYPTED PRIVATE KEY"),
        Just("RSA PRIVATE KEY"),
        Just("EC PRIVATE KEY"),
        Just("X509 CRL"),
        Just(""),
        Just("-----"),
    ];
    prop_oneof![
        3 => Just(Piece::Cert),
        3 => Just(Piece::Key),
        4 => (any::<bool>(), mutations(3)).prop_map(|(is_key, mutations)| Piece::Damaged(is_key, mutations)),
        2 => (any::<bool>(), name).prop_map(|(is_key, name)| Piece::Renamed(is_key, name)),
        2 => vec(any::<u8>(), 0..80).prop_map(|bytes| Piece::Text(String::from_utf8_lossy(&bytes).into_owned())),
        1 => prop_oneof![Just("-----BEGIN CERTIFICATE-----\n"), Just("-----END CERTIFICATE-----\n"), Just("-----BEGIN "), Just("\r\n\r\n"), Just("====")]
            .prop_map(|text| Piece::Text(text.into())),
        1 => (any::<bool>(), prop_oneof![2..20usize, Just(3_000)]).prop_map(|(is_key, times)| Piece::Repeated(is_key, times)),
    ]
}

fn written(pieces: &[Piece], cert: &str, key: &str) -> String {
    let of = |is_key: bool| if is_key { key } else { cert };
    let write = |piece: &Piece| match piece {
        Piece::Cert => cert.to_string(),
        Piece::Key => key.to_string(),
        Piece::Damaged(is_key, mutations) => {
            String::from_utf8_lossy(&mutated(of(*is_key).as_bytes().to_vec(), mutations)).into_owned()
        }
        Piece::Renamed(is_key, name) => of(*is_key).replace(if *is_key { "PRIVATE KEY" } else { "CERTIFICATE" }, name),
        Piece::Text(text) => text.clone(),
        Piece::Repeated(is_key, times) => of(*is_key).repeat(*times),
    };
    pieces.iter().map(write).collect()
}

/// The lines of a key that are the key.
fn shows_key(said: &str, key: &str) -> bool {
    key.lines().filter(|line| !line.starts_with("-----")).any(|line| said.contains(&line[..line.len().min(16)]))
}

#[test]
fn any_pem_is_refused_in_words_or_usable() {
    let (cert, key) = pair();
    let accepted = Cell::new(0);
    let one = || vec(a_piece(), 0..4);
    let with_ca = prop_oneof![Just(true), Just(false)];
    check(600, &(one(), one(), one(), with_ca), |(ca_pem, cert_pem, key_pem, with_ca)| {
        let text = |pieces: &[Piece]| Some(Secret::new(written(pieces, &cert, &key)));
        let config = Config {
            endpoints: vec!["https://etcd:2379".into()],
            key: "/jobs".into(),
            name: "one".into(),
            ca_pem: if with_ca { text(&ca_pem) } else { None },
            cert_pem: text(&cert_pem),
            key_pem: text(&key_pem),
            ..Config::default()
        };
        match without_panic(|| Election::check(&config)) {
            Err(error) => {
                let said = format!("{error} {error:?}");
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert!(!shows_key(&said, &key), "a key is shown: {said}");
                assert!(error.detail().len() < 1_000 && !error.detail().contains(char::is_control), "{said}");
            }
            Ok(_) => {
                accepted.set(accepted.get() + 1);
                assert!(!shows_key(&format!("{config:?} {:?}", config.validate()), &key));
                assert!(
                    [&config.cert_pem, &config.key_pem]
                        .iter()
                        .all(|pem| pem.as_ref().is_some_and(|pem| pem.expose().len() <= MAX_PEM_BYTES))
                );
            }
        }
    });
    assert!(accepted.get() > 0, "nothing was accepted");
}

#[test]
fn a_pem_beyond_the_cap_is_refused_unread() {
    let (cert, key) = pair();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let long = cert.repeat(1 + MAX_PEM_BYTES / cert.len());
    std::fs::write(&path, &long).expect("written");
    let https =
        Config { endpoints: vec!["https://etcd".into()], key: "k".into(), name: "n".into(), ..Config::default() };
    for config in [
        Config { ca_pem: Some(Secret::new(&*long)), ..https.clone() },
        Config { ca_file: Some(path), ..https.clone() },
        Config { cert_pem: Some(Secret::new(&*long)), key_pem: Some(Secret::new(&*key)), ..https.clone() },
        Config { cert_pem: Some(Secret::new(&*cert)), key_pem: Some(Secret::new(key.repeat(10_000))), ..https },
    ] {
        let error = Election::check(&config).expect_err("too long");
        assert!(error.detail().contains("1048576"), "{error}");
    }
}

/// Files are bytes of any kind, and are read anew for each connection.
#[test]
fn any_file_is_refused_in_words_or_usable() {
    let (cert, key) = pair();
    let folder = tempfile::tempdir().expect("a folder");
    let [cert_path, key_path] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let der = vec![0x30, 0x82, 1, 10, 0x02, 0x01, 0x03, 0xff];
    let damage = prop_oneof![4 => mutations(3).prop_map(Some), 1 => Just(None)];
    let junk = prop_oneof![3 => Just(None), 1 => vec(any::<u8>(), 0..2_000).prop_map(Some), 1 => Just(Some(der)), 1 => Just(Some(vec![b'-'; MAX_PEM_BYTES + 1]))];
    check(300, &(damage, junk, any::<bool>()), |(damage, junk, is_key)| {
        let bytes = |real: &str, is_it: bool| match (&junk, &damage) {
            (Some(junk), _) if is_it => junk.clone(),
            (None, Some(damage)) if is_it => mutated(real.as_bytes().to_vec(), damage),
            _ => real.as_bytes().to_vec(),
        };
        std::fs::write(&cert_path, bytes(&cert, !is_key)).expect("written");
        std::fs::write(&key_path, bytes(&key, is_key)).expect("written");
        let tls = Tls { identity: Some((Pem::File(cert_path.clone()), Pem::File(key_path.clone()))), ..Tls::default() };
        if let Err(error) = without_panic(|| Credentials::read(&tls)) {
            assert!(!shows_key(&format!("{error:?}"), &key), "a key is shown: {error}");
        }
    });
}
