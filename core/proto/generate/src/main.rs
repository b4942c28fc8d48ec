//! Writes `core/src/backend/v3/proto.rs` from `core/proto/etcd.proto`. Both checksums are written, too: by them the test `proto`
//! sees that neither file has changed without the other.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use sha2::{Digest, Sha256};

fn main() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core/proto");
    let out = env::temp_dir().join(format!("etcd-leader-proto-{}", std::process::id()));
    fs::create_dir(&out).expect("a directory of its own");
    let code = generate(proto, &out);
    fs::remove_dir_all(&out).expect("the directory goes again");
    let source = fs::read(proto.join("etcd.proto")).expect("etcd.proto");
    let header = format!(
        "// Generated from core/proto/etcd.proto; do not edit. To write it anew:\n\
         // cargo run --manifest-path core/proto/generate/Cargo.toml --target-dir target/generate\n\
         // SHA-256 of etcd.proto: {}\n\
         // SHA-256 of the lines below: {}\n",
        checksum(&source),
        checksum(code.as_bytes()),
    );
    fs::write(proto.with_file_name("src/backend/v3/proto.rs"), header + &code).expect("write proto.rs");
}

fn generate(proto: &Path, out: &Path) -> String {
    let descriptors = protox::compile(["etcd.proto"], [proto]).expect("compile etcd.proto");
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .codec_path("super::super::codec::Codec")
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(descriptors)
        .expect("generate");
    fs::read_to_string(out.join("etcdserverpb.rs")).expect("read what was generated")
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    })
}
