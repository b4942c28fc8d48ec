//! What the README shows is a program, and elects.

#[path = "../../core/tests/support/mod.rs"]
mod support;

mod library;

use std::fs;

use library::{Way, Workshop, root};
use nix::sys::signal::Signal;
use support::Cluster;

#[test]
fn the_program_in_the_readme_compiles_and_elects() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let mut blocks = readme.split("```c\n").skip(1).filter_map(|rest| rest.split("```").next());
    let program = blocks.find(|block| block.contains("int main")).expect("a whole program");
    // The endpoint is the reader's own: here it is the test's.
    let cluster = Cluster::single();
    let shown = "http://127.0.0.1:2379";
    assert!(program.contains(shown));
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("readme.c");
    let unbuffered = "int main(void) {\n    setvbuf(stdout, NULL, _IONBF, 0);";
    let program = program.replace(shown, &cluster.urls()[0]).replace("int main(void) {", unbuffered);
    fs::write(&source, program).expect("written");

    let workshop = Workshop::new();
    let mut running = workshop.start(&workshop.compile(&source, Way::Plain), Way::Plain, &[]);
    running.says("leading, token ");
    running.says("the leader is host-1");
    running.signal(Signal::SIGINT);
    assert!(running.ends().success(), "{}", running.said());
    assert!(running.said().contains("not leading any more"), "{}", running.said());
}
