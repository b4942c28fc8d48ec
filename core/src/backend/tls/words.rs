//! What a failure of TLS means, in the words that a person needs.

use std::error::Error;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::verifier::ShortKey;
use super::{Asked, ca};
use crate::config::{Endpoint, Tls};
use crate::error::ErrorKind;
use crate::machine::Failure;

/// The failure in words, if TLS is what failed; `None` leaves it to the caller. A server that does not trust us may say
/// so only on the first read after the handshake.
pub fn failure(endpoint: &Endpoint, tls: &Tls, asked: &Asked, error: &(dyn Error + 'static)) -> Option<Failure> {
    let error = tls_error_in(error)?;
    Some(Failure::new(ErrorKind::Untrusted, format!("{endpoint}: {}", explain(endpoint, tls, asked, error))))
}

/// The TLS error in a chain of causes. An error of I/O hides the one that it carries from `source`.
fn tls_error_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let carried = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        next = match carried {
            Some(carried) => Some(carried as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn explain(endpoint: &Endpoint, tls: &Tls, asked: &Asked, error: &rustls::Error) -> String {
    let name = tls.server_name.as_deref().unwrap_or(endpoint.certified_host());
    match error {
        rustls::Error::InvalidCertificate(error) => bad_certificate(name, tls, error),
        rustls::Error::AlertReceived(alert) if asked.is_true() => of_our_certificate(tls, *alert),
        rustls::Error::AlertReceived(alert) => of_the_handshake(*alert),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)
        | rustls::Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            "the server does not speak TLS on this port; if it has none, write http:// instead of https://".into()
        }
        rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "the server speaks neither TLS 1.2 nor 1.3, and older versions are not safe".into()
        }
        other => format!("TLS failed: {other}"),
    }
}

fn bad_certificate(name: &str, tls: &Tls, error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer if tls.ca.is_some() => format!(
            "the server's certificate is not signed by a CA in {}; give the CA that signed it, with those in between \
             if the server does not send them",
            ca(tls)
        ),
        CertificateError::UnknownIssuer => "the server's certificate is not signed by a CA that this system trusts; \
                                            give the CA that signed it in ca_file or ca_pem"
            .into(),
        CertificateError::BadSignature => format!(
            "the server's certificate names a CA in {} but was not signed with its key: that CA was made anew, or is \
             not the one",
            ca(tls)
        ),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate expired on {}; renew it", date(*not_after))
        }
        CertificateError::Expired => "the server's certificate has expired; renew it".into(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!(
                "the server's certificate is not valid before {}; is this machine's clock right?",
                date(*not_before)
            )
        }
        CertificateError::NotValidYet => {
            "the server's certificate is not valid yet; is this machine's clock right?".into()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let held = match presented.as_slice() {
                [] => "it holds no name (names must be in the subject alternative names, the common name does not \
                       count)"
                    .into(),
                names => format!("it holds {}", names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")),
            };
            format!(
                "the server's certificate is not for {name}: {held}; use one of its names as the endpoint, or set \
                 tls_server_name to one"
            )
        }
        CertificateError::NotValidForName => {
            format!("the server's certificate is not for {name}; set tls_server_name to a name that it holds")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for servers: its extended key usage lacks serverAuth".into()
        }
        CertificateError::Revoked => "the server's certificate was revoked".into(),
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => format!(
            "the server shows a CA's certificate as its own, and it is not in {}; give that certificate as the CA, or \
             give the server one that a CA has signed",
            ca(tls)
        ),
        CertificateError::Other(error) if error.0.is::<ShortKey>() => error.to_string(),
        other => format!("the server's certificate cannot be trusted: {other}"),
    }
}

/// An alert of a server that has asked for our certificate.
fn of_our_certificate(tls: &Tls, alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => without_certificate(),
        // Until TLS 1.3 there was no alert of its own for a certificate that is missing.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate if tls.identity.is_none() => {
            without_certificate()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            "the server does not take our client certificate (cert_file or cert_pem): it must be signed by the \
             server's trusted CA and be meant for clients (extended key usage clientAuth)"
                .into()
        }
        AlertDescription::UnknownCA => {
            "the server does not know the CA of our client certificate (cert_file or cert_pem)".into()
        }
        AlertDescription::CertificateExpired => {
            "our client certificate (cert_file or cert_pem) has expired; renew it".into()
        }
        AlertDescription::CertificateRevoked => "our client certificate (cert_file or cert_pem) was revoked".into(),
        other => of_the_handshake(other),
    }
}

/// An alert that has nothing to do with a certificate of ours.
fn of_the_handshake(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::NoApplicationProtocol => {
            "the server offers no protocol that we speak; is it etcd's client port?".into()
        }
        AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion => {
            "the server has no version, cipher suite, curve or signature algorithm of TLS in common with us; look at \
             the key of its certificate, and at etcd's --cipher-suites and --tls-min-version"
                .into()
        }
        AlertDescription::UnrecognisedName => {
            "the server has no certificate for the name that it was asked for; set tls_server_name to one that it has"
                .into()
        }
        other => format!("the server ended the TLS handshake: {other:?}"),
    }
}

fn without_certificate() -> String {
    "the server wants a client certificate; give one in cert_file and key_file (or cert_pem and key_pem)".into()
}

/// A name as rustls shows it, `DnsName("a.example")`, without what surrounds it.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"').to_string()
}

/// `2026-02-03 04:05 UTC`.
fn date(time: UnixTime) -> String {
    let (days, minutes) = (time.as_secs() / 86_400, time.as_secs() % 86_400 / 60);
    // Counted from 1 March of the year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_078_099_200, "2004-03-01 00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), shown);
        }
    }
}
