//! etcd's API v3 as a test speaks it where `etcdctl` is too slow: JSON, one request a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Asks a member.
pub fn ask(member: SocketAddr, path: &str, question: &Value) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&member, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let question = question.to_string();
    write!(
        stream,
        "POST /v3{path} HTTP/1.0\r\nHost: {member}\r\nContent-Length: {}\r\n\r\n{question}",
        question.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_str(body).unwrap_or_default())
}

/// Writes a key that no election uses; `number` says which, below ten thousand.
pub fn put(member: SocketAddr, number: u32) -> io::Result<()> {
    // Base64, as it must be: eight characters of its alphabet stand for six bytes.
    let key = format!("else{:04}", number % 10_000);
    let answer = ask(member, "/kv/put", &serde_json::json!({ "key": key, "value": "b25l" }))?;
    if answer["header"].is_object() { Ok(()) } else { Err(io::Error::other(answer.to_string())) }
}
