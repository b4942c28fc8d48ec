//! Keys as paths, and names as forms: byte for byte.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::error::ErrorKind;
use crate::machine::Failure;

/// All but what stands for itself in a path, and the slashes between its steps.
const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A key of the store.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// As the machines know it; a directory's ends with a slash.
    pub(super) ours: Vec<u8>,
    /// As etcd names it: with a slash in front, and none at the end.
    pub(super) theirs: Vec<u8>,
}

impl Key {
    /// Fails for what etcd would take for another key.
    pub(super) fn new(ours: &[u8]) -> Result<Key, Failure> {
        let steps = ours.strip_prefix(b"/").unwrap_or(ours);
        let steps = steps.strip_suffix(b"/").unwrap_or(steps);
        if steps.split(|byte| *byte == b'/').any(|step| matches!(step, b"" | b"." | b"..")) {
            let shown = String::from_utf8_lossy(ours);
            let detail = format!("the key {shown:?} cannot be used with API v2: its steps must not be empty, . or ..");
            return Err(Failure::new(ErrorKind::Invalid, detail));
        }
        Ok(Key { ours: ours.to_vec(), theirs: [b"/", steps].concat() })
    }

    /// Where it is on the server.
    pub(super) fn path(&self) -> String {
        format!("/v2/keys{}", percent_encode(&self.theirs, IN_A_PATH))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.theirs).into_owned()
    }

    /// The key of the election that this is, or is an entry of.
    pub(super) fn election(&self) -> String {
        let text = self.text();
        let is_directory = self.ours.ends_with(b"/");
        text.rsplit_once('/').filter(|_| !is_directory).map_or(text.clone(), |(election, _)| election.into())
    }

    /// What an entry right below this directory is known as; `None` if it is not one.
    pub(super) fn entry(&self, theirs: &str) -> Option<Vec<u8>> {
        let last = theirs.as_bytes().strip_prefix(self.theirs.as_slice())?.strip_prefix(b"/")?;
        let is_one_step = !last.is_empty() && !last.contains(&b'/');
        is_one_step.then(|| [self.ours.strip_suffix(b"/").unwrap_or(&self.ours), b"/", last].concat())
    }

    /// Whether this key lies somewhere below that directory.
    pub(super) fn is_below(&self, directory: &str) -> bool {
        let directory = directory.trim_end_matches('/').as_bytes();
        self.theirs.strip_prefix(directory).is_some_and(|rest| rest.len() > 1 && rest.starts_with(b"/"))
    }
}

/// A value within a form.
pub(super) fn in_a_form(value: &[u8]) -> String {
    percent_encode(value, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_key_arrives() {
        for (key, path) in [
            ("/jobs/nightly/", "/v2/keys/jobs/nightly"),
            ("jobs", "/v2/keys/jobs"),
            ("/a b/%41/c?d#e", "/v2/keys/a%20b/%2541/c%3Fd%23e"),
            ("/a+b&c=d", "/v2/keys/a%2Bb%26c%3Dd"),
            ("/Wahl/größe", "/v2/keys/Wahl/gr%C3%B6%C3%9Fe"),
            ("/a\\b\t", "/v2/keys/a%5Cb%09"),
            ("/...", "/v2/keys/..."),
        ] {
            assert_eq!(Key::new(key.as_bytes()).expect(key).path(), path);
        }
        assert_eq!(in_a_form("a b&c=+%ü".as_bytes()), "a%20b%26c%3D%2B%25%C3%BC");
    }

    #[test]
    fn keys_that_would_become_others_are_refused() {
        for key in ["", "/", "/a/../b", "/a/./b", "..", "/a//b", "//a"] {
            let failure = Key::new(key.as_bytes()).expect_err(key);
            assert_eq!(failure.kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn entries_are_named_as_the_election_is() {
        let named = |key: &[u8], theirs| Key::new(key).expect("a key").entry(theirs);
        assert_eq!(named(b"/jobs/", "/jobs/1").expect("an entry"), b"/jobs/1");
        assert_eq!(named(b"jobs/", "/jobs/1").expect("an entry"), b"jobs/1");
        for other in ["/jobs", "/jobs/", "/jobs2/1", "/jobs/1/2", "/1", ""] {
            assert_eq!(named(b"/jobs/", other), None, "{other}");
        }
    }

    #[test]
    fn below_is_not_beside() {
        let key = Key::new(b"/a/bc/d").expect("a key");
        for directory in ["/", "/a", "/a/bc", "/a/bc/"] {
            assert!(key.is_below(directory), "{directory}");
        }
        for other in ["/a/b", "/a/bc/d", "/a/bc/d/e", "/x"] {
            assert!(!key.is_below(other), "{other}");
        }
    }
}
