//! Who may import whom: data flows one way, and a newcomer's first guess is right.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, the rooms it may import, and why it needs no others.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // words
    ("time", &[]),
    ("error", &[]),
    ("crypto", &[]),
    ("config", &["crypto", "error"]),
    ("member", &["time"]),
    // law: pure; knows no clock, no backend, no mailbox
    ("machine", &["config", "error", "machine", "member", "time"]),
    // glass
    ("clock", &["time"]),
    ("mailbox", &["error", "machine", "member", "time"]),
    // what the handle and its driver share
    ("process", &[]),
    ("random", &[]),
    ("rung", &[]),
    ("wake", &["rung"]),
    ("shared", &["clock", "config", "machine", "mailbox", "member", "rung", "time", "wake"]),
    // contract and tongues: they know the words of the machines, never the machines
    ("backend", &["config", "crypto", "error", "machine", "member", "random"]),
    // hands: the driver sees the machines and the contract, never a tongue
    ("driver", &["backend", "clock", "config", "error", "machine", "shared", "time"]),
    ("engine", &["backend", "clock", "config", "driver", "error", "process", "random", "shared", "wake"]),
    ("election", &["clock", "config", "engine", "error", "machine", "mailbox", "member", "shared"]),
];

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The path below `src` without its ending: `machine/session/lease`.
fn room_of(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(src).expect("below src").with_extension("").to_string_lossy().into_owned()
}

/// The code of a file: no comments, no tests.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn imports_of(code: &str) -> BTreeSet<String> {
    let after = |part: &str| part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::").skip(1).map(after).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for path in sources() {
        let room = room_of(&path);
        let top = room.split('/').next().expect("a name").to_string();
        if top == "lib" {
            continue;
        }
        let Some((_, may)) = MAY_IMPORT.iter().find(|(name, _)| *name == top) else {
            wrong.push(format!("{room} is not in the table of this test"));
            continue;
        };
        for import in imports_of(&code_of(&path)) {
            if import != top && !may.contains(&import.as_str()) {
                wrong.push(format!("{room} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_two_machines_do_not_know_each_other() {
    for path in sources() {
        let (room, code) = (room_of(&path), code_of(&path));
        let stranger = match room.as_str() {
            room if room.starts_with("machine/candidate") => "session",
            room if room.starts_with("machine/session") => "candidate::",
            _ => continue,
        };
        assert!(!code.contains(&format!("machine::{stranger}")), "{room} knows {stranger}");
        assert!(!code.contains(&format!("super::{stranger}")), "{room} knows {stranger}");
    }
}

#[test]
fn the_driver_knows_no_tongue() {
    let driver = sources().into_iter().find(|path| room_of(path) == "driver").expect("the driver");
    for tongue in ["v2", "v3"] {
        assert!(!code_of(&driver).contains(tongue), "only the engine matches on the API");
    }
}

#[test]
fn a_clock_is_read_in_one_file() {
    for path in sources() {
        let (room, code) = (room_of(&path), code_of(&path));
        // The runtime's timers and a caller's patience need no suspend-aware clock; what decides does.
        let is_patience = matches!(room.as_str(), "election") || room.starts_with("backend/");
        if room == "clock" || is_patience {
            continue;
        }
        for word in ["SystemTime", "Instant::now", "clock_gettime"] {
            assert!(!code.contains(word), "{room} reads a clock with {word}");
        }
    }
}

#[test]
fn files_stay_short() {
    for path in sources() {
        let room = room_of(&path);
        let lines = fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(lines <= 460 || room.ends_with("proto"), "{room} has {lines} lines");
    }
}
