//! The layers: data flows one way, so a newcomer's first guess is right. Each file may use its own layer and those before it:
//! values, machine, events and clock, backend, runtime, election.

use std::collections::BTreeSet;
use std::fs;

mod sources;
use sources::Sources;

/// Each module at the top of the crate, and those that it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // values: no file, no network, no TLS
    ("time", &[]),
    ("error", &[]),
    ("config", &["error"]),
    ("member", &["time"]),
    // machine: pure; it knows no clock, no backend and no mailbox
    ("machine", &["config", "error", "machine", "member", "time"]),
    // events and clock
    ("clock", &["time"]),
    ("mailbox", &["error", "machine", "member", "time"]),
    // backend: it knows the requests and inputs of the machines, never the machines
    ("crypto", &[]),
    ("random", &[]),
    ("backend", &["config", "crypto", "error", "machine", "member", "random"]),
    // runtime: what the handle and its driver share; the driver, which sees the trait and neither v2 nor v3; the engine
    ("process", &[]),
    ("rung", &[]),
    ("wake", &["rung"]),
    ("wall", &["clock", "time"]),
    ("shared", &["clock", "config", "machine", "mailbox", "member", "rung", "time", "wake", "wall"]),
    ("driver", &["backend", "clock", "config", "error", "machine", "shared", "time", "wall"]),
    ("engine", &["backend", "clock", "config", "driver", "error", "process", "random", "shared", "wake"]),
    // election
    ("election", &["clock", "config", "engine", "error", "machine", "mailbox", "member", "shared"]),
];

/// These decide, and so a simulation must be able to run them: they use nothing but the standard library.
const PURE: &[&str] = &["config", "error", "machine", "mailbox", "member", "rung", "time"];
/// And of that nothing that opens a file or a socket, starts a thread, or asks the system.
const IMPURE_STD: &[&str] =
    &["env", "fs", "io", "net::Tcp", "net::Udp", "net::ToSocketAddrs", "os", "process", "thread"];
/// Crates that only these files name.
const KEEPERS: &[(&str, &[&str])] = &[
    // The root re-exports its modules, and all others name them as the crate's own.
    ("etcd_leader_rules", &[""]),
    ("reqwest", &["backend/v2/http"]),
    ("rustls", &["backend/dial", "backend/tls", "backend/v2/http", "crypto", "random"]),
    ("x509_cert", &["backend/tls", "crypto"]),
];

/// The core re-exports the modules of the rules: a path names the same module in both crates.
const CORE: &[&str] = &["core/rules", "core"];

fn core() -> Sources {
    Sources::of(CORE)
}

/// The first part of a module's path.
fn top(module: &str) -> &str {
    module.split('/').next().unwrap_or_default()
}

/// The crates that this package may name at all.
fn dependencies(package: &str) -> BTreeSet<String> {
    let manifest = sources::folder_of(package).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("a manifest");
    let tables = manifest.split("\n[").filter(|table| {
        let name = table.split(']').next().unwrap_or_default();
        name.ends_with("dependencies") && !name.ends_with("dev-dependencies")
    });
    let names = tables.flat_map(str::lines).filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")));
    names.collect()
}

