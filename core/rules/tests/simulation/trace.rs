//! What happened, in words; written only when a seed is replayed.

use crate::rng::Ns;

pub(crate) struct Trace {
    pub(crate) on: bool,
    pub(crate) lines: Vec<String>,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Trace {
        Trace { on, lines: Vec::new() }
    }

    pub(crate) fn push(&mut self, now: Ns, line: String) {
        self.lines.push(format!("{:>12.6} {line}", now as f64 / 1e9));
    }
}

/// Writes a line, if anybody reads it; the words are not even put together otherwise.
macro_rules! note {
    ($world:expr, $($arg:tt)*) => {
        if $world.trace.on {
            let line = format!($($arg)*);
            let now = $world.now;
            $world.trace.push(now, line);
        }
    };
}
pub(crate) use note;

/// A key, for people.
pub(crate) fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
