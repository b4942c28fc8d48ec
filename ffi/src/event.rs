//! What happened, as C is told.

use std::ffi::{CString, c_char};

use etcd_leader::{Election, Ended, Event};

use crate::border::c_text;
use crate::handle::el_election;
use crate::status::{self, EL_OK};

/// We lead. `token` is larger than that of every leader before: send it along with each write, and let the receiver
/// refuse one that is smaller than the largest it has seen.
pub const EL_EVENT_ELECTED: i32 = 1;
/// We do not lead any more; `status` and `message` say why. `EL_STOPPED`: because of `el_stop`; the entry is kept while
/// your leading work ends, see `el_stop`. Any other: it was lost already, and another may lead soon.
pub const EL_EVENT_UNELECTED: i32 = 2;
/// The leader is known, be it ourselves: `name` and its `token`. A `token` of 0 (and an empty name): nobody is known to lead.
pub const EL_EVENT_LEADER: i32 = 3;
/// Something is wrong and is being retried: `status`, `endpoint`, `message`. Comes after the first failure, then at
/// most once per ttl; a store reset (`EL_STORE_RESET`) is told at once. `EL_OK`: the trouble is over.
pub const EL_EVENT_RETRYING: i32 = 4;
/// The last event: the election has ended. `status` and `message` say how the last term ended, or why the election cannot go
/// on; `released` is 1 if the entry is known to be gone, else 0: then it expires with its lease, or the library deletes it
/// as soon as it can. `EL_OK`: the entry was held until your leading work had ended, so that nobody else led before.
/// `EL_STOPPED`: it was stopped before it ever led. `EL_OVERRUN`: your work took longer than `stop_timeout_ms`.
/// `EL_DEADLINE`, `EL_KEY_LOST`, `EL_LEASE_LOST`, `EL_STORE_RESET`: the lead was lost before your work had ended. Any other:
/// the election cannot go on.
pub const EL_EVENT_ENDED: i32 = 5;

/// What happened. Valid, with all that it points to, until the callback returns; the texts of one that `el_next` or
/// `el_queue_next` has given, until the next call of that function with the same election or queue, or until that is freed.
/// No pointer in it is ever NULL.
#[repr(C)]
pub struct el_event {
    /// The size of this structure in bytes, as the library knows it; later versions append fields.
    pub size: u32,
    /// One of `EL_EVENT_...`; leave alone what you do not know.
    pub r#type: i32,
    /// Why: `EL_OK` or one of the statuses; see the events.
    pub status: i32,
    /// In `EL_EVENT_ENDED` 1 if our entry is known to be gone, else 0.
    pub released: u32,
    /// In `EL_EVENT_ELECTED` our token, in `EL_EVENT_LEADER` that of the leader, else 0.
    pub token: u64,
    /// The election that it happened to: one callback may serve many.
    pub election: *mut el_election,
    /// In `EL_EVENT_LEADER` the leader's name, else empty. UTF-8.
    pub name: *const c_char,
    /// In `EL_EVENT_RETRYING` the endpoint that is concerned, if one is; else empty. UTF-8.
    pub endpoint: *const c_char,
    /// What happened, one line for people; may be empty. UTF-8.
    pub message: *const c_char,
}

/// What `el_poll` calls for each event, on the thread that called `el_poll`. It must return normally: neither longjmp
/// nor a C++ exception may leave it. Do not do the leading work in it: while it runs, nobody can tell you that you do
/// not lead any more.
pub type el_on_event = Option<unsafe extern "C-unwind" fn(event: *const el_event, user_data: *mut std::ffi::c_void)>;

/// What an event says, owned.
#[derive(Default)]
pub(crate) struct Told {
    kind: i32,
    status: i32,
    released: bool,
    token: u64,
    name: CString,
    endpoint: CString,
    message: CString,
}

impl Told {
    /// `None`: an event that this header has no name for.
    pub(crate) fn new(event: &Event, election: &Election) -> Option<Told> {
        let of = |kind| Told { kind, status: EL_OK, ..Told::default() };
        let because = |kind, error: &etcd_leader::Error| Told {
            status: status::of(error.kind()),
            message: c_text(error.detail()),
            ..of(kind)
        };
        Some(match event {
            Event::Elected { token } => Told { token: *token, ..of(EL_EVENT_ELECTED) },
            Event::Unelected { why } => because(EL_EVENT_UNELECTED, why),
            Event::Leader(None) => of(EL_EVENT_LEADER),
            Event::Leader(Some(leader)) => {
                Told { token: leader.token, name: c_text(&leader.name), ..of(EL_EVENT_LEADER) }
            }
            Event::Retrying(None) => of(EL_EVENT_RETRYING),
            Event::Retrying(Some(trouble)) => {
                let endpoint = trouble.endpoint.and_then(|at| election.endpoint(at));
                Told {
                    endpoint: endpoint.map(|endpoint| c_text(&endpoint.to_string())).unwrap_or_default(),
                    ..because(EL_EVENT_RETRYING, &trouble.error)
                }
            }
            Event::Ended(Ended { why, released }) => {
                let ended = why.as_ref().map_or_else(|| of(EL_EVENT_ENDED), |why| because(EL_EVENT_ENDED, why));
                Told { released: *released, ..ended }
            }
            _ => return None,
        })
    }

    /// Our term has ended by a stop: the leading work ends now.
    pub(crate) fn is_end_by_stop(&self) -> bool {
        (self.kind, self.status) == (EL_EVENT_UNELECTED, status::EL_STOPPED)
    }

    /// As C reads it, for as long as this lives.
    pub(crate) fn as_c(&self, election: *mut el_election) -> el_event {
        el_event {
            size: size_of::<el_event>() as u32,
            r#type: self.kind,
            status: self.status,
            released: u32::from(self.released),
            token: self.token,
            election,
            name: self.name.as_ptr(),
            endpoint: self.endpoint.as_ptr(),
            message: self.message.as_ptr(),
        }
    }
}
