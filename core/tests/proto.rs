//! `src/backend/v3/proto.rs` is what `proto/etcd.proto` gives; `UPDATE_GENERATED=1 cargo test --test proto` rewrites it.

use std::path::Path;
use std::{env, fs};

const HEADER: &str = "// Generated from core/proto/etcd.proto; do not edit.\n\
                      // To write it anew: UPDATE_GENERATED=1 cargo test -p etcd-leader --test proto\n";

#[test]
fn the_committed_code_is_what_the_proto_file_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/backend/v3/proto.rs");
    let generated = generate(&root.join("proto"));
    if env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        fs::write(&committed, &generated).expect("write proto.rs");
    }
    let found = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        found == generated,
        "{} does not match proto/etcd.proto; run UPDATE_GENERATED=1 cargo test -p etcd-leader --test proto",
        committed.display()
    );
}

fn generate(include: &Path) -> String {
    let descriptors = protox::compile(["etcd.proto"], [include]).expect("compile etcd.proto");
    let out = tempfile::tempdir().expect("a temporary directory");
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .codec_path("super::super::codec::Codec")
        .emit_rerun_if_changed(false)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("generate");
    HEADER.to_string() + &fs::read_to_string(out.path().join("etcdserverpb.rs")).expect("read what was generated")
}
