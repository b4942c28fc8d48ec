//! Each step of a row, as the machines take it.

use std::time::Duration;

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Answer, Change, Failure, Input, Op, Seen, Sign, Stamp, WatchNews, Written};
use etcd_leader_rules::member::{Member, OWN_TTL};
use etcd_leader_rules::time::Time;

use crate::steps::Do::{self, *};
use crate::{Stage, is_move, is_touch};

impl Stage {
    pub(crate) fn play(&mut self, step: &Do) {
        let is_look = |op: &Op| matches!(op, Op::Look { .. });
        let is_join = |op: &Op| matches!(op, Op::Join { .. });
        match step {
            At(millis) => {
                let end = Time::ZERO + Duration::from_millis(*millis);
                while let Some(next) = self.crew.poll_timeout().filter(|next| *next <= end) {
                    self.now = self.now.max(next);
                    self.handle(Input::Tick);
                    let again = self.crew.poll_timeout();
                    assert!(again.is_none_or(|again| again > self.now), "it wants to be called again at once");
                }
                self.now = end;
                self.handle(Input::Tick);
            }
            FrozenTo(millis) => self.now = Time::ZERO + Duration::from_millis(*millis),
            Opened(endpoint) => self.play(&OpenedBy(*endpoint, 1)),
            OpenedBy(endpoint, cluster) => {
                let stamp = Stamp { cluster: *cluster, ..self.stamp() };
                self.answer(
                    step,
                    |op| matches!(op, Op::Open { endpoint: at, .. } if at == endpoint),
                    stamp,
                    Answer::Opened,
                );
            }
            OpenFails(endpoint, kind) => {
                let id = self.take(step, |op| matches!(op, Op::Open { endpoint: at, .. } if at == endpoint)).id;
                self.handle(Input::Reply { id, result: Err(Failure::new(*kind, "as the row says")) });
            }
            Granted => {
                let is_grant = |op: &Op| matches!(op, Op::Grant { .. });
                self.answer(step, is_grant, self.stamp(), Answer::Granted { ttl_s: 10 });
            }
            Renewed(ttl_s) => {
                let is_renew = |op: &Op| matches!(op, Op::Renew { .. });
                self.answer(step, is_renew, self.stamp(), Answer::Renewed { ttl_s: *ttl_s });
            }
            Confirmed(term, is_there) => {
                let found = self.open.iter().find_map(|request| match &request.op {
                    Op::Confirm { keys, .. } => Some(keys.iter().map(|_| is_there.then(|| self.me())).collect()),
                    _ => None,
                });
                let found = found.unwrap_or_default();
                let stamp = Stamp { term: *term, ..self.stamp() };
                self.answer(step, |op| matches!(op, Op::Confirm { .. }), stamp, Answer::Confirmed { found });
            }
            Joined(ahead) => {
                (self.rank, self.revision) = (20, self.revision.max(20));
                let seen = self.seen(ahead);
                self.answer(step, is_join, self.stamp(), Answer::Joined { created: true, seen });
            }
            FoundOwn(revision) => {
                (self.rank, self.revision) = (*revision, self.revision.max(*revision));
                let seen = Seen { own: Some(self.me()), ..Seen::default() };
                self.answer(step, is_join, self.stamp(), Answer::Joined { created: false, seen });
            }
            Looked(at, ahead) => {
                self.revision = *at;
                let seen = self.seen(ahead);
                self.answer(step, is_look, self.stamp(), Answer::Looked(seen));
            }
            LookedFirst(at) => {
                self.revision = *at;
                let first = vec![self.me(), Stage::other(40)];
                let seen = Seen { own: Some(self.me()), latest: vec![self.me()], first, count: 2 };
                self.answer(step, is_look, self.stamp(), Answer::Looked(seen));
            }
            Checked(at, gone) => {
                self.revision = *at;
                let is_check = |op: &Op| matches!(op, Op::Check { .. });
                let asked = self.open.iter().find_map(|request| match &request.op {
                    Op::Check { keys } => Some(keys.clone()),
                    _ => None,
                });
                let found = asked.unwrap_or_default().iter().map(|key| self.stands(key, gone)).collect();
                let answer =
                    if self.lease == OWN_TTL { Answer::Glimpsed { found } } else { Answer::Confirmed { found } };
                self.answer(step, is_check, self.stamp(), answer);
            }
            Written(watch, at, revision, sign) => {
                self.revision = *at;
                let now = Stage::other(*revision);
                let change = Change { at: *at, key: now.key.clone(), now: Some(now), sign: *sign };
                self.watch_news(*watch, WatchNews::Changes { changes: vec![change] });
            }
            LookedGone(at) => {
                self.revision = *at;
                self.answer(step, is_look, self.stamp(), Answer::Looked(Seen::default()));
            }
            Posted => {
                (self.rank, self.revision, self.lease) = (20, self.revision.max(20), OWN_TTL);
                self.own = format!("/a/{:020}", self.rank).into_bytes();
                let own = self.me();
                self.answer(step, |op| matches!(op, Op::Post { .. }), self.stamp(), Answer::Posted { own });
            }
            Refreshed(at) => self.refreshed(step, true, Some(Written { member: self.me(), at: *at })),
            NotOurs(at) => self.refreshed(step, false, Some(Written { member: self.me(), at: *at })),
            Another(revision) => {
                let member = Member { revision: *revision, ..self.me() };
                self.refreshed(step, false, Some(Written { member, at: *revision }));
            }
            NoEntry => self.refreshed(step, false, None),
            OpenedAt(endpoint, clock_s) => {
                let stamp = Stamp { clock_s: Some(*clock_s), ..self.stamp() };
                let is_open = |op: &Op| matches!(op, Op::Open { endpoint: at, .. } if at == endpoint);
                self.answer(step, is_open, stamp, Answer::Opened);
            }
            Left | WasGone | Spared => {
                let is_leave = |op: &Op| matches!(op, Op::Leave { .. } | Op::Withdraw { .. });
                let answer = match step {
                    Spared => Answer::Spared,
                    step => Answer::Left { was_there: matches!(step, Left) },
                };
                self.answer(step, is_leave, self.stamp(), answer);
            }
            Revoked => self.answer(step, |op| matches!(op, Op::Revoke { .. }), self.stamp(), Answer::Revoked),
            Fails(kind) => self.fail(step, Failure::new(*kind, "as the row says")),
            KeyDenied => {
                let failure = Failure::new(ErrorKind::Denied, "as the row says");
                self.fail(step, Failure { is_of_key: true, ..failure });
            }
            RenewDenied => {
                let failure = Failure::new(ErrorKind::Denied, "a key of the lease");
                let id = self.take(step, |op| matches!(op, Op::Renew { .. })).id;
                self.handle(Input::Reply { id, result: Err(Failure { is_of_key: true, ..failure }) });
            }
            Moved(moved) => {
                let answer = Answer::Touched { touched: *moved, found: None };
                self.answer(step, is_move, self.stamp(), answer);
            }
            Touched(at) => {
                self.revision = *at;
                let answer = Answer::Touched { touched: true, found: None };
                self.answer(step, is_touch, self.stamp(), answer);
            }
            WrittenBefore(at) => {
                self.revision = self.revision.max(*at);
                let found = Some(Written { member: self.me(), at: *at });
                let answer = Answer::Touched { touched: false, found };
                self.answer(step, |op| matches!(op, Op::Touch { .. }), self.stamp(), answer);
            }
            Copied(at) => {
                self.revision = self.revision.max(*at);
                let change = Change { at: *at, key: self.own.clone(), now: Some(self.me()), sign: Sign::Nothing };
                self.watch_news(0, WatchNews::Changes { changes: vec![change] });
            }
            Listed(keys) => {
                let named =
                    |key: &&str| if key.ends_with('/') { format!("{key}{:x}", self.lease) } else { (*key).into() };
                let keys = keys.iter().map(|key| named(key).into_bytes()).chain([self.own.clone()]).collect();
                let stamp = Stamp { revision: 1, ..self.stamp() };
                self.answer(step, |op| matches!(op, Op::ListKeys { .. }), stamp, Answer::Listed { keys });
            }
            Found(revision) => {
                let found = Member { revision: *revision, ..self.me() };
                let found = vec![Some(found).filter(|_| *revision > 0)];
                self.answer(step, |op| matches!(op, Op::Confirm { .. }), self.stamp(), Answer::Confirmed { found });
            }
            Created => self.watch_news(0, WatchNews::Created { revision: self.revision }),
            CreatedAt(revision) => self.watch_news(0, WatchNews::Created { revision: *revision }),
            BothCreated => {
                for at in 0..2 {
                    self.watch_news(at, WatchNews::Created { revision: self.revision });
                }
            }
            Gone(keys) => self.play(&GoneOn(0, keys)),
            GoneOn(watch, keys) => {
                let key_of =
                    |word: &str| if word == "own" { self.own.clone() } else { format!("/a/other{word}").into_bytes() };
                let changes = keys
                    .iter()
                    .map(|(at, key)| Change { at: *at, key: key_of(key), now: None, sign: Sign::Nothing })
                    .collect();
                self.revision = keys.iter().map(|(at, _)| *at).max().unwrap_or(0).max(self.revision);
                self.watch_news(*watch, WatchNews::Changes { changes });
            }
            Overwritten(at) => {
                self.revision = *at;
                let now = Some(Member { lease: 0, ..self.me() });
                self.watch_news(
                    0,
                    WatchNews::Changes {
                        changes: vec![Change { at: *at, key: self.own.clone(), now, sign: Sign::Nothing }],
                    },
                );
            }
            SetAnew(at) => {
                self.revision = *at;
                let now = Some(Member { lease: 0, revision: *at, ..self.me() });
                self.watch_news(
                    0,
                    WatchNews::Changes {
                        changes: vec![Change { at: *at, key: self.own.clone(), now, sign: Sign::Nothing }],
                    },
                );
            }
            Canceled => self.watch_news(0, WatchNews::Canceled { reason: "compacted".into() }),
            LinkBreaks => {
                let link = self.open.iter().rev().find(|request| request.op != Op::Close).expect("a link").link;
                let failure = Failure::new(ErrorKind::Unreachable, "as the row says");
                self.handle(Input::Broken { link, failure });
            }
            Jump => self.handle(Input::Jumped),
            Stop(holds) => self.handle(Input::Stop { candidate: self.id, holds: *holds }),
            Released => self.handle(Input::Release { candidate: self.id }),
            Expired(token) => self.handle(Input::Expired { candidate: self.id, token: *token }),
        }
    }
}
