//! The names that the host of an endpoint may have: in a URL, in the DNS, and in a certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A DNS name has at most 253 characters; an address literal has fewer.
pub(super) const MAX_HOST_BYTES: usize = 253;
/// And each of its parts this many (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;

/// `host:port`, or `[v6]:port`; a colon in an address without brackets leaves a host that is refused.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_bracket..].rfind(':') {
        Some(colon) => (&authority[..after_bracket + colon], Some(&authority[after_bracket + colon + 1..])),
        None => (authority, None),
    }
}

/// The host without brackets, in small letters but for a zone; `None` if it is none.
pub(super) fn host_of(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // In a URL the % before a zone is written as %25 (RFC 6874); Go takes both.
        let (address, zone) = inner.split_once('%').map_or((inner, None), |(address, zone)| (address, Some(zone)));
        address.parse::<Ipv6Addr>().ok()?;
        let address = address.to_ascii_lowercase();
        let Some(zone) = zone.map(|zone| zone.strip_prefix("25").unwrap_or(zone)) else { return Some(address) };
        return is_name(zone).then(|| format!("{address}%{zone}"));
    }
    (host.len() <= MAX_HOST_BYTES && is_name(host)).then(|| host.to_ascii_lowercase())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

pub(super) fn without_zone(host: &str) -> &str {
    host.split_once('%').map_or(host, |(address, _)| address)
}

/// Whether the DNS can know it.
pub(super) fn is_domain(name: &str) -> bool {
    name.split('.').all(is_label) && name.parse::<Ipv4Addr>().is_err()
}

/// Whether a certificate can name it: an address, or a DNS name by the rules of those who verify certificates. Its parts have
/// no hyphen at either end, and the last one is no number, which could be taken for an address (RFC 1123, WHATWG URL).
pub(super) fn is_certifiable(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_part = |part: &str| is_label(part) && !part.starts_with('-') && !part.ends_with('-');
    let is_dns_name =
        host.len() <= MAX_HOST_BYTES && name.split('.').all(is_part) && !name.rsplit('.').take(1).any(is_number);
    is_dns_name || host.parse::<IpAddr>().is_ok()
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && is_name(label)
}

/// Decimal or hexadecimal, as a URL may write a part of an address.
fn is_number(part: &str) -> bool {
    let hex = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => part.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
