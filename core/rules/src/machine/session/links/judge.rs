//! The result of a round of tries: the endpoint that serves us, if one does.

use super::Links;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::session::round::{LinkNews, Round, Serving, Try, clusters_of, verdict};
use crate::machine::session::silence::is_long;
use crate::time::Time;

impl Links {
    /// Takes the first good endpoint; if there is none, those that failed are tried again later, and those that have not
    /// answered are waited for.
    pub(super) fn judge(&mut self, has_joined: bool, now: Time, out: &mut InFlight) -> Vec<LinkNews> {
        let Some(Round { tries, .. }) = self.round.take() else { return Vec::new() };
        let clusters = clusters_of(&tries);
        if self.cluster.is_none() && clusters.len() > 1 {
            tries.iter().for_each(|one| out.close(one.link));
            self.retry_at = Time::NEVER;
            let endpoints: Vec<usize> = clusters.values().copied().collect();
            return vec![LinkNews::Fatal(Error::new(
                ErrorKind::ClusterMismatch,
                format!(
                    "endpoints[{}] and endpoints[{}] belong to two different etcd clusters; list the members of one",
                    endpoints[0], endpoints[1]
                ),
            ))];
        }
        let mut news = Vec::new();
        // All that are configured, not one less: a stranger in the list must not take over when ours is down.
        let is_unanimous = self.serving.is_none()
            && tries.len() == self.endpoints
            && tries.iter().all(|one| matches!(one.outcome, Some(Ok(_))));
        if is_unanimous && clusters.len() == 1 && self.cluster.is_some_and(|ours| !clusters.contains_key(&ours)) {
            self.cluster = None;
            news.push(LinkNews::Rebuilt);
        }
        let cluster = self.cluster;
        // One that has read says more than one that has not (see `Op::Open`).
        let good = tries.iter().filter_map(|one| Some((one, one.read(cluster)?)));
        if let Some((one, (stamp, known))) = good.min_by_key(|(one, (stamp, _))| (stamp.revision == 0, one.link)) {
            tries.iter().filter(|other| other.link != one.link).for_each(|other| out.close(other.link));
            if let Some(mut before) = self.serving.take() {
                // A server that is unwell has said so itself.
                let is_known = before.is_unwell || before.is_told;
                let asked_at = out.oldest(before.link).filter(|asked_at| !is_known && is_long(now.since(*asked_at)));
                news.extend(asked_at.map(|asked_at| before.silent(asked_at, now)));
                out.close(before.link);
                self.silence.changed();
            }
            self.cluster = Some(stamp.cluster);
            self.serving = Some(Serving {
                link: one.link,
                endpoint: one.endpoint,
                heard_at: now,
                is_unwell: false,
                is_told: false,
                has_answered: false,
            });
            self.retry_at = now;
            // After a rebuild what was known before means nothing.
            let known = if news.contains(&LinkNews::Rebuilt) { 0 } else { known };
            let seen = tries.iter().filter_map(|one| one.read(self.cluster)).map(|(stamp, _)| stamp.revision);
            let seen = seen.max().unwrap_or(0);
            news.push(LinkNews::Up { stamp, known, seen });
            return news;
        }
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + self.urgency.pause(self.failures, self.longest_wait, out);
        let (waiting, failed): (Vec<Try>, Vec<Try>) = tries.into_iter().partition(|one| one.outcome.is_none());
        failed.iter().for_each(|one| out.close(one.link));
        if self.serving.is_some() {
            // Nobody does better than the one that is silent.
            waiting.iter().for_each(|one| out.close(one.link));
            return news;
        }
        let verdict = if has_joined { None } else { verdict(&failed, &self.refused) };
        let is_final = verdict.is_some();
        let denied = failed.iter().find_map(|one| {
            let failure = one.outcome.as_ref()?.as_ref().err().filter(|failure| failure.is_of_key)?;
            Some(LinkNews::Denied { endpoint: one.endpoint, failure: failure.clone(), is_final })
        });
        if let (None, Some(error)) = (&denied, verdict) {
            waiting.iter().for_each(|one| out.close(one.link));
            self.retry_at = Time::NEVER;
            news.push(LinkNews::Fatal(error));
            return news;
        }
        news.extend(denied);
        self.refused.clear();
        if !waiting.is_empty() {
            self.round = Some(Round { tries: waiting, judge_at: Time::NEVER, first_answer: None });
        }
        news
    }
}
