//! What the command line refuses, what the manual says, and what the README and the examples show.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::Signal;

use super::library::root;
use super::story::{Story, programs};
use super::url;
use support::{Cluster, wait_for};

#[test]
fn usage_errors_name_option_value_and_remedy_and_touch_no_network() {
    let watched = TcpListener::bind("127.0.0.1:0").expect("a free port");
    watched.set_nonblocking(true).expect("not blocking");
    let url = format!("http://{}", watched.local_addr().expect("its address"));
    let story = Story::new();
    let long = "x".repeat(1025);
    let many = vec![url.as_str(); 65].join(",");
    let missing = story.path("missing").display().to_string();
    let good = |more: &[&'static str]| -> Vec<String> {
        let usual = ["--endpoints", &url, "--key", "/k"];
        usual.iter().chain(more).map(|word| word.to_string()).collect()
    };
    let own = |words: &[&str]| -> Vec<String> { words.iter().map(|word| word.to_string()).collect() };
    #[rustfmt::skip]
    let table: Vec<(Vec<String>, &[&str])> = vec![
        (own(&["--key", "/k"]), &["--endpoints is missing", "http://127.0.0.1:2379"]),
        (own(&["--endpoints", &url]), &["--key is missing", "such as /jobs/nightly"]),
        (own(&["--endpoints", "ftp://h", "--key", "/k"]), &["--endpoints[0]", "ftp", "http://"]),
        (own(&["--endpoints", "h:2379/v2", "--key", "/k"]), &["--endpoints[0]", "h:2379/v2", "http://"]),
        (own(&["--endpoints", "", "--key", "/k"]), &["--endpoints[0]", "http://"]),
        (own(&["--endpoints", &many, "--key", "/k"]), &["--endpoints has 65", "at most 64"]),
        (own(&["--endpoints", &url, "--key", "/k", "--endpoints", "http://me:Planted-Swordfish@h"]), &["--endpoints is given twice", "commas"]),
        (own(&["--endpoints", "http://me:Planted-Swordfish@h", "--key", "/k"]), &["--endpoints[0]", "leave them out"]),
        (own(&["--endpoints", &url, "--key", "/k/"]), &["--key \"/k/\"", "leave the slash out"]),
        (own(&["--endpoints", &url, "--key", ""]), &["--key is empty", "1 to 1024"]),
        (own(&["--endpoints", &url, "--key", &long]), &["--key \"xxx", "1025 bytes", "at most 1024"]),
        (good(&["--key", "/client.key"]), &["--key is given twice", "\"/k\"", "\"/client.key\"", "--key-file"]),
        (good(&["--name", ""]), &["--name is empty", "1 to 1024"]),
        (good(&["--name", "a", "--name", "b"]), &["--name is given twice", "\"a\"", "\"b\"", "once"]),
        (good(&["--api", "v4"]), &["--api is \"v4\"; did you mean v3? give v2 or v3"]),
        (good(&["--wait", "soon"]), &["--wait is \"soon\"", "30 or 0.5"]),
        (good(&["--wait", "-1"]), &["--wait is \"-1\"", "30 or 0.5"]),
        (good(&["--wait"]), &["--wait has no value", "give SECONDS"]),
        (good(&["--wait=1.2345"]), &["--wait is \"1.2345\"", "0.5"]),
        (good(&["--once", "--restart"]), &["--once and --restart", "give one"]),
        (good(&["--once=1"]), &["--once is given \"1\"", "no value"]),
        (good(&["--pause", "2"]), &["--pause is \"2\" without --restart", "both, or neither"]),
        (good(&["--ttl", "301"]), &["--ttl is \"301\"", "1 to 300"]),
        (good(&["--ttl", "0"]), &["--ttl is \"0\"", "1 to 300"]),
        (good(&["--ttl", "1.5"]), &["--ttl is \"1.5\"", "whole seconds"]),
        (good(&["--grace", "3.5"]), &["--grace is 3.5", "lease of 10 s", "--ttl 12 or more"]),
        (good(&["--grace", "100"]), &["--grace is 100", "--ttl 250 or more"]),
        (good(&["--grace", "200"]), &["--grace is 200", "at most 140"]),
        (good(&["--grace", "301"]), &["--grace is \"301\"", "up to 300"]),
        (good(&["--grace", "1.5", "--step-down-ms", "2000"]), &["--grace is 1.5", "--step-down-ms 2000", "room for 1,", "give less"]),
        (good(&["--step-down-ms", "9000"]), &["--step-down-ms 9000", "--renew-ms 5000", "raise --ttl"]),
        (good(&["--renew-ms", "0"]), &["--renew-ms is \"0\"", "from 1 to"]),
        (good(&["--renew-ms", "9000"]), &["--renew-ms 9000", "lower one of them"]),
        (good(&["--request-timeout-ms", "9000"]), &["--request-timeout-ms is 9000", "give at most 1500"]),
        (good(&["--stop-timeout", "3601"]), &["--stop-timeout is \"3601\"", "up to 3600"]),
        (good(&["--cacert", "/none"]), &["--cacert is given", "write https://", "leave --cacert out"]),
        (own(&["--endpoints", "https://h", "--key", "/k", "--cacert", "/none"]), &["--cacert \"/none\"", "No such file"]),
        (good(&["--cert", "/c"]), &["--cert is \"/c\" without --key-file", "private key"]),
        (good(&["--key-file", "/c"]), &["--key-file is \"/c\" without --cert", "certificate"]),
        (own(&["--endpoints", "https://h", "--key", "/k", "--server-name", "a b"]), &["--server-name \"a b\"", "DNS name"]),
        (good(&["--user", "me"]), &["--user is \"me\"", "--password-file", "ETCD_LEADER_PASSWORD"]),
        (good(&["--user", "me:Planted-Swordfish"]), &["--user holds a colon", "--password-file"]),
        (good(&["--user", "me", "--user", "me:Planted-Swordfish"]), &["--user is given twice", "once"]),
        (good(&["-ume:Planted-Swordfish"]), &["\"-ume\" is no option; options come first"]),
        (good(&["-user:Planted-Swordfish"]), &["\"-user\" is no option; did you mean --user?"]),
        (good(&["--password", "Planted-Swordfish"]), &["--password is not taken", "--password-file"]),
        (good(&["--password=Planted-Swordfish"]), &["--password is not taken", "--password-file"]),
        (good(&["--password-file", "/f"]), &["--password-file is \"/f\" without --user", "both"]),
        ([good(&["--user", "me", "--password-file"]), own(&[&missing])].concat(), &["--password-file \"", "No such file", "may read"]),
        (good(&["--quiet", "--verbose"]), &["--quiet and --verbose", "one of them"]),
        (good(&["--nonsense=Planted-Swordfish"]), &["--nonsense is no option", "--help"]),
        (good(&["./job"]), &["\"./job\" is no option", "then --"]),
        (good(&["-x"]), &["\"-x\" is no option; options come first", "then --"]),
        (good(&["--x"]), &["--x is no option; `lead --help` has them all"]),
        (good(&["name"]), &["\"name\" is no option; did you mean --name?"]),
        (good(&["names"]), &["\"names\" is no option; options come first"]),
        (good(&["--ttl", "10 fortnights"]), &["--ttl is \"10 fortnights\"; give whole seconds"]),
        (good(&["--ttl", "2.5s"]), &["--ttl is \"2.5s\"; give whole seconds"]),
        (good(&["--ttl", "10h"]), &["--ttl is \"10h\"; give whole seconds"]),
        (good(&["--endpoint", "http://me:Planted-Swordfish@h"]), &["--endpoint is no option; did you mean --endpoints? `lead --help`"]),
        (good(&["--endpoint=http://me:Planted-Swordfish@h"]), &["--endpoint is no option; did you mean --endpoints? `lead --help`"]),
        (good(&["--ednpoints", "http://h"]), &["did you mean --endpoints?"]),
        (good(&["--tll", "3"]), &["did you mean --ttl?"]),
        (good(&["--TTL=3"]), &["did you mean --ttl?"]),
        (good(&["--stop_timeout", "3"]), &["did you mean --stop-timeout?"]),
        (good(&["--step-down", "3"]), &["did you mean --step-down-ms?"]),
        (good(&["--username", "me"]), &["did you mean --user?"]),
        (good(&["--ca-cert", "/f"]), &["did you mean --cacert?"]),
        (good(&["--timeout", "3"]), &["did you mean --wait?"]),
        (good(&["--v2"]), &["did you mean --api v2?"]),
        (good(&["-wait", "3"]), &["\"-wait\" is no option; did you mean --wait? Options come first"]),
        (good(&["-endpoints=http://me:Planted-Swordfish@h"]), &["\"-endpoints\" is no option; did you mean --endpoints?"]),
        (good(&["-v"]), &["\"-v\" is no option; did you mean --verbose?"]),
        (own(&["help"]), &["\"help\" is no option; did you mean --help?"]),
        (good(&["http://me:Planted-Swordfish@h"]), &["--endpoints", "with commas"]),
        (good(&["--api", "3"]), &["--api is \"3\"; did you mean v3? give v2 or v3"]),
        (good(&["--api", "V2"]), &["--api is \"V2\"; did you mean v2? give v2 or v3"]),
        (good(&["--wait", "1.5m"]), &["--wait is \"1.5m\"; did you mean 90? give seconds"]),
        (good(&["--ttl", "10s"]), &["--ttl is \"10s\"; did you mean 10? give whole seconds"]),
        (good(&["--renew-ms", "2s"]), &["--renew-ms is \"2s\"; did you mean 2000? give whole milliseconds"]),
    ];
    let refused = |arguments: &[String], command: &[&str], parts: &[&str]| {
        let mut process = Command::new(&programs().plain);
        process.args(arguments).args(command);
        let mut lead = story.start(process, |_| {});
        lead.ends(2);
        let said = lead.said();
        for part in parts {
            assert!(said.contains(part), "{arguments:?} should say {part:?}:\n{said}");
        }
        assert!(said.starts_with("lead: ") && said.lines().count() == 1, "{said}");
        assert!(!said.contains("Swordfish"), "{said}");
        assert_eq!(lead.shown(), "");
    };
    for (arguments, parts) in &table {
        refused(arguments, &["--", "true"], parts);
    }
    refused(&own(&[]), &[], &["--endpoints is missing", "`lead --help` is the manual"]);
    refused(&good(&[]), &[], &["the command is missing", "after --"]);
    refused(&good(&[]), &["--"], &["the command is missing", "after --"]);
    assert!(watched.accept().is_err(), "somebody has connected");
    story.nothing_is_left();
}

