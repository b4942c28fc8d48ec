//! What one change costs a crowd of candidates of one key, and how soon each knows of it.

use etcd_leader_rules::member::{Member, Revision};

use super::*;

/// A change among a crowd that is at rest.
#[derive(Debug)]
struct ChangeDay {
    /// From the commit of the leader's end: when the next one leads, and when all others know it.
    next_at: Ns,
    known_at: Ns,
    /// Requests but for renewals, and for how long the server was busy.
    reads: usize,
    busy: Ns,
}

impl Crowd {
    /// A crowd in which everybody has joined, a ttl ago.
    fn at_rest(count: usize) -> Crowd {
        let mut crowd = Crowd::new(Api::V3, 1, count, 10, 0);
        crowd.is_open = true;
        crowd.play(600 * SECOND, 20 * SECOND);
        assert!(crowd.day.served_at.is_some(), "seed {count} breaks law 7: {:?}", crowd.day);
        crowd
    }

    fn leader(&self) -> Option<usize> {
        self.procs.iter().position(|proc| !proc.is_dead && matches!(proc.standing, Standing::Leading { .. }))
    }

    fn entry(&self, proc: usize) -> &Member {
        let name = format!("c{proc}").into_bytes();
        self.cluster.store.entries.values().find(|entry| entry.name == name).expect("its entry")
    }

    fn revision(&self, proc: usize) -> Revision {
        self.entry(proc).revision
    }

    /// Ends the entries of these, and plays until everybody knows who leads then.
    fn change(&mut self, ending: &[usize]) -> ChangeDay {
        let (began, reads) = (self.now, self.day.reads);
        self.others_until = self.others_until.max(self.now);
        let (mut busy, from) = (0, self.cluster.store.log.len());
        for proc in ending {
            let lease = self.entry(*proc).lease;
            self.procs[*proc].is_dead = true;
            self.watches.retain(|(of, ..)| of != proc);
            self.cluster.store.end_lease(lease);
        }
        self.tell(from);
        let first = self.cluster.store.first(b"/e/").expect("somebody is left").revision;
        let (mut next_at, mut known_at) = (None, None);
        while known_at.is_none() && self.now < began + 30 * SECOND {
            let before = self.others_until;
            self.step(began + 30 * SECOND);
            busy += self.others_until.saturating_sub(before.max(self.now));
            let knows = |proc: &Proc| match &proc.standing {
                Standing::Leading { token, .. } => *token == first,
                Standing::Following(Some(leader)) => leader.token == first,
                _ => false,
            };
            if next_at.is_none() {
                next_at = self.leader().filter(|at| knows(&self.procs[*at])).map(|_| self.now - began);
            }
            if next_at.is_some() && self.procs.iter().all(|proc| proc.is_dead || knows(proc)) {
                known_at = Some(self.now - began);
            }
        }
        let (next_at, known_at) = (next_at.unwrap_or(Ns::MAX), known_at.unwrap_or(Ns::MAX));
        ChangeDay { next_at, known_at, reads: self.day.reads - reads, busy }
    }
}

/// One change wakes one candidate: the next one leads as soon as it hears, and all others know it from one write of that one.
#[test]
fn one_change_wakes_one_candidate() {
    for count in [3, 40, 100, 1000] {
        let mut crowd = Crowd::at_rest(count);
        for change in 0..5.min(count - 2) {
            let leader = crowd.leader().expect("somebody leads");
            let day = crowd.change(&[leader]);
            println!("{count}, change {change}: {day:?}");
            let broken = format!("seed {count} breaks law 11: change {change} among {count}: {day:?}");
            assert!(day.next_at < 4 * MS, "{broken}");
            assert!(day.known_at < 6 * MS + count as Ns * 2 * TELL, "{broken}");
            assert!(day.reads <= 5 + count / 100, "{broken}");
            assert!(day.busy < 2 * MS + count as Ns * 3 * (TELL + SORTING), "{broken}");
            crowd.play(crowd.now + SECOND / 2, 0);
        }
        assert_eq!(crowd.day.losses, 0);
    }
}

/// A process that has each fourth candidate is killed, the leader and the next in line among them: the nearest to the front takes
/// over, and those who have lost the one before them look one after the other.
#[test]
fn many_who_end_at_once_keep_nobody_waiting() {
    let count = 1000;
    let mut crowd = Crowd::at_rest(count);
    let mut line: Vec<usize> = (0..count).collect();
    line.sort_by_key(|proc| crowd.revision(*proc));
    let (ends, ours): (Vec<_>, Vec<_>) = line.iter().enumerate().partition(|(at, _)| *at < 2 || at % 4 == 0);
    let (ends, ours): (Vec<usize>, Vec<usize>) =
        (ends.iter().map(|one| *one.1).collect(), ours.iter().map(|one| *one.1).collect());
    let reads = crowd.day.reads;
    let day = crowd.change(&ends);
    crowd.play(crowd.now + 10 * SECOND, 0);
    let looks = crowd.day.reads - reads;
    println!("{} of {count} end at once: {day:?}, {looks} reads in the ten seconds after it", ends.len());
    let broken = format!("seed {count} breaks law 11: {day:?}, {looks} reads");
    assert!(day.next_at < 50 * MS && day.known_at < 100 * MS, "{broken}");
    assert!(looks < ends.len() * 2 + count / 2, "{broken}");
    assert_eq!(crowd.day.losses, 0, "{broken}");
    // Each knows the one before it: the line goes on in its order.
    for next in &ours[1..4] {
        let leader = crowd.leader().expect("somebody leads");
        let day = crowd.change(&[leader]);
        assert_eq!(crowd.leader(), Some(*next));
        assert!(day.next_at < 4 * MS, "{broken}, then {day:?}");
        crowd.play(crowd.now + SECOND / 2, 0);
    }
}
