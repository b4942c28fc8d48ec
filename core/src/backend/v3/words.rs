//! etcd's messages as the words of the machines. Nothing a server sends is believed before it was checked here.

use super::proto::{self, ResponseOp, response_op::Response};
use crate::machine::{Change, Sign, Stamp, Written};
use crate::member::{Member, Revision};

/// Why a message is not one that etcd sends.
pub(super) type Garbled = &'static str;

pub(super) fn stamp(header: Option<proto::ResponseHeader>) -> Result<Stamp, Garbled> {
    let header = header.ok_or("it has no header")?;
    let (cluster, term) = (header.cluster_id, header.raft_term);
    Ok(Stamp { cluster, revision: revision(header.revision)?, term, clock_s: None })
}

fn revision(number: i64) -> Result<Revision, Garbled> {
    Revision::try_from(number).map_err(|_| "a revision is negative")
}

/// As etcd counts: revisions that no store reaches are all "the highest".
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(super) fn member(entry: proto::KeyValue) -> Result<Member, Garbled> {
    let created = revision(entry.create_revision)?;
    if created == 0 || entry.key.is_empty() {
        return Err("a key has no name or no revision");
    }
    let mut name = entry.value;
    name.pop_if(|last| *last == QUIET);
    Ok(Member { key: entry.key, name, revision: created, lease: entry.lease })
}

pub(super) fn members(entries: Vec<proto::KeyValue>) -> Result<Vec<Member>, Garbled> {
    entries.into_iter().map(member).collect()
}

pub(super) fn change(event: proto::Event) -> Result<Change, Garbled> {
    let kind = proto::event::EventType::try_from(event.r#type).map_err(|_| "an event is neither put nor delete")?;
    let entry = event.kv.ok_or("an event has no key")?;
    let at = revision(entry.mod_revision)?;
    if entry.key.is_empty() {
        return Err("an event has no key");
    }
    let key = entry.key.clone();
    let (sign, now) = match kind {
        proto::event::EventType::Put => (sign(&entry), Some(member(entry)?)),
        proto::event::EventType::Delete => (Sign::Nothing, None),
    };
    Ok(Change { at, key, now, sign })
}

/// The last byte of an entry's value if the write says nothing of its author.
pub(super) const QUIET: u8 = 0;

/// Reads the sign of an entry's last write. An entry that hangs on another lease than its key names has none.
pub(super) fn sign(entry: &proto::KeyValue) -> Sign {
    let is_named_after_lease = entry.key.ends_with(format!("/{:x}", entry.lease).as_bytes());
    if is_named_after_lease && entry.value.last() != Some(&QUIET) { sign_of(entry.version) } else { Sign::Nothing }
}

/// The sign that one more write of an entry would have.
pub(super) fn next_sign(entry: &proto::KeyValue) -> Sign {
    sign_of(entry.version.wrapping_add(1))
}

fn sign_of(version: i64) -> Sign {
    if version % 2 == 0 { Sign::Leads } else { Sign::Waits }
}

/// The read among a transaction's answers that is next: what it gave, and how many there are.
pub(super) fn read(answer: Option<ResponseOp>) -> Result<(Vec<Member>, usize), Garbled> {
    let Some(Response::ResponseRange(range)) = answer.and_then(|answer| answer.response) else {
        return Err("a read is missing from a transaction");
    };
    let count = usize::try_from(range.count).map_err(|_| "a count is negative")?;
    Ok((members(range.kvs)?, count))
}

/// The read of one key among a transaction's answers that is next.
pub(super) fn read_entry(answer: Option<ResponseOp>, key: &[u8]) -> Result<Option<proto::KeyValue>, Garbled> {
    let Some(Response::ResponseRange(range)) = answer.and_then(|answer| answer.response) else {
        return Err("a read is missing from a transaction");
    };
    let mut found = range.kvs;
    if found.len() > 1 || found.iter().any(|entry| entry.key != key) {
        return Err("a read of one key found others");
    }
    Ok(found.pop())
}

/// The same, as one of an election.
pub(super) fn read_one(answer: Option<ResponseOp>, key: &[u8]) -> Result<Option<Member>, Garbled> {
    read_entry(answer, key)?.map(member).transpose()
}

/// The same, with the revision of the key's last write.
pub(super) fn read_written(answer: Option<ResponseOp>, key: &[u8]) -> Result<Option<Written>, Garbled> {
    let written = |entry: proto::KeyValue| Ok(Written { at: revision(entry.mod_revision)?, member: member(entry)? });
    read_entry(answer, key)?.map(written).transpose()
}

/// The first key that does not begin with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // etcd's word for "to the last key of all".
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_the_first_key_without_the_prefix() {
        assert_eq!(end_of(b"/jobs/"), b"/jobs0");
        assert_eq!(end_of(b"a\xff"), b"b");
        assert_eq!(end_of(b"\xff"), [0]);
        assert_eq!(end_of(b""), [0]);
    }

    #[test]
    fn a_put_says_that_its_author_leads_by_an_even_version() {
        let entry = |version, lease| proto::KeyValue { key: b"/jobs/2a".into(), version, lease, ..Default::default() };
        assert_eq!(sign(&entry(1, 0x2a)), Sign::Waits);
        assert_eq!(sign(&entry(2, 0x2a)), Sign::Leads);
        assert_eq!(sign(&entry(3, 0x2a)), Sign::Waits);
        assert_eq!(sign(&entry(2, 0x2b)), Sign::Nothing);
        assert_eq!(sign(&entry(2, 0xa)), Sign::Nothing);
        assert_eq!([1, 2].map(|version| next_sign(&entry(version, 0x2a))), [Sign::Leads, Sign::Waits]);
    }

    #[test]
    fn the_first_of_two_writes_says_nothing_and_its_zero_byte_is_not_the_names() {
        let (key, value) = (b"/jobs/2a".to_vec(), b"me\0".to_vec());
        let entry = proto::KeyValue { key, value, create_revision: 5, version: 2, lease: 0x2a, ..Default::default() };
        assert_eq!(sign(&entry), Sign::Nothing);
        assert_eq!(member(entry).expect("an entry").name, b"me");
    }

    #[test]
    fn messages_that_etcd_does_not_send_are_refused() {
        assert!(stamp(None).is_err());
        assert!(stamp(Some(proto::ResponseHeader { revision: -1, ..Default::default() })).is_err());
        assert!(member(proto::KeyValue { key: b"k".into(), ..Default::default() }).is_err());
        assert!(member(proto::KeyValue { create_revision: 1, ..Default::default() }).is_err());
        assert!(change(proto::Event::default()).is_err());
        let odd = proto::KeyValue { key: b"k".into(), create_revision: 1, ..Default::default() };
        assert!(change(proto::Event { r#type: 7, kv: Some(odd) }).is_err());
        assert!(read(None).is_err());
        let other = proto::KeyValue { key: b"other".into(), create_revision: 1, ..Default::default() };
        let range = proto::RangeResponse { kvs: vec![other], ..Default::default() };
        let answer = ResponseOp { response: Some(Response::ResponseRange(range)) };
        assert!(read_one(Some(answer), b"k").is_err());
    }
}
