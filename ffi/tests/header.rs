//! `include/etcd_leader.h` is what cbindgen makes of the sources, and every compiler takes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn generate() -> String {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(home.join("cbindgen.toml")).expect("ffi/cbindgen.toml");
    let builder = cbindgen::Builder::new().with_config(config).with_src(home.join("src/lib.rs"));
    let mut header = Vec::new();
    builder.generate().expect("cbindgen").write(&mut header);
    String::from_utf8(header).expect("UTF-8")
}

#[test]
fn the_header_is_what_the_sources_say() {
    let path = root().join("include/etcd_leader.h");
    let header = generate();
    if env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        fs::write(&path, &header).expect("write the header");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == header, "include/etcd_leader.h is out of date: run this test with UPDATE_GENERATED=1");
}

#[test]
fn every_compiler_takes_the_header_twice_without_a_word() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "#include <etcd_leader.h>\n#include <etcd_leader.h>\nint main(void) { return EL_OK; }\n";
    for (compiler, package, suffix, standards) in [
        ("gcc", "gcc", "c", &["c99", "c11", "c17"][..]),
        ("clang", "clang", "c", &["c99", "c11", "c17"]),
        ("g++", "g++", "cc", &["c++11", "c++14", "c++17", "c++20"]),
        ("clang++", "clang", "cc", &["c++11", "c++14", "c++17", "c++20"]),
    ] {
        let source = directory.path().join(format!("twice.{suffix}"));
        fs::write(&source, text).expect("write");
        for standard in standards {
            let output = Command::new(compiler)
                .args([&format!("-std={standard}"), "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
                .arg("-I")
                .args([&root().join("include"), &source])
                .output()
                .unwrap_or_else(|error| panic!("{compiler}: {error}; install Debian's package {package}"));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{compiler} -std={standard}:\n{said}");
        }
    }
}

#[test]
fn every_status_of_the_header_is_documented() {
    let header = generate();
    let lines: Vec<&str> = header.lines().collect();
    let constants: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("#define EL_")).collect();
    assert!(constants.len() > 20);
    for at in constants {
        assert_eq!(lines[at - 1], " */", "{}", lines[at]);
    }
}
