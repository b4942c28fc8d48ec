//! The checks. Each takes what it looks at, so that it can be shown a bad example, and says what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::graph::{Crate, Line};
use crate::licences;

/// How cargo names the registry of crates.io in a lock file, whichever mirror the files come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What a build script has no business with: it would fetch something, or ask what is not in the source.
const FETCHES: &[&str] = &[
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs",
    "\"curl\"",
    "\"wget\"",
    "\"powershell",
    "ureq::",
    "reqwest::",
    "curl::",
];

pub(crate) type Wrong = Vec<String>;

/// Lines of manifests and rows of the document: each has the other, and they say the same.
pub(crate) fn undocumented(lines: &[Line], rows: &[Line]) -> Wrong {
    let key = |line: &Line| (line.place.clone(), line.name.clone());
    let by_key = |lines: &[Line]| lines.iter().map(|line| (key(line), line.clone())).collect::<BTreeMap<_, _>>();
    let (wanted, written) = (by_key(lines), by_key(rows));
    let mut wrong = Wrong::new();
    for (key, line) in &wanted {
        match written.get(key) {
            None => wrong.push(format!("{} {} has no row: {:?}, {}", key.0, key.1, line.features, line.licence)),
            Some(row) if row != line => wrong.push(format!("the row is {row:?}, but it is {line:?}")),
            Some(_) => {}
        }
    }
    let gone = written.keys().filter(|key| !wanted.contains_key(key));
    wrong.extend(gone.map(|(place, name)| format!("{place} {name} has a row, and is not used")));
    wrong
}

/// Crates with a licence that we do not take; `excused` are names with the licence they are excused for.
pub(crate) fn unlicensed(crates: &[Crate], allowed: &[String], excused: &[(String, String)]) -> Wrong {
    let mut unused: BTreeSet<&(String, String)> = excused.iter().collect();
    let mut wrong = Wrong::new();
    for one in crates.iter().filter(|one| !licences::is_met(&one.licence, allowed)) {
        match excused.iter().find(|(name, licence)| (name, licence) == (&one.name, &one.licence)) {
            Some(excuse) => _ = unused.remove(excuse),
            None => wrong.push(format!("{}: {:?}", one.name, one.licence)),
        }
    }
    let stale = |name: &String| format!("{name} is excused, and need not be");
    wrong.extend(unused.iter().map(|(name, _)| stale(name)));
    let is_needed = |licence: &&String| !crates.iter().any(|one| one.licence.contains(licence.as_str()));
    wrong.extend(allowed.iter().filter(is_needed).map(|licence| format!("no crate has the licence {licence}")));
    wrong
}

/// Crates that are banned: everywhere, or only from what we ship.
pub(crate) fn banned(crates: &[Crate], bans: &[(String, Scope)]) -> Wrong {
    let is_hit = |one: &&Crate| {
        bans.iter().any(|(name, scope)| *name == one.name && (*scope == Scope::Anywhere || one.is_shipped))
    };
    crates.iter().filter(is_hit).map(|one| format!("{} is banned", one.name)).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Anywhere,
    Shipped,
}

impl Scope {
    pub(crate) fn of(word: &str) -> Scope {
        match word {
            "anywhere" => Scope::Anywhere,
            "what we ship" => Scope::Shipped,
            _ => panic!("a ban holds \"anywhere\" or for \"what we ship\", not for {word:?}"),
        }
    }
}

/// Locked crates from anywhere but crates.io, or whose content the lock file does not fix.
pub(crate) fn foreign(lock: &str, members: &BTreeSet<String>) -> Wrong {
    let mut wrong = Wrong::new();
    for entry in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let start = format!("{key} = \"");
            entry.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"'))
        };
        let name = value("name").unwrap_or("a crate without a name");
        let is_checksum = |sum: &str| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (value("source"), value("checksum")) {
            (None, _) if members.contains(name) => {}
            (None, _) => wrong.push(format!("{name} is a path outside of the workspace")),
            (Some(source), _) if source != REGISTRY => wrong.push(format!("{name} comes from {source}")),
            (_, sum) if !sum.is_some_and(is_checksum) => wrong.push(format!("{name} has no checksum")),
            _ => {}
        }
    }
    wrong
}

/// Crates of which a binary has two versions, those aside that are excused.
pub(crate) fn doubled(inside: &BTreeSet<(String, String)>, excused: &[String]) -> Wrong {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in inside {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let is_excused = |name: &str| excused.iter().any(|other| other == name);
    let twice = versions.iter().filter(|(name, _)| !is_excused(name));
    let stale = excused.iter().filter(|name| !versions.contains_key(name.as_str()));
    twice
        .map(|(name, versions)| format!("{name} is inside as {}", versions.join(" and ")))
        .chain(stale.map(|name| format!("{name} is excused, and is not inside twice")))
        .collect()
}

/// Build scripts that reach for the network, and crates that help build scripts without being listed.
pub(crate) fn fetching(crates: &[Crate], listed: &[String]) -> Wrong {
    let mut wrong = Wrong::new();
    for one in crates {
        let script = one.build_script.as_deref().unwrap_or_default();
        let words = FETCHES.iter().filter(|word| script.contains(**word));
        wrong.extend(words.map(|word| format!("the build script of {} has {word}", one.name)));
    }
    let helpers: BTreeSet<&String> = crates.iter().filter(|one| one.is_helper).map(|one| &one.name).collect();
    let listed: BTreeSet<&String> = listed.iter().collect();
    wrong.extend(helpers.difference(&listed).map(|name| format!("a build script uses {name}, which is not listed")));
    wrong.extend(listed.difference(&helpers).map(|name| format!("no build script uses {name}")));
    wrong
}

/// npm packages from anywhere but the registry, whose content is not fixed, or that run something when installed.
///
/// Our lock files leave out where the registry is, so that a mirror serves as well; what comes from elsewhere
/// (git, a tarball, a folder) still says so.
pub(crate) fn npm(lock: &Value, may_run: &[String]) -> Wrong {
    let mut wrong = Wrong::new();
    let packages = lock["packages"].as_object().expect("a lock file of version 3");
    for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
        let name = path.rsplit("node_modules/").next().unwrap_or(path);
        if !package["resolved"].is_null() || !package["link"].is_null() {
            wrong.push(format!("{name} comes from {}", package["resolved"]));
        } else if !package["integrity"].as_str().is_some_and(|sum| sum.starts_with("sha512-")) {
            wrong.push(format!("{name} has no checksum"));
        }
        if package["hasInstallScript"] == true && !may_run.iter().any(|other| other == name) {
            wrong.push(format!("{name} runs something when it is installed"));
        }
    }
    wrong
}

/// Requirements of Python's tests that do not name one version.
pub(crate) fn unpinned<'a>(requirements: impl Iterator<Item = &'a str>) -> Wrong {
    let is_one = |line: &&str| {
        let (name, rest) = line.split_once("==").unwrap_or(("", ""));
        let version = rest.split(';').next().unwrap_or_default().trim();
        !name.is_empty()
            && !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    };
    requirements.filter(|line| !is_one(line)).map(|line| format!("{line:?} names no version")).collect()
}