#[test]
fn the_manual_has_every_option_and_nothing_else() {
    let story = Story::new();
    let help = |arguments: &[&str]| {
        let mut help = Command::new(&programs().plain);
        help.args(arguments);
        let mut help = story.start(help, |_| {});
        help.ends(0);
        assert_eq!(help.said(), "");
        help.shown()
    };
    let manual = help(&["--help"]);
    assert_eq!(help(&["-h"]), manual);
    assert_eq!(help(&["--key", "/k", "-h", "--", "true"]), manual);
    assert!(manual.lines().all(|line| line.chars().count() <= 80), "{manual}");
    let listed: BTreeSet<&str> =
        manual.lines().filter_map(|line| line.strip_prefix("  --")?.split(' ').next()).collect();
    let source = fs::read_to_string(root().join("examples/c/lead/options.c")).expect("the source");
    let parsed = source.matches("\n    case ").count();
    // One for the number of options.
    assert_eq!(listed.len(), parsed - 1, "{listed:?}");
    for option in &listed {
        // It is parsed: given last, each asks for its value or for what is missing, and says not that it is none.
        let mut lead = Command::new(&programs().plain);
        lead.arg(format!("--{option}"));
        let mut lead = story.start(lead, |_| {});
        let status = lead.status();
        assert!(status.code() == Some(if ["help", "version"].contains(option) { 0 } else { 2 }), "{option}: {status}");
        assert!(!lead.said().contains("is no option"), "{}", lead.said());
    }
    let named: BTreeSet<&str> = manual
        .split(|one: char| !one.is_ascii_alphanumeric() && one != '-')
        .filter_map(|word| word.strip_prefix("--"))
        .collect();
    let unknown: Vec<_> = named.iter().filter(|word| !word.is_empty() && !listed.contains(*word)).collect();
    // The command's own in the first example.
    assert_eq!(unknown, [&"all"]);
    for status in ["2 ", "69 ", "75 ", "76 ", "125 ", "126 ", "127 "] {
        assert!(manual.lines().any(|line| line.trim_start().starts_with(status)), "{status}");
    }
}

