//! A bad example for each check: none of them is one that cannot fail. The good ones are our own files, in `main.rs`.

use std::collections::BTreeSet;

use serde_json::json;

use crate::document;
use crate::graph::{Crate, Line};
use crate::licences::is_met;
use crate::rules::{self, Scope};

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn line(name: &str, features: &[&str], licence: &str) -> Line {
    Line {
        place: "### etcd-leader: normal".into(),
        name: name.into(),
        features: strings(features).into_iter().collect(),
        licence: licence.into(),
    }
}

fn named(name: &str, licence: &str) -> Crate {
    Crate { name: name.into(), licence: licence.into(), ..Crate::default() }
}

#[test]
fn a_dependency_without_a_row_and_a_row_without_a_dependency() {
    let good = [line("tokio", &["net"], "MIT"), line("http", &["default"], "MIT")];
    assert!(rules::undocumented(&good, &good).is_empty());
    let bad = [
        (&good[..1], &good[..], "### etcd-leader: normal http has a row, and is not used"),
        (&good[..], &good[..1], "http has no row"),
        (&good[..1], &[line("tokio", &["net", "fs"], "MIT")], "fs"),
        (&good[..1], &[line("tokio", &["net"], "ISC")], "ISC"),
    ];
    for (lines, rows, words) in bad {
        let wrong = rules::undocumented(lines, rows);
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{wrong:?}");
    }
}

#[test]
fn licences_are_read_as_expressions() {
    let allowed = strings(&["MIT", "Apache-2.0", "Unicode-3.0"]);
    let good =
        ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "(MIT OR GPL-2.0-only) AND Unicode-3.0", "Apache-2.0 / MIT"];
    for expression in good {
        assert!(is_met(expression, &allowed), "{expression}");
    }
    let bad = [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "MIT OR Apache-2.0 AND",
        "(MIT OR Apache-2.0) AND OpenSSL",
        "MIT AND (ISC OR GPL-2.0-or-later)",
        "Apache-2.0 WITH LLVM-exception",
        "LicenseRef-ours",
        "non-standard",
    ];
    for expression in bad {
        assert!(!is_met(expression, &allowed), "{expression}");
    }
}

#[test]
fn a_licence_that_is_not_allowed() {
    let (allowed, excused) = (strings(&["MIT"]), [("tool".to_string(), "MPL-2.0".to_string())]);
    let good = [named("one", "MIT"), named("tool", "MPL-2.0")];
    assert!(rules::unlicensed(&good, &allowed, &excused).is_empty());
    let bad = [
        (vec![named("one", "MIT"), named("tool", "MPL-2.0"), named("two", "MPL-2.0")], "two: \"MPL-2.0\""),
        (vec![named("one", "MIT"), named("tool", "GPL-3.0-only")], "tool: \"GPL-3.0-only\""),
        (vec![named("one", "MIT"), named("tool", "MIT")], "tool is excused, and need not be"),
        (vec![named("tool", "MPL-2.0")], "no crate has the licence MIT"),
    ];
    for (crates, words) in bad {
        let wrong = rules::unlicensed(&crates, &allowed, &excused);
        assert!(wrong.iter().any(|text| text == words), "{wrong:?}");
    }
}

#[test]
fn a_banned_crate() {
    let bans = [("openssl-sys".to_string(), Scope::Anywhere), ("time".to_string(), Scope::Shipped)];
    let shipped = |name| Crate { is_shipped: true, ..named(name, "MIT") };
    // A name that only begins like it is another crate.
    let good = [shipped("openssl-probe"), named("time", "MIT")];
    assert!(rules::banned(&good, &bans).is_empty());
    for bad in [named("openssl-sys", "MIT"), shipped("openssl-sys"), shipped("time")] {
        assert_eq!(rules::banned(std::slice::from_ref(&bad), &bans), [format!("{} is banned", bad.name)]);
    }
}

#[test]
#[should_panic(expected = "not for \"shipped\"")]
fn a_ban_that_holds_nowhere() {
    Scope::of("shipped");
}

