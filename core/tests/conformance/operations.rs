//! What core/docs/operations.md tells an operator to type.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::candidate::Setup;
use support::{Cluster, etcdctl_binary};

/// The lease that the page shows, for which an operator puts another.
const EXAMPLE: &str = "743dcacbc424b7da";

/// The commands of the section about the line, as they stand there.
fn commands() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).expect("the page");
    let block = page.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the commands");
    block.lines().map(str::to_string).collect()
}

#[test]
fn the_commands_show_the_line_the_token_and_the_leases() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let line = Setup::new(&urls, "/jobs/nightly", 10).line_up(&["host-1", "host-2"]);
    let token = cluster.etcdctl(&["get", "--prefix", "/jobs/nightly/", "--sort-by=CREATE", "--limit=1", "-w", "json"]);
    let token: serde_json::Value = serde_json::from_str(&token).expect("JSON");
    let token = token["kvs"][0]["create_revision"].as_u64().expect("the token");

    let commands = commands();
    let (exports, commands) = commands.split_first().expect("the variables");
    let exports = exports.replace("http://127.0.0.1:2379", &urls[0]);
    let run = |command: &str| {
        let path = format!("{}:/usr/bin:/bin", etcdctl_binary().parent().expect("a folder").display());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{exports}\n{command}")]).env_clear().env("PATH", path);
        let output = shell.output().expect("sh");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let said: Vec<String> = commands[..3].iter().map(|command| run(command)).collect();
    let lines: Vec<&str> = said[0].lines().collect();
    assert_eq!((lines[1], lines[3]), ("host-1", "host-2"), "the leader comes first");
    assert!(said[1].trim().ends_with(&token.to_string()), "{}: {token}", said[1]);
    let lease = lines[0].rsplit('/').next().expect("a lease");
    assert!(said[2].contains(lease), "{}: {lease}", said[2]);

    assert!(commands[3].contains(EXAMPLE), "the page's lease is an example: {}", commands[3]);
    let shown = run(&commands[3].replace(EXAMPLE, lease));
    assert!(shown.contains(lines[0]), "{shown}");
    assert!(run(&commands[4]).contains("true"), "one server leads raft");
    assert_eq!(run(&commands[5]), "", "no alarm");
    drop(line);
}
