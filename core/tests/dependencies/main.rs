//! What we depend on: `core/docs/dependencies.md` gives each line of our manifests a reason, and these tests hold the
//! document, the manifests and the lock files against each other. `bad` shows each check a bad example.

mod bad;
mod document;
mod graph;
mod licences;
mod rules;

use std::collections::BTreeSet;

use graph::Line;
use serde_json::Value;

/// What npm brings for our tests.
const NPM: [&str; 3] = ["node/test", "core/tests/fleet", "core/tests/figures/peers"];
/// What pip brings for them.
const REQUIREMENTS: &str = "examples/python/tests/requirements.txt";

fn text() -> String {
    document::read(document::FILE)
}

fn json(file: &str) -> Value {
    serde_json::from_str(&document::read(file)).expect("JSON")
}

/// The rows of all tables that justify a line.
fn rows(text: &str) -> Vec<Line> {
    let places = text.lines().filter(|line| line.starts_with("### "));
    let rows = places.flat_map(|place| document::table(text, place).into_iter().map(move |row| (place, row)));
    rows.flat_map(|(place, row)| {
        let is_full = row.iter().enumerate().all(|(at, cell)| at == 1 || !cell.is_empty());
        assert!(row.len() == 6 && is_full, "a cell is missing, or empty: {row:?}");
        document::quoted(&row[0]).into_iter().map(move |name| Line {
            place: place.into(),
            name,
            features: document::quoted(&row[1]).into_iter().collect(),
            licence: row[4].clone(),
        })
    })
    .collect()
}

/// What an npm manifest asks for. Some packages of 2015 name no licence in a way that npm understands.
fn npm_lines(folder: &str) -> Vec<Line> {
    let (manifest, lock) = (json(&format!("{folder}/package.json")), json(&format!("{folder}/package-lock.json")));
    let asked = manifest["dependencies"].as_object().expect("dependencies");
    let line = |name: &String| Line {
        place: format!("### {folder}/package.json"),
        name: name.clone(),
        features: BTreeSet::new(),
        licence: lock["packages"][format!("node_modules/{name}")]["license"].as_str().unwrap_or("none named").into(),
    };
    asked.keys().map(line).collect()
}

fn requirements(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn nothing(wrong: &rules::Wrong) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_dependency_has_its_row() {
    let (text, required) = (text(), document::read(REQUIREMENTS));
    let mut rows = rows(&text);
    // What a Python package's licence is nobody here can say without installing it.
    let place = format!("### {REQUIREMENTS}");
    rows.iter_mut().filter(|row| row.place == place).for_each(|row| row.licence.clear());
    let mut lines = graph::graph().lines;
    assert!(lines.len() > 30, "only {} lines were understood", lines.len());
    lines.extend(NPM.iter().flat_map(|folder| npm_lines(folder)));
    let names: BTreeSet<&str> = requirements(&required).filter_map(|line| line.split("==").next()).collect();
    let line = |name: &str| Line {
        place: place.clone(),
        name: name.into(),
        features: BTreeSet::new(),
        licence: String::new(),
    };
    lines.extend(names.into_iter().map(line));
    nothing(&rules::undocumented(&lines, &rows));
}

#[test]
fn every_licence_is_one_we_take() {
    let crates = graph::graph().crates;
    assert!(crates.len() > 100, "only {} crates were understood", crates.len());
    let excused: Vec<(String, String)> = document::table(&text(), "## Licences excused")
        .iter()
        .flat_map(|row| document::quoted(&row[0]).into_iter().map(|name| (name, document::quoted(&row[1])[0].clone())))
        .collect();
    nothing(&rules::unlicensed(&crates, &licences::allowed(), &excused));
}

#[test]
fn nothing_banned_is_there() {
    let bans: Vec<_> = document::table(&text(), "## Bans")
        .iter()
        .flat_map(|row| document::quoted(&row[0]).into_iter().map(|name| (name, rules::Scope::of(&row[1]))))
        .collect();
    for name in ["openssl-sys", "native-tls", "aws-lc-sys", "protoc-bin-vendored"] {
        assert!(
            bans.contains(&(name.into(), rules::Scope::Anywhere)),
            "the ban of {name} is gone, or was not understood"
        );
    }
    let crates = graph::graph().crates;
    let is_shipped = |name: &str| crates.iter().any(|one| one.name == name && one.is_shipped);
    assert!(
        is_shipped("ring") && is_shipped("napi") && is_shipped("cc") && !is_shipped("spdx"),
        "what is shipped was not understood"
    );
    nothing(&rules::banned(&crates, &bans));
}

#[test]
fn every_crate_comes_from_crates_io() {
    let lock = document::read("Cargo.lock");
    assert!(lock.matches("\nchecksum = ").count() > 100, "the lock file was not understood");
    nothing(&rules::foreign(&lock, &graph::graph().members));
}

#[test]
fn build_scripts_fetch_nothing() {
    let crates = graph::graph().crates;
    assert!(crates.iter().filter(|one| one.build_script.is_some()).count() > 10, "no build scripts were found");
    nothing(&rules::fetching(&crates, &document::names(&text(), "## What build scripts use")));
}

#[test]
fn no_crate_is_inside_twice() {
    let excused = document::names(&text(), "## Two versions");
    let doors = ["etcd-leader-ffi", "etcd-leader-node"].map(graph::inside);
    for inside in doors {
        assert!(inside.len() > 50, "only {} crates were understood", inside.len());
        nothing(&rules::doubled(&inside, &excused));
    }
}

#[test]
fn npm_and_pip_bring_what_is_fixed() {
    let may_run = document::names(&text(), "## What npm may run");
    for folder in NPM {
        nothing(&rules::npm(&json(&format!("{folder}/package-lock.json")), &may_run));
    }
    // The package that users install brings nothing.
    let manifest = json("node/package.json");
    for kind in ["dependencies", "optionalDependencies", "peerDependencies", "bundleDependencies", "devDependencies"] {
        assert!(manifest[kind].is_null(), "the npm package has {kind}");
    }
    nothing(&rules::unpinned(requirements(&document::read(REQUIREMENTS))));
}