#[test]
fn a_crate_from_elsewhere() {
    let lock = document::read("Cargo.lock");
    let ours = BTreeSet::from(["etcd-leader".to_string()]);
    let first = lock.split("[[package]]").find(|entry| entry.contains("checksum")).expect("an entry");
    let entry =
        |change: &dyn Fn(&str) -> String| rules::foreign(&format!("version = 4\n[[package]]{}", change(first)), &ours);
    let without = |key: &str| {
        let lines: Vec<&str> = first.lines().filter(|line| !line.starts_with(key)).collect();
        lines.join("\n")
    };
    assert!(entry(&str::to_string).is_empty());
    assert!(rules::foreign("[[package]]\nname = \"etcd-leader\"\nversion = \"1.0.0\"\n", &ours).is_empty());
    let bad = [
        (entry(&|entry| entry.replace("registry+", "git+")), "comes from git+"),
        (entry(&|entry| entry.replace("rust-lang/crates.io-index", "other/crates.io-index")), "comes from registry+"),
        (entry(&|_| without("checksum")), "has no checksum"),
        (entry(&|entry| entry.replace("checksum = \"", "checksum = \"x")), "has no checksum"),
        (entry(&|_| without("source")), "is a path outside of the workspace"),
    ];
    for (wrong, words) in bad {
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{wrong:?}");
    }
}

#[test]
fn a_crate_that_is_inside_twice() {
    let inside = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let twice: BTreeSet<_> = inside(&[("syn", "v2.0.0"), ("syn", "v3.0.0"), ("http", "v1.0.0")]);
    assert_eq!(rules::doubled(&twice, &[]), ["syn is inside as v2.0.0 and v3.0.0"]);
    assert!(rules::doubled(&twice, &strings(&["syn"])).is_empty());
    assert_eq!(rules::doubled(&twice, &strings(&["syn", "http"])), ["http is excused, and is not inside twice"]);
}

#[test]
fn a_build_script_that_fetches() {
    let script = |text: &str| [Crate { build_script: Some(text.into()), ..named("sys", "MIT") }];
    assert!(rules::fetching(&script("fn main() { cc::Build::new(); }"), &[]).is_empty());
    for text in ["std::net::TcpStream::connect(at)", "Command::new(\"curl\")", "ureq::get(url)"] {
        assert_eq!(rules::fetching(&script(text), &[]).len(), 1, "{text}");
    }
    let helper = [Crate { is_helper: true, ..named("cmake", "MIT") }];
    assert!(rules::fetching(&helper, &strings(&["cmake"])).is_empty());
    assert_eq!(rules::fetching(&helper, &[]), ["a build script uses cmake, which is not listed"]);
    assert_eq!(rules::fetching(&[], &strings(&["cmake"])), ["no build script uses cmake"]);
}

#[test]
fn an_npm_package_from_elsewhere() {
    let lock = |package| json!({ "packages": { "": {}, "node_modules/a/node_modules/b": package } });
    let good = json!({ "version": "1.0.0", "integrity": "sha512-x", "hasInstallScript": true });
    assert!(rules::npm(&lock(good), &strings(&["b"])).is_empty());
    let bad = [
        (json!({ "integrity": "sha512-x", "resolved": "git+ssh://elsewhere" }), "b comes from \"git+ssh://elsewhere\""),
        (json!({ "link": true }), "b comes from null"),
        (json!({ "version": "1.0.0" }), "b has no checksum"),
        (json!({ "integrity": "sha1-x" }), "b has no checksum"),
        (json!({ "integrity": "sha512-x", "hasInstallScript": true }), "b runs something when it is installed"),
    ];
    for (package, words) in bad {
        assert_eq!(rules::npm(&lock(package), &[]), [words]);
    }
}

#[test]
fn a_requirement_without_a_version() {
    assert!(rules::unpinned(["mypy==1.19.1; python_version < \"3.10\"", "uvloop==0.23.0"].into_iter()).is_empty());
    for bad in ["mypy", "mypy>=1", "mypy==1.*", "mypy @ git+https://elsewhere", "-r other.txt", "mypy== ; x"] {
        assert_eq!(rules::unpinned([bad].into_iter()).len(), 1, "{bad}");
    }
}

#[test]
#[should_panic(expected = "has no table below")]
fn a_heading_without_a_table() {
    document::table("# One\n\n| a |\n|---|\n\n## Two\n", "# One");
}
