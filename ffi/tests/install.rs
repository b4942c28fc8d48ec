//! `make install`, `uninstall` and `dist`: what is put where, and that programs of those who have it build and elect.

mod library;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use library::{built, root};
use support::Cluster;
use tempfile::TempDir;

/// The newest glibc of which the library needs something. ffi/README.md says so.
const GLIBC: (u32, u32) = (2, 34);

/// What every compiler adds by itself.
const USUAL: [&str; 2] = ["-lgcc_s", "-lc"];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A command as a user gives it in a shell: nothing of cargo's in the environment, nor of the make that runs all tests.
fn shell(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_", "RUST_", "MAKE", "MFLAGS", "LD_LIBRARY_PATH", "PKG_CONFIG"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            command.env_remove(&*name);
        }
    }
    command.current_dir(root());
    command
}

fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// One at a time: what they build is built once.
fn make(arguments: &[&str]) -> String {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    said(shell("make").arg("--no-print-directory").args(arguments))
}

/// An installed tree, in another place than the one it was installed in.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        let directory = tempfile::tempdir().expect("a directory");
        make(&["install", &format!("PREFIX={}", directory.path().join("first").display())]);
        fs::rename(directory.path().join("first"), directory.path().join("moved")).expect("moved");
        Tree(directory)
    }

    fn path(&self, within: &str) -> PathBuf {
        self.0.path().join("moved").join(within)
    }

    fn pkg_config(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = shell("pkg-config");
        command.env("PKG_CONFIG_PATH", self.path("lib/pkgconfig")).args(arguments);
        said(&mut command).split_whitespace().map(String::from).collect()
    }
}

/// All files below a directory; a link with what it points to.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a directory").flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                open.push(entry.path());
                continue;
            }
            let name = entry.path().strip_prefix(directory).expect("below").display().to_string();
            let what = match fs::read_link(entry.path()) {
                Ok(target) => target.display().to_string(),
                Err(_) => format!("{:o}", entry.metadata().expect("its mode").permissions().mode() & 0o7777),
            };
            found.insert(name, what);
        }
    }
    found
}

fn expected() -> BTreeMap<String, String> {
    let library = format!("lib/libetcd_leader.so.{VERSION}");
    let target = format!("libetcd_leader.so.{VERSION}");
    let mut all = vec![
        ("include/etcd_leader.h", "644"),
        ("lib/cmake/etcd_leader/etcd_leader-config-version.cmake", "644"),
        ("lib/cmake/etcd_leader/etcd_leader-config.cmake", "644"),
        ("lib/libetcd_leader.a", "644"),
        ("lib/libetcd_leader.so", "libetcd_leader.so.1"),
        ("lib/libetcd_leader.so.1", &target),
        (&library, "755"),
        ("lib/pkgconfig/etcd_leader-static.pc", "644"),
        ("lib/pkgconfig/etcd_leader.pc", "644"),
        ("share/doc/etcd_leader/LICENSE", "644"),
        ("share/doc/etcd_leader/THIRD-PARTY.txt", "644"),
    ];
    // Made by hand, and not of one day.
    if root().join("include/etcd_leader.hpp").exists() {
        all.push(("include/etcd_leader.hpp", "644"));
    }
    if ["lead", "lead.c"].iter().any(|name| root().join("examples/c").join(name).exists()) {
        all.push(("bin/lead", "755"));
    }
    all.into_iter().map(|(name, what)| (name.to_string(), what.to_string())).collect()
}

