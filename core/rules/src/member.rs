//! The nouns of an election: member, membership, view, standing.

use crate::time::Time;

/// A revision of the store: v3 `create_revision` and `mod_revision`, v2 `createdIndex` and `modifiedIndex`.
pub type Revision = u64;

/// A lease of etcd v3; never 0.
pub type LeaseId = i64;

/// What stands for the lease of an entry of v2 that has a time to live.
pub const OWN_TTL: LeaseId = 1;

/// One entry of an election, as etcd holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The whole key.
    pub key: Vec<u8>,
    /// The value: the name the member gave itself.
    pub name: Vec<u8>,
    /// The revision that created the key. Members rank by it, then by key (law 9); of a leader it is the token.
    pub revision: Revision,
    /// The lease the key hangs on; 0 if none. In v2, where an entry has a time to live of its own, [`OWN_TTL`] if it has.
    pub lease: LeaseId,
}

impl Member {
    /// What members are ordered by: the lowest leads.
    pub fn rank(&self) -> (Revision, &[u8]) {
        (self.revision, &self.key)
    }

    /// The name as text, for people.
    pub fn name_text(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// Our place in an election: the entry that is ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// The whole key.
    pub key: Vec<u8>,
    /// The revision that created it, our rank and, while we lead, our token.
    pub revision: Revision,
}

/// What is known of an election: the leader, and the entry just before ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The revision of the store at which the entries were last seen.
    pub at: Revision,
    /// The leader: the lowest entry when we last looked, or one that has announced itself since.
    pub first: Member,
    /// The revision at which that was last seen or said.
    pub first_at: Revision,
    /// Nothing but its own word says that it leads.
    pub is_hearsay: bool,
    /// The leader before the one that has announced itself, until a check has shown that it is gone.
    pub displaced: Option<Member>,
    /// v2: the entries between the leader's and ours that the last look showed, in the order in which they will lead.
    pub line: Vec<Member>,
    /// The revision of that look.
    pub looked_at: Revision,
    /// v2: the revision at which the first of the line was last known to stand.
    pub next_at: Revision,
    /// The entry just before ours; `None` if we are first.
    pub before: Option<Member>,
    /// Whether `before` is the only entry ahead of ours, so that its end makes us first (law 2b).
    pub next_in_line: bool,
    /// How many entries there were when we last looked.
    pub count: usize,
    /// How many revisions these entries were made in.
    pub span: Revision,
}

impl View {
    /// About how many are ahead of the entry made at `own`, if those that were seen had joined evenly.
    pub fn ahead(&self, own: Revision) -> u64 {
        let (count, behind) = (self.count as u64, own.saturating_sub(self.first.revision));
        count.saturating_mul(behind) / self.span.max(1)
    }
}

/// Who leads, as told to those who do not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    /// The leader's name.
    pub name: String,
    /// The leader's token.
    pub token: Revision,
}

/// Where we stand.
#[derive(Clone, Debug, PartialEq, Eq, Default, Hash)]
pub enum Standing {
    /// We have no place, and do not know who leads.
    #[default]
    Out,
    /// We wait; somebody else leads, if known who.
    Following(Option<Leader>),
    /// We lead, with this token, and for certain until this moment on our own clock unless it is moved on.
    Leading {
        /// The token to guard writes with.
        token: Revision,
        /// When leading ends by itself (law 1).
        until: Time,
    },
}
