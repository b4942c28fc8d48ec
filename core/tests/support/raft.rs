//! What raft does while a member is broken, as the other members tell it.
//!
//! The library promises to keep the lead if raft has a leader again within a stated time. A split vote takes longer, and
//! no test can prevent one. With pre-vote a split vote does not raise raft's term, so that only the clock shows it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::gateway;
use super::member::is_healthy;
use super::wait_for;

/// The README promises that one broken member of three costs nobody the lead at a ttl of ten seconds if raft has a leader
/// again within this time. At worst the last renewal was a quarter of the ttl ago, and leading ends a fifth of the ttl
/// before the lease: that leaves five and a half seconds for raft and for one more attempt.
pub const PROMISED: Duration = Duration::from_secs(3);
/// How often a member is asked. Raft's own heartbeat is 100 ms.
const PACE: Duration = Duration::from_millis(100);

/// Whom a member takes for raft's leader (0: nobody), and in which term. A member that does not answer knows nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct View {
    leader: u64,
    term: u64,
}

/// What one member said.
struct Heard {
    /// Its views, and when it began to have them.
    views: Vec<(Instant, View)>,
    /// How much longer than [`PACE`] it has taken between two answers, at most.
    held_up: Duration,
    /// Whether raft served at the end.
    serves: bool,
}

/// Asks the members that are not broken, until it ends.
pub struct Watch {
    begun: Instant,
    is_over: Arc<AtomicBool>,
    /// A member's address, and the thread that asks it.
    asked: Vec<(SocketAddr, JoinHandle<Heard>)>,
}

impl Watch {
    /// Begins when each of these members knows raft's leader. Call it before the fault.
    pub fn over(members: &[SocketAddr]) -> Watch {
        for member in members {
            wait_for("a raft leader", || (view(*member).leader != 0).then_some(()));
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let ask = |member: &SocketAddr| {
            let (member, is_over) = (*member, is_over.clone());
            (member, thread::spawn(move || ask(member, &is_over)))
        };
        let asked = members.iter().map(ask).collect();
        Watch { begun, is_over, asked }
    }

    /// What raft did since the watch began.
    pub fn ends(self) -> Story {
        let lasted = self.begun.elapsed();
        self.is_over.store(true, Ordering::Relaxed);
        let heard = self.asked.into_iter().map(|(member, thread)| (member, thread.join().expect("its views")));
        let heard: Vec<_> = heard.collect();
        let last = |(_, one): &(SocketAddr, Heard)| one.views[one.views.len() - 1];
        let agreed = last(&heard[0]).1;
        // Members that still believe in a dead leader agree too, but they serve nothing.
        let has_leader = agreed.leader != 0 && heard.iter().all(|one| last(one).1 == agreed && one.1.serves);
        let since = heard.iter().map(|one| last(one).0).max().expect("a member");
        let without_leader = if has_leader { since.saturating_duration_since(self.begun).min(lasted) } else { lasted };
        let held_up = heard.iter().map(|(_, one)| one.held_up).max().expect("a member");
        let mut lines = Vec::new();
        for (member, one) in &heard {
            for (at, View { leader, term }) in &one.views {
                let after = at.saturating_duration_since(self.begun);
                lines.push((after, format!("{member}: leader {leader:x}, term {term}")));
            }
        }
        lines.sort();
        Story { without_leader, has_leader, held_up, lines }
    }
}

/// What raft did while a member was broken.
#[derive(Clone, Debug)]
pub struct Story {
    /// From the beginning of the watch until all members agreed on the leader that they had at the end; if raft changed
    /// its leader twice, until the second one. The whole time if they had none at the end. A busy machine makes it
    /// longer than it was, and never shorter.
    pub without_leader: Duration,
    has_leader: bool,
    /// How long the machine has kept a member that serves, or who asks it, from running: the candidates were kept as long.
    held_up: Duration,
    lines: Vec<(Duration, String)>,
}

impl Story {
    /// Whether the library had to keep the lead. The time for which nobody ran was nobody's to use.
    pub fn obliges(&self) -> bool {
        self.has_leader && self.without_leader + self.held_up <= PROMISED
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let had = if self.has_leader { "had a leader" } else { "had not yet a leader" };
        let (after, held_up) = (self.without_leader.as_secs_f64(), self.held_up.as_secs_f64());
        write!(f, "raft {had} {after:.3} s after the fault began; the machine held up a member for {held_up:.3} s")?;
        for (at, line) in &self.lines {
            write!(f, "\n    {:>7.3} s  {line}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

fn ask(member: SocketAddr, is_over: &AtomicBool) -> Heard {
    let mut heard = Heard { views: vec![(Instant::now(), view(member))], held_up: Duration::ZERO, serves: false };
    while !is_over.load(Ordering::Relaxed) {
        let answered = Instant::now();
        thread::sleep(PACE);
        heard.hear(member);
        heard.held_up = heard.held_up.max(answered.elapsed().saturating_sub(PACE));
    }
    heard.serves = is_healthy(member);
    heard.hear(member);
    heard
}

impl Heard {
    fn hear(&mut self, member: SocketAddr) {
        let now = view(member);
        if self.views[self.views.len() - 1].1 != now {
            // The answer is younger than this, and older than what comes next.
            self.views.push((Instant::now(), now));
        }
    }
}

fn view(member: SocketAddr) -> View {
    let said = gateway::ask(member, "/maintenance/status", &json!({})).unwrap_or_default();
    // The gateway writes numbers of 64 bits as text, and leaves out a zero.
    let number = |name: &str| said[name].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    View { leader: number("leader"), term: number("raftTerm") }
}
