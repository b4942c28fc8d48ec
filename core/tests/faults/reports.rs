//! What candidates say, and what the register sees: the words that the programs in `candidates` use.
//!
//! ```text
//! to standard output, a line each; times are nanoseconds on CLOCK_MONOTONIC, which all processes share
//!   S before after token          every 20 ms: stamped before and after asking; 0: "I do not lead"
//!   E at elected token            what it was told: also `unelected CODE`, `leader NAME` (empty: nobody is known to
//!                                 lead), `retrying CODE message`, `error CODE message`; after a stop
//!                                 `ended CODE message`
//! to the register, a socket: first a line with the name, then as fast as the answers come, while it claims to lead
//!   before after token            stamped before and after asking, then written; the answer is a byte: taken, or too old
//! ```
//!
//! FAULTS_WORK_MS says how long the leading work between asking and writing takes.

/// Nanoseconds on CLOCK_MONOTONIC.
pub(crate) type Nanos = i64;

/// Somebody was asked whether it leads: the answer was true at some instant between the two stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) who: usize,
    pub(crate) before: Nanos,
    pub(crate) after: Nanos,
    /// 0: it does not lead.
    pub(crate) token: u64,
}

/// What a candidate was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Elected(u64),
    Unelected(String),
    /// Empty: nobody is known to lead.
    Leader(String),
    Retrying(String),
    Error(String),
    /// Its end, after a stop.
    Ended,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) who: usize,
    pub(crate) at: Nanos,
    pub(crate) told: Told,
}

/// Something that was written into the register, by one who had just claimed to lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) claim: Claim,
    /// When it arrived. Later ones arrived later.
    pub(crate) at: Nanos,
    /// By a register that goes by tokens; another takes all.
    pub(crate) is_taken: bool,
}

pub(crate) enum Report {
    Claim(Claim),
    Event(Event),
}

/// A line of a candidate's; `None` if it is none of those above.
pub(crate) fn parse(who: usize, line: &str) -> Option<Report> {
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "S" => claim(who, rest).map(Report::Claim),
        "E" => {
            let (at, rest) = rest.split_once(' ')?;
            let (what, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let told = match what {
                "elected" => Told::Elected(rest.parse().ok()?),
                "unelected" => Told::Unelected(rest.into()),
                "leader" => Told::Leader(rest.into()),
                "retrying" => Told::Retrying(rest.into()),
                "error" => Told::Error(rest.into()),
                "ended" => Told::Ended,
                _ => return None,
            };
            Some(Report::Event(Event { who, at: at.parse().ok()?, told }))
        }
        _ => None,
    }
}

/// `before after token`.
pub(crate) fn claim(who: usize, words: &str) -> Option<Claim> {
    let mut words = words.split(' ');
    let mut next = || words.next()?.parse::<i64>().ok();
    Some(Claim { who, before: next()?, after: next()?, token: next()?.cast_unsigned() })
}

/// Now, as candidates stamp it.
pub(crate) fn now() -> Nanos {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}
