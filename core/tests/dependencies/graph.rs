//! What cargo says of our packages and all that they need, on every platform. Asks no network.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What is built into a door, or builds it: what its users depend on.
const SHIPPED: [&str; 4] = ["etcd-leader", "etcd-leader-rules", "etcd-leader-ffi", "etcd-leader-node"];

/// A crate that somebody else made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) licence: String,
    /// Our binaries need it, on some platform: it is inside, or was used to build them.
    pub(crate) is_shipped: bool,
    /// It is used by a build script of what is shipped.
    pub(crate) is_helper: bool,
    /// The source of its build script.
    pub(crate) build_script: Option<String>,
}

/// A line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// The heading that it belongs below.
    pub(crate) place: String,
    pub(crate) name: String,
    /// `default` among them, if the crate has some and they are not switched off.
    pub(crate) features: BTreeSet<String>,
    pub(crate) licence: String,
}

pub(crate) struct Graph {
    pub(crate) crates: Vec<Crate>,
    /// The names of our own packages.
    pub(crate) members: BTreeSet<String>,
    pub(crate) lines: Vec<Line>,
}

/// The words that cargo prints.
fn cargo(args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Those that can be reached from `roots` over dependencies of these kinds (`null` is what cargo calls a normal one).
fn reach<'a>(nodes: &BTreeMap<&str, &'a Value>, roots: &[&'a str], kinds: &[Value]) -> BTreeSet<&'a str> {
    let (mut found, mut open) = (BTreeSet::new(), roots.to_vec());
    while let Some(id) = open.pop() {
        if found.insert(id) {
            let is_one = |dep: &&Value| list(dep, "dep_kinds").iter().any(|kind| kinds.contains(&kind["kind"]));
            open.extend(list(nodes[id], "deps").iter().filter(is_one).map(|dep| text(&dep["pkg"])));
        }
    }
    found
}

pub(crate) fn graph() -> Graph {
    let said = cargo(&["metadata", "--format-version=1", "--locked", "--offline"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let packages = list(&said, "packages");
    let nodes: BTreeMap<&str, &Value> =
        list(&said["resolve"], "nodes").iter().map(|node| (text(&node["id"]), node)).collect();

    let ours: Vec<&Value> = list(&said, "workspace_members").iter().collect();
    let is_ours = |package: &Value| ours.contains(&&package["id"]);
    let ids = packages.iter().filter(|package| SHIPPED.contains(&text(&package["name"])) && is_ours(package));
    let roots: Vec<&str> = ids.map(|package| text(&package["id"])).collect();
    let (normal, build) = (Value::Null, Value::from("build"));
    let shipped = reach(&nodes, &roots, &[normal.clone(), build.clone()]);
    let is_build = |dep: &&Value| list(dep, "dep_kinds").iter().any(|kind| kind["kind"] == build);
    let scripts = shipped.iter().flat_map(|id| list(nodes[id], "deps").iter().filter(is_build));
    let helpers = reach(&nodes, &scripts.map(|dep| text(&dep["pkg"])).collect::<Vec<_>>(), &[normal, build]);

    let crates = packages.iter().filter(|package| !is_ours(package)).map(|package| {
        let is_script = |target: &&Value| list(target, "kind").iter().any(|kind| kind == "custom-build");
        let script = list(package, "targets").iter().find(is_script).map(|target| text(&target["src_path"]));
        Crate {
            name: text(&package["name"]).to_string(),
            licence: text(&package["license"]).to_string(),
            is_shipped: shipped.contains(text(&package["id"])),
            is_helper: helpers.contains(text(&package["id"])),
            build_script: script.map(|path| std::fs::read_to_string(path).expect("a build script")),
        }
    });
    let own = packages.iter().filter(|package| is_ours(package));
    Graph {
        crates: crates.collect(),
        members: own.clone().map(|package| text(&package["name"]).to_string()).collect(),
        lines: own.flat_map(|package| lines(package, packages)).collect(),
    }
}

/// What the manifest of one of our packages asks for; our own packages aside.
fn lines(package: &Value, packages: &[Value]) -> Vec<Line> {
    let foreign = list(package, "dependencies").iter().filter(|dependency| dependency["path"].is_null());
    foreign
        .map(|dependency| {
            let name = text(&dependency["name"]);
            let made = packages.iter().find(|package| package["name"] == name).expect("what is asked for");
            let mut features: BTreeSet<String> =
                list(dependency, "features").iter().map(|feature| text(feature).to_string()).collect();
            if dependency["uses_default_features"] == true && !list(&made["features"], "default").is_empty() {
                features.insert("default".into());
            }
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            let place = format!("### {}: {kind}", text(&package["name"]));
            Line { place, name: name.into(), features, licence: text(&made["license"]).into() }
        })
        .collect()
}

/// The crates whose code is inside the binary of a package, with their versions: no macros, nothing that only builds it.
pub(crate) fn inside(package: &str) -> BTreeSet<(String, String)> {
    let target = format!("--target={}-unknown-linux-gnu", std::env::consts::ARCH);
    let said = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "--package",
        package,
        "--edges=normal,no-proc-macro",
        &target,
        "--prefix=none",
        "--format={p}",
    ]);
    let ours = |line: &&str| line.contains(" v") && !line.contains("(/");
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next().unwrap_or_default().to_string(), words.next().unwrap_or_default().to_string())
    };
    said.lines().filter(ours).map(pair).collect()
}
