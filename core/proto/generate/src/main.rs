//! Writes `core/src/backend/v3/proto.rs` from `core/proto/etcd.proto`.

use std::path::Path;
use std::{env, fs};

mod head;

fn main() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core/proto");
    let out = env::temp_dir().join(format!("etcd-leader-proto-{}", std::process::id()));
    fs::create_dir(&out).expect("a directory of its own");
    let code = generate(proto, &out);
    fs::remove_dir_all(&out).expect("the directory goes again");
    let file = proto.with_file_name("src/backend/v3/proto.rs");
    fs::write(file, head::head(proto, &code) + &code).expect("write proto.rs");
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
