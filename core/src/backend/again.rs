//! A question that is asked again beside the first while there is no answer. etcd may drop a read that comes while raft has no
//! leader, and admits that after many seconds only.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// After so long a link's first read is asked for a second time.
pub(super) const READ_AGAIN: Duration = Duration::from_millis(500);
/// So many wait for an answer at the same time.
const READS: usize = 4;

/// The first answer to a question that is asked again while there is none, after `wait`, and then after ever longer times.
pub(super) async fn ask_again<Answer: Future>(mut wait: Duration, ask: impl Fn() -> Answer) -> Answer::Output {
    let mut asked = FuturesUnordered::from_iter([ask()]);
    loop {
        tokio::select! {
            Some(answer) = asked.next() => return answer,
            () = sleep(wait), if asked.len() < READS => asked.push(ask()),
        }
        wait *= 2;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_server_that_answers_none_gets_four() {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            pending::<()>()
        };
        let mut answer = pin!(ask_again(Duration::ZERO, ask));
        let mut looked = 0;
        // A while longer than it took to come so far: a fifth one would come in that time.
        while looked < 20 {
            tokio::select! {
                () = &mut answer => unreachable!("nobody answers"),
                () = sleep(Duration::from_millis(1)) => looked += usize::from(asked.get() >= READS),
            }
        }
        assert_eq!(asked.get(), READS);
    }
}
