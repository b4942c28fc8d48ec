//! The examples in C, C++ and Lua do what they say, on a real etcd.

mod library;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use library::{Running, Way, Workshop, built, root};
use nix::sys::signal::Signal;
use support::{Cluster, v2, wait_for};

/// A compiler, the standard it is to hold the program to, and the program.
type Campaign = ([&'static str; 2], &'static str);

const C: Campaign = (["gcc", "-std=gnu99"], "c/campaign.c");
const CPP: Campaign = (["g++", "-std=c++17"], "cpp/campaign.cc");
const CPP_BY_CLANG: Campaign = (["clang++", "-std=c++17"], "cpp/campaign.cc");

fn compile(workshop: &Workshop, (compiler, name): Campaign) -> PathBuf {
    workshop.compile_with(compiler, &root().join("examples").join(name), Way::Plain)
}

/// The token in "elected, token 7".
fn token(running: &Running) -> u64 {
    let said = running.said();
    let after = said.split("elected, token ").nth(1).expect("it was elected");
    after.lines().next().expect("a line").parse().expect("a number")
}

/// The commands in the head of an example: what is set in.
fn commands(source: &Path) -> Vec<String> {
    let text = fs::read_to_string(source).expect("an example");
    let is_comment = |line: &&str| ["/*", " *", "//", "--"].iter().any(|start| line.starts_with(start));
    let head = text.lines().take_while(is_comment);
    let set_in = head.filter_map(|line| line.get(2..)?.strip_prefix("     "));
    set_in.map(|command| command.trim().to_string()).collect()
}

#[test]
fn the_commands_in_the_heads_run_the_examples_in_a_checkout() {
    let folders = ["examples/c", "examples/cpp"].map(|folder| fs::read_dir(root().join(folder)).expect("the examples"));
    let files = folders.into_iter().flatten().flatten().map(|entry| entry.path());
    let lua = root().join("examples/lua/campaign.lua");
    let sources: Vec<PathBuf> = files.filter(|path| path.extension().is_some()).chain([lua]).collect();
    assert!(sources.len() >= 5, "{sources:?}");
    let mut make = Command::new("make");
    // As in a shell: nothing of cargo's, nor of the make that may run all tests.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_", "RUST_", "MAKE", "MFLAGS"].iter().any(|start| name.starts_with(start)) {
            make.env_remove(name);
        }
    }
    let made = make.args(["--silent", "examples"]).current_dir(root()).output().expect("make");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (cluster, workshop) = (Cluster::single(), Workshop::new());
    for source in sources {
        let [build, command] = &commands(&source)[..] else { panic!("{}: {:?}", source.display(), commands(&source)) };
        let is_lua = source.extension().is_some_and(|end| end == "lua");
        // `make examples` makes the library, too.
        assert_eq!(build, if is_lua { "make lib" } else { "make examples" }, "{}", source.display());
        let shown = "http://127.0.0.1:2379";
        let start = if is_lua { "LD_LIBRARY_PATH=target/release luajit examples/lua/" } else { "target/release/" };
        assert!(command.starts_with(start) && command.contains(shown), "{command}");
        let script = format!("cd '{}' && exec env {}", root().display(), command.replace(shown, &cluster.urls()[0]));
        let mut running = workshop.start(Path::new("sh"), Way::Plain, &["-c", &script]);
        running.says("token ");
        running.signal(Signal::SIGKILL);
        running.ends();
        cluster.etcdctl(&["del", "--prefix", "/jobs"]);
    }
}

/// Within the ttl, and as long again in `el_free`.
#[test]
fn they_end_on_a_signal_while_etcd_is_frozen() {
    let workshop = Workshop::new();
    for (campaign, ttl) in [(C, Some("2")), (CPP, Some("2")), ((["g++", "-std=c++17"], "cpp/lead.cc"), None)] {
        let program = compile(&workshop, campaign);
        for leads in [true, false] {
            let mut cluster = Cluster::single();
            let url = cluster.urls()[0].clone();
            let first = compile(&workshop, C);
            let mut before = workshop.start(&first, Way::Plain, &[&url, "/frozen", "before", "30"]);
            before.says("elected, token ");
            if leads {
                before.signal(Signal::SIGINT);
                before.ends();
            }
            let arguments: Vec<&str> = [url.as_str(), "/frozen", "one"].into_iter().chain(ttl).collect();
            let mut one = workshop.start(&program, Way::Plain, &arguments);
            cluster.wait_for_members("/frozen", if leads { 1 } else { 2 });
            if leads {
                one.says("token ");
            }
            cluster.member(0).freeze();
            let asked = Instant::now();
            one.signal(Signal::SIGTERM);
            let status = one.ends();
            // The longer ttl, and what a busy machine may take.
            assert!(asked.elapsed() < Duration::from_secs(2 * 4 + 5), "{:?}: {}", asked.elapsed(), one.said());
            // lead() that has never led throws.
            let expected = i32::from(!leads && ttl.is_none());
            assert_eq!(status.code(), Some(expected), "{}", one.said());
            cluster.member(0).thaw();
        }
    }
}

