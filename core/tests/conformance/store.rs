//! The store as the stories need it, in either API, and what makes a test on each of them out of one story.

use etcd_leader::Api;

use support::{Cluster, v2, wait_for};

/// Makes two tests out of a story that takes the API: `<story>::on_v2` and `<story>::on_v3`.
macro_rules! on_v2_and_v3 {
    ($story:ident) => {
        mod $story {
            #[test]
            fn on_v2() {
                super::$story(etcd_leader::Api::V2);
            }

            #[test]
            fn on_v3() {
                super::$story(etcd_leader::Api::V3);
            }
        }
    };
}
pub(crate) use on_v2_and_v3;

/// What etcd is started with, so that it serves both APIs.
pub(crate) const BOTH: &[&str] = &["--enable-v2=true"];

/// One member that serves both APIs.
pub(crate) fn single() -> Cluster {
    Cluster::of(1, BOTH)
}

/// What somebody else does to the store, and sees there. Members are those of an election's key.
pub(crate) struct Store<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) api: Api,
}

impl Store<'_> {
    /// The keys and the names of the members in their order.
    pub(crate) fn members(&self, key: &str) -> Vec<(String, String)> {
        if self.api == Api::V2 {
            let entries = v2::entries(self.cluster.client_address(0), key).expect("its entries");
            return entries.into_iter().map(|entry| (entry.key, entry.name)).collect();
        }
        let said = self.cluster.etcdctl(&["get", "--prefix", &format!("{key}/"), "--sort-by=CREATE"]);
        let lines: Vec<&str> = said.lines().collect();
        lines.chunks(2).map(|pair| (pair[0].to_string(), pair[1].to_string())).collect()
    }

    /// The names of the members in their order.
    pub(crate) fn names(&self, key: &str) -> Vec<String> {
        self.members(key).into_iter().map(|(_, name)| name).collect()
    }

    /// The key of the member with this name.
    pub(crate) fn key_of(&self, key: &str, name: &str) -> String {
        let members = self.members(key);
        let found = members.iter().find(|(_, one)| one == name);
        found.unwrap_or_else(|| panic!("{name} is not in {members:?}")).0.clone()
    }

    /// Waits until there are so many members.
    pub(crate) fn wait_for_members(&self, key: &str, count: usize) {
        wait_for(&format!("{count} members of {key}"), || (self.members(key).len() == count).then_some(()));
    }

    /// What created a key: the token of the member whose it is.
    pub(crate) fn created(&self, key: &str) -> u64 {
        if self.api == Api::V2 {
            let created = &self.v2("GET", &format!("{key}?quorum=true"), "").body["node"]["createdIndex"];
            return created.as_u64().expect("an index");
        }
        let said = self.cluster.etcdctl(&["get", key, "-w", "fields"]);
        let created = said.lines().find_map(|line| line.strip_prefix("\"CreateRevision\" : "));
        created.expect("a revision").parse().expect("a number")
    }

    /// Puts a value, without a lease or a time to live.
    pub(crate) fn put(&self, key: &str, value: &str) {
        if self.api == Api::V2 {
            self.v2("PUT", key, &format!("value={value}"));
        } else {
            self.cluster.etcdctl(&["put", key, value]);
        }
    }

    /// Puts another value where one is, so that it stays the same entry.
    pub(crate) fn overwrite(&self, key: &str, value: &str) {
        if self.api == Api::V2 {
            self.v2("PUT", key, &format!("value={value}&prevExist=true"));
        } else {
            self.put(key, value);
        }
    }

    pub(crate) fn delete(&self, key: &str) {
        if self.api == Api::V2 {
            self.v2("DELETE", key, "");
        } else {
            self.cluster.etcdctl(&["del", key]);
        }
    }

    /// Writes so often to keys that are none of ours.
    pub(crate) fn write_elsewhere(&self, times: usize) {
        for number in 0..times {
            self.put(&format!("/elsewhere/{}", number % 10), "x");
        }
    }

    /// Whether the election left nothing at all.
    pub(crate) fn is_left_clean(&self, key: &str) -> bool {
        let leases = || self.cluster.etcdctl(&["lease", "list"]);
        self.members(key).is_empty() && (self.api == Api::V2 || leases().trim() == "found 0 leases")
    }

    /// A request of API v2, which etcd answers in words of its own.
    pub(crate) fn v2(&self, method: &str, path: &str, form: &str) -> v2::Answer {
        v2::ask(self.cluster.client_address(0), method, path, form).expect("an answer")
    }
}
