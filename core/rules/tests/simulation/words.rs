//! Requests, answers and reports in words, for the trace.

use etcd_leader_rules::machine::{Answer, Failure, Input, Op, Reply, Report, Seen, WatchNews};
use etcd_leader_rules::member::Member;

use crate::trace::text;

/// A request in words.
pub(crate) fn words(op: &Op) -> String {
    match op {
        Op::Open { endpoint, .. } => format!("open endpoint {endpoint}"),
        Op::Close => "close".into(),
        Op::Grant { lease, ttl_s } => format!("grant {lease:x} for {ttl_s} s"),
        Op::Renew { lease } => format!("renew {lease:x}"),
        Op::Confirm { keys, .. } => format!("confirm {:?}", keys.iter().map(|key| text(key)).collect::<Vec<_>>()),
        Op::Check { keys } => format!("check {:?}", keys.iter().map(|key| text(key)).collect::<Vec<_>>()),
        Op::ListKeys { lease } => format!("list the keys of {lease:x}"),
        Op::Revoke { lease } => format!("revoke {lease:x}"),
        Op::Join { own, .. } => format!("join {}", text(own)),
        Op::Touch { key, written, lease, sign, .. } => {
            format!("touch {} of {written} on {lease:x}: {sign:?}", text(key))
        }
        Op::Look { own, up_to, .. } => format!("look for {} up to {up_to}", text(own)),
        Op::Post { name, .. } => format!("post {}", text(name)),
        Op::Refresh { key, written, visible, .. } => {
            format!("refresh {} of {written}{}", text(key), if *visible { ", visibly" } else { "" })
        }
        Op::Leave { key, revision } | Op::Withdraw { key, revision, .. } => {
            format!("leave {} of {revision}", text(key))
        }
        Op::Watch { watch, range } => {
            let what = if range.puts_only { "puts in " } else { "" };
            let (from, to) = (text(&range.from), text(&range.to).replace('\0', "+0"));
            format!("watch {} {what}[{from}, {to}) from {:?}", watch.0, range.start)
        }
        Op::Unwatch { watch } => format!("unwatch {}", watch.0),
    }
}

pub(crate) fn outcome(result: &Result<Reply, Failure>) -> String {
    match result {
        Ok(reply) => format!("rev {} term {} {}", reply.stamp.revision, reply.stamp.term, answer_words(&reply.answer)),
        Err(failure) => format!("{:?} {}", failure.kind, failure.detail),
    }
}

pub(crate) fn answer_words(answer: &Answer) -> String {
    let seen_words = |seen: &Seen| {
        let list = |members: &[Member]| {
            members.iter().map(|m| format!("{}@{}", text(&m.key), m.revision)).collect::<Vec<_>>().join(" ")
        };
        format!(
            "own {:?} latest [{}] first [{}]",
            seen.own.as_ref().map(|m| m.revision),
            list(&seen.latest),
            list(&seen.first)
        )
    };
    match answer {
        Answer::Confirmed { found } | Answer::Glimpsed { found } => {
            format!(
                "confirmed {:?}",
                found.iter().map(|m| m.as_ref().map(|m| (m.revision, m.lease))).collect::<Vec<_>>()
            )
        }
        Answer::Joined { created, seen } => format!("joined created={created} {}", seen_words(seen)),
        Answer::Looked(seen) => format!("looked {}", seen_words(seen)),
        other => format!("{other:?}"),
    }
}

pub(crate) fn input_words(input: &Input) -> String {
    match input {
        Input::Reply { id, result: Ok(reply) } => {
            let stamp = reply.stamp;
            let words = answer_words(&reply.answer);
            let clock = stamp.clock_s.map_or(String::new(), |clock_s| format!("clock {} ", clock_s % 100_000));
            format!("{}: rev {} term {} {clock}{words}", id.0, stamp.revision, stamp.term)
        }
        Input::Reply { id, result: Err(failure) } => format!("{}: {:?} {}", id.0, failure.kind, failure.detail),
        Input::Watch { watch, news: WatchNews::Changes { changes }, .. } => {
            let words: Vec<String> = changes
                .iter()
                .map(|c| format!("{}@{} {:?}", text(&c.key), c.at, c.now.as_ref().map(|m| (m.revision, m.lease))))
                .collect();
            format!("watch {}: {}", watch.0, words.join(", "))
        }
        Input::Watch { watch, news, .. } => format!("watch {}: {news:?}", watch.0),
        other => format!("{other:?}"),
    }
}

pub(crate) fn report_words(report: &Report) -> String {
    let mut words = format!("{:?}", report.standing);
    for (name, error) in [("lost", &report.lost), ("fatal", &report.fatal)] {
        if let Some(error) = error {
            words += &format!(" {name}: {error:?}");
        }
    }
    if let Some(trouble) = &report.trouble {
        words += &format!(" trouble: {:?} at {:?}", trouble.error, trouble.endpoint);
    }
    if report.released {
        words += " released";
    }
    words
}
