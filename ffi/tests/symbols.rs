//! What the shared library exports and needs, and that the header's statuses are the library's.

mod library;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use etcd_leader::ErrorKind;
use library::{Way, Workshop, built, root};

fn said_of_library(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).arg(built().join("libetcd_leader.so")).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}; install Debian's package binutils"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn header() -> String {
    fs::read_to_string(root().join("include/etcd_leader.h")).expect("the header")
}

#[test]
fn exports_what_the_header_declares_and_nothing_else() {
    let said = said_of_library("nm", &["-D", "--defined-only"]);
    let mut exported: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let header = header();
    let (_, declarations) = header.split_once("extern \"C\" {\n").expect("the functions");
    let declared =
        declarations.lines().filter(|line| line.contains('(') && line.starts_with(|first: char| first.is_alphabetic()));
    let mut declared: Vec<&str> =
        declared.filter_map(|line| line.split('(').next()?.split([' ', '*']).next_back()).collect();
    exported.sort_unstable();
    declared.sort_unstable();
    assert_eq!(exported, declared);
    assert_eq!(exported.len(), 22);
}

#[test]
fn needs_the_c_library_only() {
    for line in said_of_library("ldd", &[]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let name = Path::new(name).file_name().expect("a name").to_string_lossy().into_owned();
        let known = ["linux-vdso.so", "libc.so", "libm.so", "libgcc_s.so", "ld-linux"];
        assert!(known.iter().any(|known| name.starts_with(known)), "{line}");
    }
}

#[test]
fn is_named_and_never_unloaded() {
    let said = said_of_library("readelf", &["-d"]);
    assert!(said.contains("soname: [libetcd_leader.so.1]"), "{said}");
    assert!(said.contains("NODELETE"), "{said}");
}

#[test]
fn every_status_is_declared_and_named() {
    let header = header();
    let names: Vec<&str> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split(' ').next())
        .filter(|name| name.starts_with("EL_") && *name != "EL_ABI_VERSION")
        .filter(|name| !["EL_EVENT_", "EL_API_", "EL_ON_STORE_RESET_"].iter().any(|start| name.starts_with(start)))
        .collect();
    assert_eq!(names.len(), 1 + ErrorKind::ALL.len());
    let mut text = "#include <etcd_leader.h>\n#include <stdio.h>\nint main(void) {\n".to_string();
    for name in &names {
        writeln!(text, "printf(\"%d %s\\n\", {name}, el_status_name({name}));").expect("written");
    }
    text.push_str("return 0;\n}\n");
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("names.c");
    fs::write(&source, text).expect("written");
    let workshop = Workshop::new();
    let mut running = workshop.start(&workshop.compile(&source, Way::Plain), Way::Plain, &[]);
    assert!(running.ends().success());
    let expected: String = names.iter().enumerate().map(|(at, name)| format!("{} {name}\n", -(at as i32))).collect();
    assert_eq!(running.said(), expected);
}