#[test]
fn what_is_installed_and_that_uninstall_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let stage = directory.path().display().to_string();
    let destination = format!("DESTDIR={stage}");
    make(&["install", &destination]);
    assert_eq!(files(&directory.path().join("usr/local")), expected());
    for name in files(directory.path()).keys().filter(|name| name.ends_with(".pc") || name.ends_with(".cmake")) {
        let text = fs::read_to_string(directory.path().join(name)).expect("text");
        assert!(!text.contains(&stage) && !text.contains('@') && !text.contains("/usr"), "{name}:\n{text}");
    }
    make(&["uninstall", &destination]);
    assert_eq!(fs::read_dir(directory.path()).expect("it stays").count(), 0);

    // Other places, as distributions have them; what is somebody else's stays, what is an older version of ours goes.
    let places = ["PREFIX=/usr", "LIBDIR=/usr/lib/x86_64-linux-gnu", "INCLUDEDIR=/usr/include/etcd"];
    let library = directory.path().join("usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&library).expect("made");
    for name in ["libother.so.1", "libetcd_leader.so.1.0.0-old"] {
        fs::write(library.join(name), "").expect("written");
    }
    make(&[&["install", &destination], &places[..]].concat());
    assert_eq!(files(directory.path()).len(), expected().len() + 1);
    let text = fs::read_to_string(library.join("pkgconfig/etcd_leader.pc")).expect("text");
    assert!(text.contains("prefix=${pcfiledir}/../../..\nlibdir=${prefix}/lib/x86_64-linux-gnu\n"), "{text}");
    assert!(text.contains("includedir=${prefix}/include/etcd\n"), "{text}");
    make(&[&["uninstall", &destination], &places[..]].concat());
    assert_eq!(files(directory.path()).into_keys().collect::<Vec<_>>(), ["usr/lib/x86_64-linux-gnu/libother.so.1"]);
}

/// A command of somebody who has neither Rust nor a network nor any right here, as far as we can make one.
fn stranger(tools: &Path) -> Command {
    for name in ["cargo", "rustc"] {
        let stub = tools.join(name);
        fs::write(&stub, "#!/bin/sh\necho there is no Rust here >&2\nexit 1\n").expect("written");
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("changed");
    }
    let nobody = ["unshare", "--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut tried = shell(nobody[0]);
    tried.args(&nobody[1..]).args(["test", "-r", "Makefile"]).stderr(Stdio::null());
    let is_possible = tried.status().is_ok_and(|status| status.success());
    let mut command = if is_possible { shell(nobody[0]) } else { shell("env") };
    command.args(if is_possible { &nobody[1..] } else { &[] });
    command.args(["env", "-i", &format!("PATH={}:/usr/bin:/bin", tools.display()), "make", "--no-print-directory"]);
    command
}

#[test]
fn who_installs_needs_no_rust_no_network_and_no_root() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("changed");
    let prefix = format!("PREFIX={}", directory.path().join("of my own").display());
    make(&["install", &prefix]);
    make(&["uninstall", &prefix]);
    let made = [
        "release/libetcd_leader.so",
        "release/libetcd_leader.a",
        "release/install/libetcd_leader.a",
        "release/install/libraries",
    ];
    let ages =
        || made.map(|name| fs::metadata(root().join("target").join(name)).expect(name).modified().expect("its age"));
    let before = ages();
    let tools = tempfile::tempdir().expect("a directory");
    fs::set_permissions(tools.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    said(stranger(tools.path()).args(["install", &prefix]));
    assert_eq!(files(&directory.path().join("of my own")), expected());
    assert_eq!(ages(), before);
    said(stranger(tools.path()).args(["uninstall", &prefix]));
    assert_eq!(fs::read_dir(directory.path()).expect("it stays").count(), 0);
}

#[test]
fn a_place_that_is_none_is_refused() {
    let output = shell("make").args(["install", "PREFIX=here"]).output().expect("make");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("PREFIX is \"here\"; give a path that begins with a slash"),
        "{said}"
    );
}

/// What a program must find when it starts.
fn needed(program: &Path) -> Vec<String> {
    let said = said(shell("readelf").arg("-d").arg(program));
    let names = said.lines().filter(|line| line.contains("(NEEDED)"));
    names.filter_map(|line| Some(line.split('[').nth(1)?.trim_end_matches(']').to_string())).collect()
}

/// It elects; whether it has the library inside.
fn elects(program: &Path, cluster: &Cluster, is_inside: bool) {
    let shared = needed(program).iter().filter(|name| *name == "libetcd_leader.so.1").count();
    assert_eq!(shared, usize::from(!is_inside), "{}", program.display());
    let said = said(shell(&program.display().to_string()).arg(&cluster.urls()[0]));
    assert_eq!(said, format!("elected 1, version {VERSION}\n"), "{}", program.display());
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/install")
}

