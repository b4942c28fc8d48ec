//! `src/backend/v3/proto.rs` is what `proto/etcd.proto` gives: the program that generates it, `proto/generate`, writes the
//! checksums of both into its head. It needs 23 crates that nothing else needs, so the tests do not build it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

const REMEDY: &str =
    "write it anew: cargo run --manifest-path core/proto/generate/Cargo.toml --target-dir target/generate";

#[test]
fn the_committed_code_is_what_the_proto_file_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = fs::read_to_string(root.join("src/backend/v3/proto.rs")).expect("proto.rs");
    let source = fs::read(root.join("proto/etcd.proto")).expect("etcd.proto");
    for (what, bytes) in [("etcd.proto", &*source), ("the lines below", after_the_head(&code).as_bytes())] {
        let line = format!("// SHA-256 of {what}: {}\n", checksum(bytes));
        assert!(code.contains(&line), "proto.rs was generated from another etcd.proto, or has been edited; {REMEDY}");
    }
}

fn after_the_head(code: &str) -> &str {
    let last = code.find("// SHA-256 of the lines below").expect("its head names the checksum of its lines");
    code[last..].split_once('\n').expect("lines below").1
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    })
}