/// What is shown as an example has options that there are; and systemd takes the unit, if it is here to say so.
#[test]
fn the_examples_for_systemd_and_kubernetes_are_good() {
    let known = fs::read_to_string(root().join("examples/c/lead/manual.c")).expect("the manual");
    for name in [
        "systemd/nightly-job.service",
        "systemd/nightly-job.timer",
        "systemd/worker.service",
        "kubernetes/sidecar.yaml",
    ] {
        let text = fs::read_to_string(root().join("examples").join(name)).expect("an example");
        assert!(text.starts_with("# "), "{name} says what it is first");
        let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let ours = code.filter_map(|line| line.split(" -- ").next());
        let words = ours.flat_map(|line| line.split(|one: char| one.is_whitespace() || "\"'[],=".contains(one)));
        for option in words.filter_map(|word| word.strip_prefix("--")).filter(|word| !["", "-"].contains(word)) {
            assert!(known.contains(&format!("= {{\"{option}\",")), "{name} has --{option}, which is no option");
        }
        if !name.starts_with("systemd") {
            continue;
        }
        // As it would stand on a machine with all of it installed.
        let directory = tempfile::tempdir().expect("a directory");
        for one in ["nightly-job.service", "nightly-job.timer", "worker.service"] {
            let unit = fs::read_to_string(root().join("examples/systemd").join(one)).expect("a unit");
            let unit = unit.replace("/usr/local/bin/lead", &programs().plain.display().to_string());
            fs::write(directory.path().join(one), unit).expect("written");
        }
        let file = directory.path().join(name.trim_start_matches("systemd/"));
        match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let about: Vec<&str> =
                    said.lines().filter(|line| line.contains("nightly-job") || line.contains("worker")).collect();
                assert!(about.is_empty(), "{about:#?}");
            }
            Err(_) => println!("no systemd-analyze here"),
        }
    }
}

