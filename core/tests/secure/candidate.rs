//! An election in this process, and what its user hears.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use etcd_leader::config::Secret;
use etcd_leader::{Config, Election, Ended, ErrorKind, Event, Next};

use support::wait_for;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// A part of every password that tests use: no output may have it.
pub(crate) const PLANTED: &str = "Planted-Swordfish";
/// `worker:Planted-Swordfish`, as API v2 sends it.
const ENCODED: &str = "d29ya2VyOlBsYW50ZWQtU3dvcmRmaXNo";

pub(crate) struct Candidate {
    election: Arc<Election>,
    said: Receiver<String>,
    log: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
}

/// An election with these endpoints, at a ttl of five seconds.
pub(crate) fn config(urls: &[String], key: &str, name: &str) -> Config {
    Config { endpoints: urls.to_vec(), key: key.into(), name: name.into(), ttl_s: 5, ..Config::default() }
}

/// The same for this user.
pub(crate) fn with_user(config: Config, username: &str, password: &str) -> Config {
    Config { username: Some(username.into()), password: Some(Secret::new(password)), ..config }
}

impl Candidate {
    pub(crate) fn start(config: &Config) -> Candidate {
        check_silence(&format!("{config:?} {:?}", config.validate()));
        let election = Arc::new(Election::start(config).expect("a good config"));
        let (sender, said) = channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let listener = std::thread::spawn({
            let (election, log) = (election.clone(), log.clone());
            move || listen(&election, &log, &sender)
        });
        Candidate { election, said, log, listener: Some(listener) }
    }

    /// Waits until it says something that starts with these words; gives the rest of that.
    pub(crate) fn hears(&self, words: &str) -> String {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) => match said.strip_prefix(words) {
                    Some(rest) => return rest.trim().to_string(),
                    None => continue,
                },
                Err(RecvTimeoutError::Timeout) => panic!("it never says {words:?}: {:#?}", self.log()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without {words:?}: {:#?}", self.log()),
            }
        }
    }

    /// Waits for a trouble that has all these words in its message.
    pub(crate) fn retries(&self, words: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let said = self.hears("retrying");
            if words.iter().all(|word| said.contains(word)) {
                return said;
            }
            assert!(begun.elapsed() < PATIENCE, "it is never troubled by {words:?}: {:#?}", self.log());
        }
    }

    /// Waits until its trouble is over and it leads: still, or again, as it was mended before the end of its lease or after.
    pub(crate) fn recovers(&self) {
        self.hears("fine");
        wait_for("it to lead", || self.is_leader().then_some(()));
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.election.is_leader()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Whether it has ever said this so far.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.log().iter().any(|said| said.starts_with(words))
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.election.stop();
        if let Some(Err(panic)) = self.listener.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.end();
    }
}

/// No output has a secret in it.
pub(crate) fn check_silence(said: &str) {
    for secret in [PLANTED, ENCODED, "PRIVATE KEY"] {
        assert!(!said.contains(secret), "a secret is told: {said}");
    }
}

fn listen(election: &Election, log: &Mutex<Vec<String>>, sender: &Sender<String>) {
    loop {
        let next = election.next(None).expect("no fork");
        check_silence(&format!("{next:?} {election:?}"));
        let said = match next {
            Next::Nothing => continue,
            Next::Ended => return,
            Next::Event(Event::Elected { token }) => format!("elected {token}"),
            Next::Event(Event::Unelected { why }) => format!("unelected {:?} {why}", why.kind()),
            Next::Event(Event::Leader(leader)) => {
                format!("leader {}", leader.map_or("-".to_string(), |leader| leader.name))
            }
            Next::Event(Event::Retrying(Some(trouble))) => {
                format!("retrying {:?} {}", trouble.error.kind(), trouble.error)
            }
            Next::Event(Event::Retrying(None)) => "fine".to_string(),
            Next::Event(Event::Ended(Ended { why: Some(why), .. })) if why.kind() == ErrorKind::Denied => {
                format!("failed {:?} {why}", why.kind())
            }
            Next::Event(Event::Ended(ended)) => format!("ended {:?}", ended.why),
            Next::Event(other) => panic!("{other:?}"),
        };
        check_silence(&said);
        // For the search of all that the suite has printed.
        println!("{said}");
        log.lock().expect("the log").push(said.clone());
        let _ = sender.send(said);
    }
}