/// A child that is forked while another thread is inside one of these waits in it for ever. Where there is no fork, one is in order.
#[test]
fn no_static_is_made_under_a_lock() {
    let sources = core();
    let is_lock = |line: &&str| ["LazyLock<", "OnceLock<", "Once "].iter().any(|lock| line.contains(lock));
    let statics = sources.modules().flat_map(|(module, code)| {
        let lines = code.lines().filter(|line| line.trim_start().starts_with("static "));
        lines.filter(is_lock).map(move |line| format!("{module}: {}", line.trim())).collect::<Vec<_>>()
    });
    assert_eq!(statics.collect::<Vec<_>>(), ["clock: static ORIGIN: OnceLock<Instant> = OnceLock::new();"]);
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (module, imports) in core().imports().filter(|(module, _)| !module.is_empty()) {
        let top = top(&module);
        let Some((_, may)) = MAY_IMPORT.iter().find(|(name, _)| *name == top) else {
            wrong.push(format!("{module} is not in the table of this test"));
            continue;
        };
        let is_wrong = |import: &&str| *import != top && !may.contains(import);
        wrong.extend(imports.into_iter().filter(is_wrong).map(|import| format!("{module} imports {import}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_files_of_a_folder_form_no_circle() {
    for packages in [CORE, &["ffi"], &["node"]] {
        let circles = Sources::of(packages).circles();
        assert!(circles.is_empty(), "{packages:?}: {circles:#?}");
    }
}

/// Each of two files that know each other may take the way through the module above.
#[test]
fn a_circle_is_found_whichever_way_a_name_takes() {
    let files = |a: &'static str, b: &'static str, above: &'static str| -> Vec<String> {
        Sources::from_iter([("lib", ""), ("m", above), ("m/a", a), ("m/b", b), ("m/b/c", "use super::super::a::A;")])
            .circles()
    };
    let circle = ["m/a names m::b::B, m/b/c names m::a::A"];
    assert_eq!(files("use super::b::{self, B};", "", "mod a; mod b;").len(), 1);
    assert_eq!(files("use crate::m::b::B as Other;", "", ""), circle);
    assert_eq!(
        files("fn f() { super::b::B::new('\"', \"\\\"\") }", "", ""),
        ["m/a names m::b::B::new, m/b/c names m::a::A"]
    );
    assert_eq!(files("use super::{x, B};", "", "pub use b::B;"), ["m/a names m::B, m/b/c names m::a::A"]);
    assert_eq!(files("use super::B;", "", "use b::c;\nstruct B;"), [""; 0]);
    assert_eq!(files("// use super::b::B;\n#[cfg(test)]\nmod tests {\nuse super::super::b::B;", "", ""), [""; 0]);
}

#[test]
fn what_decides_uses_no_other_crate_and_nothing_of_the_system() {
    assert_eq!(dependencies("core/rules"), BTreeSet::new());
    let dependencies = dependencies("core");
    assert!(dependencies.contains("tokio") && dependencies.contains("tokio_rustls"), "{dependencies:?}");
    let mut wrong = Vec::new();
    for (module, outside) in core().outside().filter(|(module, _)| PURE.contains(&top(module))) {
        for path in outside {
            let (name, rest) = path.split_once("::").unwrap_or((path, ""));
            let is_impure = name == "std" && IMPURE_STD.iter().any(|part| rest.starts_with(part));
            if is_impure || dependencies.contains(name) {
                wrong.push(format!("{module} names {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn some_crates_are_named_in_their_own_place_only() {
    let is_in = |module: &str, place: &&str| module == *place || module.starts_with(&format!("{place}/"));
    for (module, outside) in core().outside() {
        for (name, places) in KEEPERS {
            let names_it = outside.iter().any(|path| path.split("::").next() == Some(name));
            assert!(!names_it || places.iter().any(|place| is_in(&module, place)), "{module} names {name}");
        }
    }
}

#[test]
fn the_two_machines_do_not_know_each_other() {
    for (module, code) in core().modules() {
        let stranger = match module.as_str() {
            module if module.starts_with("machine/candidate") => "session",
            module if module.starts_with("machine/session") => "candidate::",
            _ => continue,
        };
        assert!(!code.contains(&format!("machine::{stranger}")), "{module} knows {stranger}");
        assert!(!code.contains(&format!("super::{stranger}")), "{module} knows {stranger}");
    }
}

#[test]
fn the_driver_knows_neither_protocol() {
    let core = core();
    let (_, driver) = core.modules().find(|(module, _)| module == "driver").expect("the driver");
    for protocol in ["v2", "v3"] {
        assert!(!driver.contains(protocol), "only the engine chooses the backend");
    }
}

#[test]
fn a_clock_is_read_in_one_file() {
    for (module, code) in core().modules() {
        // The runtime's timers and a caller's patience need no suspend-aware clock; what decides does.
        let is_patience = module == "election" || module.starts_with("backend/");
        if module == "clock" || is_patience {
            continue;
        }
        for word in ["SystemTime", "Instant::now", "clock_gettime"] {
            assert!(!code.contains(word), "{module} reads a clock with {word}");
        }
    }
}

#[test]
fn files_stay_short() {
    for path in CORE.iter().flat_map(|package| sources::files_of(package)) {
        let lines = fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(lines <= 400 || path.ends_with("v3/proto.rs"), "{} has {lines} lines", path.display());
    }
}
