//! What the library promises to those who fork, share it among threads, load it at run time, or were compiled against
//! another version of its header: the programs in tests/c, on a real etcd.

mod library;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use library::{Way, Workshop, built, root};
use support::Cluster;
use tempfile::TempDir;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(name)
}

fn header() -> String {
    fs::read_to_string(root().join("include/etcd_leader.h")).expect("the header")
}

/// Compiles a test with these arguments of gcc's besides.
fn compile(directory: &TempDir, name: &str, arguments: &[&str]) -> PathBuf {
    let program = directory.path().join(name).with_extension("");
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"]).arg(source(name));
    compiler.args(arguments).arg("-o").arg(&program);
    let output = compiler.output().unwrap_or_else(|error| panic!("gcc: {error}; install Debian's package gcc"));
    assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&output.stderr));
    program
}

#[test]
fn a_child_calls_everything_and_touches_no_descriptor() {
    let text = fs::read_to_string(source("inherited.c")).expect("the test");
    let calls = header();
    let calls = calls.lines().filter(|line| line.contains('(') && line.starts_with(char::is_alphabetic));
    let names = calls.filter_map(|line| line.split('(').next()?.split([' ', '*']).next_back());
    let names: Vec<&str> = names.filter(|name| name.starts_with("el_")).collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("{name}(")), "the child does not call {name}");
    }
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let program = workshop.compile(&source("inherited.c"), Way::Plain);
    workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "watched by the kernel"]).succeeds();
    workshop.run(&source("inherited.c"), Way::Sanitized, &[&Cluster::single().urls()[0]]);
}

#[test]
fn forked_inside_the_first_start() {
    Workshop::new().run(&source("early.c"), Way::Plain, &[&Cluster::single().urls()[0]]);
}

#[test]
fn handlers_of_signals_take_no_memory() {
    Workshop::new().run(&source("handlers.c"), Way::Plain, &[&Cluster::single().urls()[0]]);
}

#[test]
fn many_threads_at_once() {
    let workshop = Workshop::new();
    for way in [Way::Plain, Way::Sanitized] {
        workshop.run(&source("threads.c"), way, &[&Cluster::single().urls()[0], "100"]);
    }
}

/// What to give Helgrind before the program.
fn helgrind() -> Vec<String> {
    let suppressions = format!("--suppressions={}", source("helgrind.supp").display());
    let usual = ["--tool=helgrind", "--quiet", "--error-exitcode=99", "--fair-sched=yes"].map(String::from);
    usual.into_iter().chain([suppressions]).collect()
}

#[test]
fn helgrind_finds_nothing() {
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let directory = tempfile::tempdir().expect("a directory");
    let library = built().join("libetcd_leader.so").display().to_string();
    let programs = [
        (workshop.compile(&source("busy.c"), Way::Plain), None),
        (workshop.compile(&source("stopping.c"), Way::Plain), None),
        (workshop.compile(&source("threads.c"), Way::Plain), Some("2")),
        (compile(&directory, "loading.c", &["-I", &include()]), Some(&*library)),
    ];
    let running = programs.map(|(program, argument)| {
        let mut arguments = helgrind();
        arguments.extend([program.display().to_string(), cluster.urls()[0].clone()]);
        arguments.extend(argument.map(String::from));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        workshop.start(Path::new("valgrind"), Way::Plain, &arguments)
    });
    running.into_iter().for_each(library::Running::succeeds);
}