/// One leaves, one is killed, the third follows; what it was called with decides the API.
fn three_campaign(campaign: Campaign, api: &[&str]) {
    let workshop = Workshop::new();
    let cluster = Cluster::of(1, &["--enable-v2=true"]);
    let program = compile(&workshop, campaign);
    let url = &cluster.urls()[0];
    let start = |name| workshop.start(&program, Way::Plain, &[api, &[url, "/campaign", name, "5"]].concat());
    let mut one = start("one");
    one.says("one: the leader is one");
    let mut two = start("two");
    two.says("two: the leader is one");
    let mut three = start("three");
    three.says("three: the leader is one");
    let on_v2 = || v2::entries(cluster.client_address(0), "/campaign").expect("the list of members").len();
    assert_eq!(on_v2(), if api.is_empty() { 0 } else { 3 });

    one.signal(Signal::SIGINT);
    assert!(one.ends().success(), "{}", one.said());
    let end = "one: unelected (EL_STOPPED): the election was asked to stop\none: the end (EL_OK)\n";
    assert!(one.said().ends_with(end), "{}", one.said());
    two.says("two: the leader is two");
    three.says("three: the leader is two");
    two.signal(Signal::SIGKILL);
    three.says("three: the leader is three");
    assert!(token(&one) < token(&two) && token(&two) < token(&three));
    three.signal(Signal::SIGTERM);
    assert!(three.ends().success());
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/campaign", "--keys-only"]), "");
    wait_for("an empty election on v2", || (on_v2() == 0).then_some(()));
}

#[test]
fn campaign_in_c() {
    three_campaign(C, &[]);
}

#[test]
fn campaign_in_c_on_v2() {
    three_campaign(C, &["--v2"]);
}

#[test]
fn campaign_in_cpp() {
    three_campaign(CPP, &[]);
}

#[test]
fn campaign_in_cpp_on_v2() {
    three_campaign(CPP, &["--v2"]);
}

#[test]
fn campaign_in_cpp_by_clang() {
    three_campaign(CPP_BY_CLANG, &[]);
}

/// Stopped, the first one ends its step and gives its place up; the second one does the whole job.
#[test]
fn a_job_in_cpp() {
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let program = compile(&workshop, (["g++", "-std=c++17"], "cpp/lead.cc"));
    let start = |name| workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "/job", name]);
    let token = |running: &Running| -> u64 {
        let said = running.said();
        let after = said.split("leading with token ").nth(1).and_then(|rest| rest.lines().next());
        after.expect("it led").parse().expect("a number")
    };
    // Keeps the job from beginning while the others line up: it does not last long enough for that.
    let campaign = compile(&workshop, C);
    let mut before = workshop.start(&campaign, Way::Plain, &[&cluster.urls()[0], "/job", "before"]);
    cluster.wait_for_members("/job", 1);
    let mut one = start("one");
    cluster.wait_for_members("/job", 2);
    let mut two = start("two");
    cluster.wait_for_members("/job", 3);
    before.signal(Signal::SIGINT);
    assert!(before.ends().success(), "{}", before.said());
    one.says("one: step 1\n");
    one.signal(Signal::SIGINT);
    assert!(one.ends().success(), "{}", one.said());
    assert!(one.said().contains("one: ended after step "), "{}", one.said());
    assert!(two.ends().success(), "{}", two.said());
    assert!(two.said().ends_with("two: step 10\ntwo: ended after step 10\n"), "{}", two.said());
    assert!(token(&one) < token(&two));
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/job", "--keys-only"]), "");

    let mut refused = workshop.start(&program, Way::Plain, &["http://h", "/k/", "three"]);
    assert_eq!(refused.ends().code(), Some(1));
    assert!(refused.said().contains("leave the slash out"), "{}", refused.said());
    assert_eq!(workshop.start(&program, Way::Plain, &[]).ends().code(), Some(2));
}

/// A program in Lua, on the library that belongs to this test.
fn luajit(workshop: &Workshop, source: &Path, arguments: &[&str]) -> Running {
    let found = Command::new("luajit").arg("-v").output();
    found.unwrap_or_else(|error| panic!("luajit: {error}; install Debian's package luajit"));
    let library = format!("LD_LIBRARY_PATH={}", built().display());
    let module = format!("LUA_PATH={}/examples/lua/?.lua", root().display());
    let source = source.display().to_string();
    workshop.start(Path::new("env"), Way::Plain, &[&[&library, &module, "luajit", &source], arguments].concat())
}

