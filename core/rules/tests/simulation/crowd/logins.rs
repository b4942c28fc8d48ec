//! The processor of the crowd's server, as far as it checks passwords: at each login (v3), or with each request (v2).

use super::*;

/// The check of a password costs so much: bcrypt, on one processor.
pub(super) const LOGIN: Ns = 100 * MS;
/// The check costs so much where each request has one: two processors make some 25 in a second.
pub(super) const CHECK: Ns = 40 * MS;

impl Crowd {
    /// How many passwords etcd checks for a request.
    pub(super) fn passwords(&self, op: &Op) -> Ns {
        match op {
            Op::Open { .. } if !self.is_v2() => Ns::from(!self.is_open),
            // The list of the members is shown to everybody.
            Op::Open { is_proof, .. } => Ns::from(*is_proof),
            // One request for each key.
            Op::Check { keys } if self.is_v2() => keys.len() as Ns,
            _ => Ns::from(self.is_v2()),
        }
    }

    /// Lets this happen when so many passwords have been checked, one after the other.
    pub(super) fn log_in(&mut self, passwords: Ns, then: Ev) {
        self.work();
        self.logins.push((passwords * if self.is_v2() { CHECK } else { LOGIN }, then));
        self.check();
    }

    /// The processor is shared by all logins, as Go shares it.
    fn work(&mut self) {
        let sharing = self.logins.len() as Ns;
        if sharing == 0 {
            self.checked_at = self.now;
            return;
        }
        let done = (self.now - self.checked_at) / sharing;
        self.logins.iter_mut().for_each(|(left, ..)| *left = left.saturating_sub(done));
        self.checked_at += done * sharing;
    }

    pub(super) fn check(&mut self) {
        self.work();
        let checked: Vec<_> = self.logins.extract_if(.., |(left, ..)| *left == 0).collect();
        for (_, then) in checked {
            self.at(self.now, then);
        }
        if let Some(least) = self.logins.iter().map(|(left, ..)| *left).min() {
            self.next_check = self.checked_at + least * self.logins.len() as Ns;
            self.at(self.next_check, Ev::Checked { due: self.next_check });
        }
    }
}