/// Else it would find nothing in a program that is wrong, either.
#[test]
fn helgrind_finds_a_race_in_a_callback() {
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let mut arguments = helgrind();
    let program = workshop.compile(&source("race.c"), Way::Plain);
    arguments.extend([program.display().to_string(), cluster.urls()[0].clone()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = workshop.start(Path::new("valgrind"), Way::Plain, &arguments);
    assert_eq!(running.ends().code(), Some(99), "{}", running.said());
    assert!(running.said().contains("Possible data race") && running.said().contains("race.c"), "{}", running.said());
}

fn include() -> String {
    root().join("include").display().to_string()
}

#[test]
fn loaded_and_let_go_again_and_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile(&directory, "loading.c", &["-I", &include(), "-ldl"]);
    let workshop = Workshop::new();
    let library = built().join("libetcd_leader.so").display().to_string();
    workshop.start(&program, Way::Plain, &[&Cluster::single().urls()[0], &library]).succeeds();
}

#[test]
fn a_configuration_is_read_as_far_as_its_size_says_and_not_later() {
    let workshop = Workshop::new();
    for way in [Way::Plain, Way::Sanitized] {
        workshop.run(&source("sizes.c"), way, &[&Cluster::single().urls()[0]]);
    }
}

/// A program that was compiled against this header instead.
fn of_another_version(header: &str, arguments: &[&str]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path().display().to_string();
    fs::write(directory.path().join("etcd_leader.h"), header).expect("written");
    let (looked_in, found) = (format!("-L{here}"), format!("-Wl,-rpath,{here}"));
    for name in ["libetcd_leader.so", "libetcd_leader.so.1"] {
        std::os::unix::fs::symlink(built().join("libetcd_leader.so"), directory.path().join(name)).expect("a link");
    }
    let usual = ["-DLIBRARY_EVENT_SIZE=56", "-I", &here, &looked_in, "-letcd_leader", &found];
    let program = compile(&directory, "versions.c", &[&usual, arguments].concat());
    (directory, program)
}

#[test]
fn compiled_against_an_older_header() {
    let header = header();
    let between = |begin: &str, end: &str| {
        let from = header.find(begin).expect("the last field that is kept") + begin.len();
        &header[from..header[from..].find(end).expect("the end of the structure") + from]
    };
    let newer =
        [between("int32_t on_store_reset;\n", "} el_config;"), between("const char *endpoint;\n", "} el_event;")];
    assert!(newer[0].contains("tls_server_name") && newer[1].contains("message"), "{newer:?}");
    let older = header.replace(newer[0], "").replace(newer[1], "");
    let (_directory, program) = of_another_version(&older, &["-DOLDER"]);
    Workshop::new().start(&program, Way::Plain, &[&Cluster::single().urls()[0]]).succeeds();
}

#[test]
fn compiled_against_a_newer_header() {
    let field = "    const char *of_later;\n";
    let newer = ["} el_config;", "} el_event;"]
        .iter()
        .fold(header(), |header, end| header.replace(&format!("{end}\n"), &format!("{field}{end}\n")));
    assert_eq!(newer.matches(field).count(), 2);
    let (_directory, program) = of_another_version(&newer, &["-DNEWER"]);
    let workshop = Workshop::new();
    workshop.start(&program, Way::Plain, &[&Cluster::single().urls()[0]]).succeeds();
    let mut refused = workshop.start(&program, Way::Plain, &["http://127.0.0.1:1", "with the new field set"]);
    assert!(refused.ends().success(), "{}", refused.said());
    let said = refused.said();
    assert!(said.starts_with("EL_INVALID: config has a value in a field at byte 1"), "{said}");
    assert!(said.contains("leave that field zero, or use a newer libetcd_leader"), "{said}");
}

/// What `make bench` runs. How long it takes is nobody's business here.
#[test]
fn what_a_call_costs_is_told() {
    let workshop = Workshop::new();
    let program = workshop.compile(&source("cost.c"), Way::Plain);
    let cluster = Cluster::single();
    let mut running = workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "3"]);
    assert!(running.ends().success(), "{}", running.said());
    assert_eq!(running.said().lines().count(), 9, "{}", running.said());
    for call in ["CLOCK_BOOTTIME", "el_is_leader, leading", "el_token", "el_time_left_ms", "el_leader", "el_poll(0)"] {
        assert!(running.said().contains(call), "{call}:\n{}", running.said());
    }
}