#[test]
fn programs_in_c_and_cpp_through_pkg_config() {
    let (tree, cluster) = (Tree::new(), Cluster::single());
    assert_eq!(tree.pkg_config(&["--modversion", "etcd_leader"]), [VERSION]);
    let rpath = format!("-Wl,-rpath,{}", tree.path("lib").display());
    for (compiler, standard, name) in [("gcc", "c99", "elect.c"), ("g++", "c++17", "elect.cc")] {
        let ways = [
            ("shared", &["--cflags", "--libs", "etcd_leader"][..], &*rpath),
            ("alone", &["--static", "--cflags", "--libs", "etcd_leader"], "-static"),
            ("inside", &["--cflags", "--libs", "etcd_leader-static"], "-O1"),
        ];
        for (way, asked, besides) in ways {
            let program = tree.path(&format!("{compiler}-{way}"));
            let mut command = shell(compiler);
            command
                .args([&format!("-std={standard}"), "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"])
                .arg(&program);
            said(command.arg(sources().join(name)).args(tree.pkg_config(asked)).arg(besides));
            elects(&program, &cluster, way != "shared");
        }
    }
}

#[test]
fn programs_in_c_and_cpp_through_cmake() {
    let (tree, cluster) = (Tree::new(), Cluster::single());
    let build = tree.path("build");
    let mut cmake = shell("cmake");
    cmake.arg("-S").arg(sources()).arg("-B").arg(&build);
    said(cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", tree.path("").display())));
    said(shell("cmake").arg("--build").arg(&build).args(["--parallel", "2"]));
    for language in ["c", "cc"] {
        elects(&build.join(format!("elect-{language}-shared")), &cluster, false);
        elects(&build.join(format!("elect-{language}-static")), &cluster, true);
    }
    // Half of a tree is none.
    fs::remove_file(tree.path("lib/libetcd_leader.a")).expect("removed");
    let mut cmake = shell("cmake");
    cmake.arg("-S").arg(sources()).arg("-B").arg(tree.path("other"));
    let output = cmake.arg(format!("-DCMAKE_PREFIX_PATH={}", tree.path("").display())).output().expect("cmake");
    // CMake breaks lines where they become too long, and the path may be long.
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && said.contains("libetcd_leader.a is missing"), "{said}");
}

/// What the compiler names when it makes a static library of all that is inside ours.
fn libraries_of_the_compiler() -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let (source, list) = (directory.path().join("all.rs"), directory.path().join("list"));
    fs::write(&source, "pub use etcd_leader::Election;\n").expect("written");
    let mut rustc = shell("rustc");
    rustc.args(["--edition=2024", "--crate-type=staticlib", "--extern"]);
    rustc.arg(format!("etcd_leader={}", built().join("libetcd_leader.rlib").display()));
    rustc.arg("-L").arg(format!("dependency={}", built().join("deps").display()));
    rustc.arg(format!("--print=native-static-libs={}", list.display()));
    said(rustc.arg("-o").arg(directory.path().join("all.a")).arg(&source));
    fs::read_to_string(&list).expect("the list").split_whitespace().map(String::from).collect()
}

#[test]
fn the_static_library_asks_for_what_the_compiler_says() {
    let expected: Vec<String> =
        libraries_of_the_compiler().into_iter().filter(|name| !USUAL.contains(&&**name)).collect();
    assert!(expected.contains(&"-lpthread".to_string()), "{expected:?}");
    let tree = Tree::new();
    let flags = |arguments: &[&str]| {
        let all = tree.pkg_config(arguments).into_iter();
        all.filter(|flag| flag.starts_with("-l") && flag != "-letcd_leader").collect::<Vec<_>>()
    };
    assert_eq!(flags(&["--static", "--libs", "etcd_leader"]), expected);
    assert_eq!(flags(&["--libs", "etcd_leader-static"]), expected);
    assert!(flags(&["--libs", "etcd_leader"]).is_empty());
    let config = fs::read_to_string(tree.path("lib/cmake/etcd_leader/etcd_leader-config.cmake")).expect("the file");
    let names: Vec<&str> = expected.iter().map(|name| name.trim_start_matches("-l")).collect();
    assert!(config.contains(&format!("INTERFACE_LINK_LIBRARIES \"{}\"", names.join(";"))), "{config}");
}