/// Clean ends, on a signal and with nobody in line, and the loss of the lead.
fn lua_campaigns(api: &[&str]) {
    let workshop = Workshop::new();
    let cluster = Cluster::of(1, &["--enable-v2=true"]);
    let source = root().join("examples/lua/campaign.lua");
    let url = &cluster.urls()[0];
    let start = |name| luajit(&workshop, &source, &[api, &[url, "/lua", name, "5"]].concat());
    let mut one = start("one");
    one.says("one: the leader is one");
    let mut two = start("two");
    two.says("two: the leader is one");
    one.signal(Signal::SIGINT);
    two.says("two: elected, token ");
    assert!(one.ends().success(), "{}", one.said());
    assert!(one.said().contains("one: the end after "), "{}", one.said());
    assert!(token(&one) < token(&two));
    // In line there is no work, and no verdict but that it was stopped.
    let mut three = start("three");
    three.says("three: the leader is two");
    three.signal(Signal::SIGTERM);
    assert!(three.ends().success() && three.said().contains("three: the end (EL_STOPPED)"), "{}", three.said());

    two.says("two: the leader is two");
    if api.is_empty() {
        cluster.etcdctl(&["del", "--prefix", "/lua/"]);
    } else {
        let member = cluster.client_address(0);
        let entry = v2::entries(member, "/lua").expect("the list of members").remove(0);
        v2::ask(member, "DELETE", &entry.key, "").expect("an answer");
    }
    assert_eq!(two.ends().code(), Some(1), "{}", two.said());
    assert!(two.said().contains("two: the end (EL_KEY_LOST): "), "{}", two.said());
}

#[test]
fn campaign_in_lua() {
    lua_campaigns(&[]);
}

#[test]
fn campaign_in_lua_on_v2() {
    lua_campaigns(&["--v2"]);
}

/// The stop comes while it works: once in time, once not, and once the work fails.
#[test]
fn verdicts_in_lua() {
    let program = r#"
        local is_asked = false
        local config = {
            endpoints = arg[1], key = '/lua', name = 'one', stop_timeout_ms = 500, stop_requested = function() return is_asked end
        }
        local function work(term)
            assert(not term:is_lost() and not term:wait(100))
            is_asked = true
            assert(term:wait(60000))
            os.execute('sleep ' .. arg[2])
            return arg[3] and error(arg[3]) or 'worked'
        end
        print(pcall(require('etcd_leader').lead, config, work))
    "#;
    let (workshop, cluster) = (Workshop::new(), Cluster::single());
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("verdicts.lua");
    fs::write(&source, program).expect("written");
    for (arguments, verdict) in [
        (&["0"][..], "true\ttrue\tworked\n"),
        (
            &["1"],
            "true\tfalse\tstop_timeout_ms passed before the leading work had ended, and the entry was given up\tEL_OVERRUN\n",
        ),
        (&["0", "it broke"], "it broke\n"),
    ] {
        let mut running = luajit(&workshop, &source, &[&[cluster.urls()[0].as_str()], arguments].concat());
        assert!(running.ends().success(), "{}", running.said());
        assert!(running.said().ends_with(verdict), "{}", running.said());
        assert_eq!(cluster.etcdctl(&["get", "--prefix", "/lua", "--keys-only"]), "");
    }
}

#[test]
fn campaigns_say_what_is_wrong() {
    for (campaign, ttl) in [(C, "ttl_s is 1000"), (CPP, "ttl is 1000")] {
        let workshop = Workshop::new();
        let program = compile(&workshop, campaign);
        for (arguments, said) in [
            (&[][..], "usage: "),
            (&["--v2", "http://h", "/k"], "usage: "),
            (&["ftp://h", "/k", "n"], "ftp"),
            (&["http://h", "/k/", "n"], "leave the slash out"),
            (&["http://h", "/k", "n", "1000"], ttl),
        ] {
            let mut running = workshop.start(&program, Way::Plain, arguments);
            assert_eq!(running.ends().code(), Some(2));
            assert!(running.said().contains(said), "{}", running.said());
        }
    }
}

#[test]
fn epoll() {
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let program = workshop.compile(&root().join("examples/c/epoll.c"), Way::Plain);
    let mut running = workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "/epoll", "one"]);
    let mut input = running.input();
    running.says("elected, token ");
    running.says("working, ");
    input.write_all(b"who\n").expect("written");
    running.says("one leads");
    input.write_all(b"stop\n").expect("written");
    assert!(running.ends().success(), "{}", running.said());
    let end = "unelected: the election was asked to stop\nthe end (EL_OK)\n";
    assert!(running.said().ends_with(end), "{}", running.said());

    // The end of the input is the end of the election too.
    let mut running = workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "/epoll", "two"]);
    drop(running.input());
    assert!(running.ends().success(), "{}", running.said());
}
