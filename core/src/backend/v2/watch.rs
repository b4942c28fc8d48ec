//! The watch of one key: long polls, one after the other.

use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep_until};

use super::calls::{MAX_ENTRY_BYTES, Refused, refusal};
use super::http::{Call, Http};
use super::keys::Key;
use super::status::{self, Fault};
use super::words;
use crate::error::ErrorKind;
use crate::machine::{Stamp, WatchNews};
use crate::member::Revision;

/// etcd ends a long poll without an event after five minutes. One that does so at once must not be asked in a loop.
const POLL_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Tells what happens to `key` from the revision `start` on, until etcd refuses (which is told, too) or something breaks.
pub(super) async fn watch(
    http: &Http,
    key: &Key,
    start: Revision,
    mut tell: impl FnMut(WatchNews),
) -> Result<(), Fault> {
    let endpoint = http.endpoint();
    let garbled = |what| Fault::answered(status::garbled(endpoint, what));
    let mut next = start;
    let mut known: Option<Stamp> = None;
    loop {
        let begun = Instant::now();
        let query = format!("wait=true&waitIndex={next}");
        let incoming = http.send(&Call { method: Method::GET, path: key.path(), query, form: None }).await?;
        if !incoming.status.is_success() {
            let reason = match refusal(http, key, incoming).await? {
                Refused::Answer(code) => format!("{endpoint}: etcd refuses to watch: error {code}"),
                // etcd's own words end this watch; the others say that this is no member to be served by.
                Refused::Failure(failure) if is_about_the_watch(failure.kind) => failure.detail,
                Refused::Failure(failure) => return Err(Fault::answered(failure)),
            };
            tell(WatchNews::Canceled { reason });
            return Ok(());
        }
        let stamp = words::stamp(&incoming.headers, incoming.is_direct).map_err(garbled)?;
        match known {
            None => tell(WatchNews::Created { revision: stamp.revision }),
            Some(known) if stamp.cluster != known.cluster || stamp.revision < known.revision => {
                return Err(Fault::answered(status::another_store(endpoint)));
            }
            Some(_) => {}
        }
        known = Some(stamp);
        let body = incoming.body(MAX_ENTRY_BYTES).await?;
        if body.trim_ascii().is_empty() {
            sleep_until(begun + POLL_AT_MOST_EVERY).await;
            continue;
        }
        let event = words::event(&body).map_err(garbled)?;
        let at = event.at();
        if at < next {
            return Err(garbled("a watch saw what was before its start"));
        }
        next = at + 1;
        known = Some(Stamp { revision: stamp.revision.max(at), ..stamp });
        if let Some(change) = event.change(key).map_err(garbled)? {
            tell(WatchNews::Changes { changes: vec![change] });
        }
    }
}

fn is_about_the_watch(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Server | ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::NotADirectory)
}
