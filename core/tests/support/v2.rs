//! etcd's API v2 as a test speaks it: one request, one connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::etcdctl_binary;

/// What a member answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line and the headers.
    pub head: String,
    /// The body; null if it is none of etcd's.
    pub body: Value,
}

impl Answer {
    /// What this header says.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(one, _)| *one == name).map(|(_, value)| value)
    }
}

/// An entry of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The name of the member it belongs to.
    pub name: String,
    /// What created it, and ranks it.
    pub created: u64,
    /// What wrote it last.
    pub modified: u64,
}

/// Asks a member; `form` is the body of a PUT or POST.
pub fn ask(member: SocketAddr, method: &str, path: &str, form: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&member, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // HTTP/1.0: the body comes in one piece, and its end is the connection's.
    write!(
        stream,
        "{method} /v2/keys{path} HTTP/1.0\r\nHost: {member}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Answer { head: head.into(), body: serde_json::from_str(body).unwrap_or_default() })
}

/// The members of an election in their order, read with a quorum. While raft has no leader a member answers late or not at all: it
/// is asked three times.
pub fn entries(member: SocketAddr, key: &str) -> io::Result<Vec<Entry>> {
    let in_time = (1..3).find_map(|_| entries_now(member, key).ok());
    in_time.map_or_else(|| entries_now(member, key), Ok)
}

fn entries_now(member: SocketAddr, key: &str) -> io::Result<Vec<Entry>> {
    let body = ask(member, "GET", &format!("{key}?quorum=true"), "")?.body;
    let number = |value: &Value| value.as_u64().expect("a number");
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    let found = match (body["errorCode"].as_u64(), &body["node"]) {
        (Some(100), _) => Vec::new(),
        (None, Value::Object(node)) => node.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default(),
        _ => return Err(io::Error::other(body.to_string())),
    };
    let mut entries: Vec<Entry> = found
        .iter()
        .map(|node| Entry {
            key: text(&node["key"]),
            name: text(&node["value"]),
            created: number(&node["createdIndex"]),
            modified: number(&node["modifiedIndex"]),
        })
        .collect();
    entries.sort_by_key(|entry| entry.created);
    Ok(entries)
}

/// Runs a command line of etcdctl's as the manager of the cluster does, whose password this is; gives what it prints.
pub fn manage(member: SocketAddr, root_password: &str, command: &str) -> String {
    let etcdctl = etcdctl_binary();
    let path = format!("{}:/usr/bin:/bin", etcdctl.parent().unwrap_or(Path::new("/")).display());
    // Passwords cost time, and two seconds are not always enough on a busy machine.
    let patient = command.replace("etcdctl ", "etcdctl --timeout 20s --total-timeout 30s ");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &patient]).env_clear().env("PATH", path);
    shell.env("ETCDCTL_API", "2").env("ETCDCTL_ENDPOINTS", format!("http://{member}"));
    shell.env("ETCDCTL_USERNAME", format!("root:{root_password}"));
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Gives a user another password; etcdctl would want a terminal for it. `authorization` is the manager's, as HTTP says it.
pub fn set_password(member: SocketAddr, authorization: &str, user: &str, password: &str) {
    let body = format!(r#"{{"user":"{user}","password":"{password}"}}"#);
    let mut stream = TcpStream::connect(member).expect("connected");
    write!(
        stream,
        "PUT /v2/auth/users/{user} HTTP/1.0\r\nAuthorization: {authorization}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}
