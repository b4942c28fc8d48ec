//! `src/backend/v3/proto.rs` is what the program `proto/generate` writes. That program needs crates that nothing else needs, so the
//! tests do not build it; a checksum in the head of the file covers the file and all that it is generated from.

use std::fs;
use std::path::Path;

#[path = "../proto/generate/src/head.rs"]
mod head;

#[test]
fn the_code_and_all_that_it_is_generated_from_have_changed_together() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = fs::read_to_string(core.join("src/backend/v3/proto.rs")).expect("proto.rs");
    let (_, code) = file.split_at(file.find("// This file is @generated").expect("the first line of prost"));
    let expected = head::head(&core.join("proto"), code) + code;
    assert!(file == expected, "proto.rs was generated from something else, or edited; write it as its head says");
}

/// The code is written for the versions that it is compiled with.
#[test]
fn the_generator_has_the_versions_of_the_workspace() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = |lock: &str, name: &str| {
        let lock = fs::read_to_string(core.join(lock)).expect("a lock file");
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect(name);
        rest.split('"').next().expect("a version").to_owned()
    };
    for (used, generator) in [("prost", "prost-build"), ("tonic-prost", "tonic-prost-build")] {
        assert_eq!(version("../Cargo.lock", used), version("proto/generate/Cargo.lock", generator), "{generator}");
    }
}
