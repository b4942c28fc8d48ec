//! The program in ffi/README.md compiles and elects, the README's line starts an etcd, and every link leads somewhere.

mod library;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use library::{Way, Workshop, built, root};
use nix::sys::signal::Signal;
use support::Cluster;

#[test]
fn the_program_in_the_readme_compiles_and_elects() {
    let readme = fs::read_to_string(root().join("ffi/README.md")).expect("the README for C");
    let mut blocks = readme.split("```c\n").skip(1).filter_map(|rest| rest.split("```").next());
    let program = blocks.find(|block| block.contains("int main")).expect("a whole program");
    // The endpoint is the reader's own: here it is the test's.
    let cluster = Cluster::single();
    let shown = "http://127.0.0.1:2379";
    assert!(program.contains(shown));
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("prog.c");
    let unbuffered = "int main(void) {\n    setvbuf(stdout, NULL, _IONBF, 0);";
    let program = program.replace(shown, &cluster.urls()[0]).replace("int main(void) {", unbuffered);
    fs::write(&source, program).expect("written");

    let workshop = Workshop::new();
    workshop.compile(&source, Way::Plain);
    // The line for those who have installed nothing, where all is as `make lib` leaves it.
    let line = readme.split('`').find(|part| part.starts_with("cc prog.c -Iinclude ")).expect("the line");
    let built_to = directory.path().join("target/release");
    fs::create_dir_all(&built_to).expect("a directory");
    for name in ["libetcd_leader.so", "libetcd_leader.so.1"] {
        symlink(built().join("libetcd_leader.so"), built_to.join(name)).expect("a link");
    }
    symlink(root().join("include"), directory.path().join("include")).expect("a link");
    let compiled = Command::new("sh").args(["-c", line]).current_dir(directory.path()).status().expect("sh");
    assert!(compiled.success(), "{line}");
    let program = directory.path().join("a.out");
    let mut running = workshop.start(&program, Way::Plain, &[]);
    running.says("leading, token ");
    running.says("the leader is host-1");
    running.signal(Signal::SIGINT);
    assert!(running.ends().success(), "{}", running.said());
    assert!(running.said().contains("not leading any more"), "{}", running.said());
}

/// In a network of its own, where nobody else listens.
#[test]
fn the_line_that_starts_an_etcd_starts_one() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, section) = readme.split_once("\n## An etcd to try it on\n").expect("the section");
    let line = section.split("```sh\n").nth(1).and_then(|block| block.lines().next()).expect("the line");
    // The flags for the container, too: they are etcd's own.
    let flags = section.split('`').find(|part| part.starts_with("--listen-client-urls")).expect("the flags");
    for more in ["", "--enable-v2=true", flags] {
        if more.contains("v2") && !support::has_v2() {
            continue;
        }
        let line = line.split("    #").next().expect("the command");
        let script = format!(
            "ip link set lo up
            eval \"$(make etcd)\" || exit
            ({line} {more}) >said 2>&1 &
            for try in $(seq 600); do
                ETCDCTL_API=3 \"$ETCDCTL_BIN\" --endpoints http://127.0.0.1:2379 endpoint health && exit
                sleep 0.1
            done
            cat said; exit 1"
        );
        let directory = tempfile::tempdir().expect("a directory");
        let script = script.replace("said", &directory.path().join("said").display().to_string());
        let mut shell = Command::new("unshare");
        shell.args(["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", &script]);
        // Of whoever runs make to run this.
        shell.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env("TMPDIR", directory.path()).current_dir(root());
        let output = shell.output().expect("unshare");
        assert!(output.status.success(), "{line} {more}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Links of a text in Markdown, outside of its programs.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next())
}

/// What a heading is called in a link: `## An "etcd": one` is #an-etcd-one.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = text.split("```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        heading.chars().filter(|one| one.is_alphanumeric() || "-_".contains(*one)).collect()
    })
}

#[test]
fn every_link_in_every_text_leads_to_something_in_the_repository() {
    let mut texts = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_ours = (!name.starts_with('.') || name == ".github") && name != "target" && name != "node_modules";
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                texts.push(path);
            }
        }
    }
    for name in ["node/README.md", ".github/CONTRIBUTING.md"] {
        assert!(texts.contains(&root().join(name)), "{texts:?}");
    }
    let mut wrong = Vec::new();
    for file in texts {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("a text");
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap_or(Path::new("")).join(path) };
            let leads = target.exists()
                && (anchor.is_empty() || anchors(&fs::read_to_string(&target).expect("text")).any(|one| one == anchor));
            if !leads {
                wrong.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
