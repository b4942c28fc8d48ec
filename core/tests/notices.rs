//! `THIRD-PARTY.txt` of each door names every crate inside its binary, with its licence. It goes with the binary.
//! `UPDATE_GENERATED=1` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "dependencies/document.rs"]
mod document;
#[path = "dependencies/licences.rs"]
mod licences;

/// The doors: package, where its notices stand, and what its binary is called.
const DOORS: [(&str, &str, &str); 2] = [
    ("etcd-leader-ffi", "../ffi/THIRD-PARTY.txt", "libetcd_leader"),
    ("etcd-leader-node", "../node/THIRD-PARTY.txt", "etcd-leader.node"),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The packages that a door is made of: what it depends on, not what builds or tests it.
fn packages<'a>(metadata: &'a Value, door: &str) -> Vec<&'a Value> {
    let list = |value: &'static str, of: &'_ Value| of[value].as_array().expect("a list").clone();
    let nodes: BTreeMap<String, Vec<String>> = list("nodes", &metadata["resolve"])
        .iter()
        .map(|node| {
            let is_normal = |dep: &&Value| list("dep_kinds", dep).iter().any(|kind| kind["kind"].is_null());
            let deps = list("deps", node);
            let ids = deps.iter().filter(is_normal).map(|dep| text(&dep["pkg"]).to_string());
            (text(&node["id"]).to_string(), ids.collect())
        })
        .collect();
    let all = metadata["packages"].as_array().expect("packages");
    let root = all.iter().find(|package| package["name"] == door).expect("our own package");
    let (mut found, mut open) = (BTreeSet::new(), vec![text(&root["id"]).to_string()]);
    while let Some(id) = open.pop() {
        if found.insert(id.clone()) {
            open.extend(nodes[&id].iter().cloned());
        }
    }
    let mut inside: Vec<&Value> =
        all.iter().filter(|package| found.contains(text(&package["id"])) && !package["source"].is_null()).collect();
    inside.sort_by_key(|package| (text(&package["name"]), text(&package["version"])));
    inside
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The licence and notice files of a package.
fn licence_files(package: &Value) -> Vec<PathBuf> {
    let folder = Path::new(text(&package["manifest_path"])).parent().expect("a folder");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("its sources")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            path.is_file() && ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|start| name.starts_with(start))
        })
        .collect();
    files.sort();
    files
}

fn notices(metadata: &Value, door: &str, binary: &str) -> String {
    let packages = packages(metadata, door);
    let mut out = format!("{binary} contains the following software. Texts that several share stand once.\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in &packages {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let _ = write!(out, "\n{name}: {}", text(&package["license"]));
        for file in licence_files(package) {
            let lines: Vec<String> = String::from_utf8_lossy(&fs::read(file).expect("its text"))
                .lines()
                .map(|line| line.trim_end().to_string())
                .collect();
            let owners = texts.entry(lines.join("\n").trim_matches('\n').to_string()).or_default();
            if !owners.contains(&name) {
                owners.push(name.clone());
            }
        }
    }
    out += "\n";
    for (text, owners) in texts {
        let _ = write!(out, "\n{}\n{}\n\n{text}\n", "=".repeat(100), owners.join(", "));
    }
    out
}

#[test]
fn the_notices_name_what_is_inside() {
    let metadata = metadata();
    for (door, file, binary) in DOORS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let expected = notices(&metadata, door, binary);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, &expected).expect("written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == expected, "{file} is old: run this test with UPDATE_GENERATED=1");
    }
}

#[test]
fn every_licence_inside_is_one_we_may_ship() {
    let (metadata, allowed) = (metadata(), licences::allowed());
    for package in DOORS.iter().flat_map(|(door, ..)| packages(&metadata, door)) {
        let licence = text(&package["license"]);
        assert!(licences::is_met(licence, &allowed), "{}: {licence:?}", text(&package["name"]));
    }
}
