//! What is due, as JavaScript is told.

use etcd_leader::{Election, Ended, Error, Event, Next};
use napi_derive::napi;

/// One of these is due. `type` says which of the others are there.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct Told {
    /// "elected", "unelected", "leader", "leaderless", "retrying", "recovered" or "ended".
    #[napi(js_name = "type")]
    pub kind: &'static str,
    /// Ours, or the leader's. A number holds revisions up to 2^53 exactly.
    pub token: Option<i64>,
    /// The leader's.
    pub name: Option<String>,
    pub code: Option<&'static str>,
    pub message: Option<String>,
    pub endpoint: Option<String>,
    /// At the end, of which `code` and `message` say why, unless our work had ended by then: our key is known to be gone.
    pub released: Option<bool>,
}

impl Told {
    /// `None`: there is nothing that JavaScript has a word for.
    pub(crate) fn new(next: Next, election: &Election) -> Option<Told> {
        let of = |kind| Told { kind, ..Told::default() };
        let because = |kind, error: &Error| Told {
            code: Some(error.kind().name()),
            message: Some(error.detail().to_string()),
            ..of(kind)
        };
        Some(match next {
            Next::Event(Event::Elected { token }) => Told { token: number(token), ..of("elected") },
            Next::Event(Event::Unelected { why }) => because("unelected", &why),
            Next::Event(Event::Leader(None)) => of("leaderless"),
            Next::Event(Event::Leader(Some(leader))) => {
                Told { token: number(leader.token), name: Some(leader.name), ..of("leader") }
            }
            Next::Event(Event::Retrying(Some(trouble))) => {
                let endpoint = trouble.endpoint.and_then(|at| election.endpoint(at)).map(ToString::to_string);
                Told { endpoint, ..because("retrying", &trouble.error) }
            }
            Next::Event(Event::Retrying(None)) => of("recovered"),
            Next::Event(Event::Ended(Ended { why, released })) => {
                let ended = why.as_ref().map_or_else(|| of("ended"), |why| because("ended", why));
                Told { released: Some(released), ..ended }
            }
            Next::Event(_) | Next::Nothing | Next::Ended => return None,
        })
    }
}

pub(crate) fn number(token: u64) -> Option<i64> {
    i64::try_from(token).ok()
}