/// The commands in their heads, with `make`, `sudo`, `systemctl` and `kubectl` that only look whether they could.
#[test]
fn the_commands_in_the_heads_of_the_examples_for_systemd_and_kubernetes_work_in_a_checkout() {
    let directory = tempfile::tempdir().expect("a directory");
    let units = directory.path().join("units");
    let tools = directory.path().join("tools");
    fs::create_dir_all(&units).and_then(|()| fs::create_dir_all(&tools)).expect("directories");
    for (tool, script) in [
        ("make", "grep -q \"^$1:\\|^$1 .*:\" Makefile"),
        ("sudo", "exec \"$@\""),
        ("systemctl", "for unit; do true; done; [ \"$1\" = daemon-reload ] || [ -e \"$UNITS/$unit\" ]"),
        ("kubectl", "[ \"$1 $2\" = 'apply -f' ] && grep -q '^apiVersion: ' \"$3\""),
    ] {
        let file = tools.join(tool);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").expect("a path"));
    let mut count = 0;
    for folder in ["systemd", "kubernetes"] {
        let files = fs::read_dir(root().join("examples").join(folder)).expect("examples").flatten();
        for file in files.map(|entry| entry.path()) {
            let text = fs::read_to_string(&file).expect("an example");
            let head = text.lines().take_while(|line| line.starts_with('#'));
            let set_in = head.filter_map(|line| line.strip_prefix("#     "));
            // The lines of a Dockerfile are for another place.
            for command in set_in.filter(|line| !line.starts_with(|one: char| one.is_ascii_uppercase())) {
                let here = command.replace("/etc/systemd/system/", &format!("{}/", units.display()));
                let mut shell = Command::new("sh");
                shell.args(["-e", "-c", &here]).env("PATH", &path).env("UNITS", &units).current_dir(root());
                let output = shell.output().expect("sh");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {command}: {said}", file.display());
                count += 1;
            }
        }
    }
    assert!(count >= 8, "only {count} commands were found");
    assert!(units.join("nightly-job.timer").exists() && units.join("worker.service").exists());
}

/// There is none, or it is another namespace's.
#[test]
fn without_proc_nothing_is_begun() {
    let story = Story::new();
    for without in
        [&["--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"][..], &["--pid", "--fork"]]
    {
        let mut process = Command::new("unshare");
        process.args(without).arg(&programs().plain);
        process.args(["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--wait", "3", "--", "true"]);
        let mut lead = story.start(process, |_| {});
        lead.ends(125);
        assert!(lead.said().contains("/proc is not mounted, or is another namespace's"), "{}", lead.said());
    }
}

/// What is hidden cannot be ended.
#[test]
fn where_proc_hides_processes_nothing_is_begun() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let whole = "exec \"$@\"";
    let bounded = "exec setpriv --regid 65534 --clear-groups --bounding-set -sys_ptrace -- \"$@\"";
    // Whoever may trace everything sees everything.
    for (who, status) in [(whole, 0), (bounded, 125)] {
        let script = format!("mount -t proc -o hidepid=2 none /proc && {who}");
        let mut process = Command::new("unshare");
        process.args(["--pid", "--fork", "--mount", "sh", "-c", &script, "sh"]).arg(&programs().plain);
        process.args(["--endpoints", &url(&cluster), "--key", "/jobs", "--", "true"]);
        let mut lead = story.start(process, |_| {});
        lead.ends(status);
        let is_refused = lead.said().contains("/proc hides some of this user's own processes");
        assert_eq!(is_refused, status != 0, "{}", lead.said());
    }
}

