//! What the leaders write into: it takes a token with each write, and keeps the order.

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::reports;
use super::timeline::Timeline;

/// How long a write takes, as it does on a disk. Leaders write as often as that lets them.
const WRITE: Duration = Duration::from_millis(2);

/// Names are indices into the candidates. Reached through the file system, it knows no partitions: that is the worst
/// case, a leader who is cut off from etcd and not from what it writes into.
pub(crate) fn serve(
    directory: &Path,
    timeline: &Arc<Timeline>,
    who: impl Fn(&str) -> usize + Clone + Send + 'static,
) -> PathBuf {
    let path = directory.join("register");
    let listener = UnixListener::bind(&path).expect("a socket");
    let timeline = Arc::downgrade(timeline);
    thread::spawn(move || {
        for line in listener.incoming().flatten() {
            // The last connection is made when the run is over.
            let Some(timeline) = timeline.upgrade() else { return };
            let who = who.clone();
            thread::spawn(move || listen(&line, &timeline, who));
        }
    });
    path
}

/// Lets the register of a run that is over come to its end.
pub(crate) fn close(path: &Path) {
    let _ = UnixStream::connect(path);
}

fn listen(line: &UnixStream, timeline: &Timeline, who: impl Fn(&str) -> usize) -> Option<()> {
    let mut words = BufReader::new(line).lines().map_while(Result::ok);
    let who = who(&words.next()?);
    for words in words {
        let is_taken = timeline.write(reports::claim(who, &words)?);
        thread::sleep(WRITE);
        (&mut &*line).write_all(if is_taken { b"+" } else { b"-" }).ok()?;
    }
    Some(())
}