#[test]
fn the_static_library_shows_nothing_else_and_goes_with_another_rust_library() {
    let tree = Tree::new();
    let shown = said(shell("nm").args(["--extern-only", "--defined-only"]).arg(tree.path("lib/libetcd_leader.a")));
    let names = shown.lines().filter_map(|line| line.split_whitespace().nth(2));
    let (ours, others): (Vec<&str>, Vec<&str>) = names.partition(|name| name.starts_with("el_"));
    assert!(ours.len() >= 13 && others.is_empty(), "{others:?}");
    let other = tree.path("libother.a");
    let mut rustc = shell("rustc");
    rustc.args(["--edition=2024", "--crate-type=staticlib", "-o"]).arg(&other);
    said(rustc.arg(sources().join("other.rs")));
    let flags = tree.pkg_config(&["--cflags", "--libs", "etcd_leader-static"]);
    for libraries in
        [[&[other.display().to_string()], &flags[..]].concat(), [&flags[..], &[other.display().to_string()]].concat()]
    {
        let program = tree.path("both");
        said(shell("gcc").arg("-o").arg(&program).arg(sources().join("both.c")).args(&libraries));
        assert_eq!(said(&mut shell(&program.display().to_string())), "");
    }
}

#[test]
fn what_the_shared_library_and_lead_ask_of_the_system() {
    let tree = Tree::new();
    let library = tree.path("lib/libetcd_leader.so");
    let mut binaries = vec![library.clone()];
    binaries.extend(Some(tree.path("bin/lead")).filter(|lead| lead.exists()));
    for binary in binaries {
        let said = said(shell("objdump").arg("-T").arg(&binary));
        let versions = said.split(['(', ')']).filter_map(|word| word.strip_prefix("GLIBC_"));
        let numbers = versions.filter_map(|version| {
            let (major, rest) = version.split_once('.')?;
            Some((major.parse::<u32>().ok()?, rest.split('.').next()?.parse::<u32>().ok()?))
        });
        let newest = numbers.max().expect("a version");
        assert!(newest <= GLIBC, "{} needs glibc {newest:?}", binary.display());
        let others = ["libgcc_s.so.1", "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"];
        assert!(needed(&binary).iter().all(|name| others.contains(&&**name)), "{:?}", needed(&binary));
        let flags = said_of(&binary);
        for flag in ["RPATH", "RUNPATH", "TEXTREL"] {
            assert!(!flags.contains(flag), "{flag}:\n{flags}");
        }
        assert!(flags.contains("BIND_NOW") || flags.contains("NOW"), "{flags}");
    }
    // Storage of threads that is laid out at the start of a program would keep it from being loaded later.
    assert!(!said_of(&library).contains("STATIC_TLS"));
}

fn said_of(binary: &Path) -> String {
    let said = said(shell("readelf").args(["--dynamic", "--segments", "--wide"]).arg(binary));
    let stack = said.lines().find(|line| line.contains("GNU_STACK")).expect("a stack");
    assert!(!stack.contains("RWE"), "{stack}");
    said
}

#[test]
fn the_tree_in_one_file() {
    let path = root().join(make(&["dist"]).trim());
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(name, format!("etcd_leader-{VERSION}-linux-{}-gnu.tar.gz", env::consts::ARCH));
    let first = fs::read(&path).expect("the file");
    make(&["dist"]);
    assert!(fs::read(&path).expect("the file") == first, "it is another one the second time");
    said(
        shell("sha256sum")
            .args(["--check", "--status", &format!("{name}.sha256")])
            .current_dir(root().join("target/dist")),
    );

    let (directory, cluster) = (tempfile::tempdir().expect("a directory"), Cluster::single());
    said(shell("tar").arg("-xzf").arg(&path).arg("-C").arg(directory.path()));
    let unpacked = directory.path().join(name.trim_end_matches(".tar.gz"));
    assert_eq!(files(&unpacked), expected());
    let mut flags = shell("pkg-config");
    flags.env("PKG_CONFIG_PATH", unpacked.join("lib/pkgconfig")).args(["--cflags", "--libs", "etcd_leader"]);
    let flags = said(&mut flags);
    let program = directory.path().join("elect");
    let rpath = format!("-Wl,-rpath,{}", unpacked.join("lib").display());
    said(shell("gcc").arg(sources().join("elect.c")).args(flags.split_whitespace()).arg(rpath).arg("-o").arg(&program));
    elects(&program, &cluster, false);
    if unpacked.join("bin/lead").exists() {
        said(shell(&unpacked.join("bin/lead").display().to_string()).arg("--help"));
    }
}