/// What the probe of the example for Kubernetes says of the mark that its sidecar makes.
#[test]
fn the_mark_of_the_sidecar_goes_with_the_lead() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let example = fs::read_to_string(root().join("examples/kubernetes/sidecar.yaml")).expect("the example");
    let place = story.path("leader");
    fs::create_dir(&place).expect("a directory");
    let here = |text: &str| text.replace("/leader/", &format!("{}/", place.display()));
    let (_, probe) = example.split_once("command: [sh, -c, '").expect("the probe");
    let probe = here(probe.split('\'').next().expect("its end"));
    let is_ready = || Command::new("sh").args(["-c", &probe]).output().expect("sh").status.success();
    let (_, script) = example.split_once("- |\n").expect("the sidecar");
    let script: Vec<&str> = script.lines().take_while(|line| line.starts_with("              ")).collect();
    let script = here(&script.join("\n")).replace("/usr/local/bin/lead", &programs().plain.display().to_string());
    let mut sidecar = Command::new("sh");
    sidecar.args(["-c", &script.replace("http://etcd:2379", &url(&cluster))]).env("POD_NAME", "one");
    assert!(!is_ready(), "without a mark");
    let mut lead = story.start(sidecar, |_| {});
    wait_for("the mark", || is_ready().then_some(()));
    lead.signal(Signal::SIGTERM);
    lead.ends(0);
    assert!(!is_ready(), "the mark was left");
    let old = Command::new("touch").args(["-d", "5 seconds ago"]).arg(place.join("token")).status();
    assert!(old.expect("touch").success());
    assert!(!is_ready(), "with an old mark");
    story.nothing_is_left();
}

/// On an etcd of the test's, and in a directory with a `job`.
#[test]
fn the_line_in_the_readme_runs_its_job() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let line = readme.lines().find(|line| line.starts_with("lead --endpoints ")).expect("the line");
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let at = words.iter().position(|word| *word == "--").expect("a command");
    let (mut options, command) = (words[..at].to_vec(), &words[at + 1..]);
    let url = url(&cluster);
    options[1] = &url;
    let directory = tempfile::tempdir().expect("a directory");
    let job = directory.path().join("job");
    fs::write(&job, "#!/bin/sh\necho \"$@\" \"$ETCD_LEADER_TOKEN\"\n").expect("written");
    fs::set_permissions(&job, fs::Permissions::from_mode(0o755)).expect("a program");
    let mut lead = story.lead_with(&options, command, |process| {
        process.current_dir(directory.path());
    });
    lead.ends(0);
    let shown = lead.shown();
    let token = shown.strip_prefix("--all ").expect("its argument").trim_end();
    assert!(token.parse::<u64>().is_ok_and(|token| token > 0), "{shown}");
}
