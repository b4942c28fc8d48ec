//! The head of the generated file. Its checksum covers all that the code depends on and the code itself, so that the test `proto`
//! sees each change of one without the others.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// All that decides what is generated, below `core/proto`.
const SOURCES: [&str; 3] = ["etcd.proto", "generate/src/main.rs", "generate/Cargo.lock"];

/// The head of this code, which was generated in the folder `core/proto`.
pub(crate) fn head(proto: &Path, code: &str) -> String {
    let mut sum = Sha256::new();
    for source in SOURCES {
        sum.update(fs::read(proto.join(source)).expect("a source of the code"));
    }
    sum.update(code);
    let mut head = "// Generated from core/proto/etcd.proto; do not edit. To write it anew:\n\
                    // cargo run --manifest-path core/proto/generate/Cargo.toml --target-dir target/generate\n\
                    // SHA-256 of all that it is generated from, and of the lines below: "
        .to_owned();
    sum.finalize().iter().for_each(|byte| write!(head, "{byte:02x}").expect("memory"));
    head + "\n"
}
