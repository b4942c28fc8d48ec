//! What a server said, fit for a message.

use crate::config::Login;

/// A server's words are cut behind so many characters.
const MAX_CHARS: usize = 160;

/// What a server said that knows our password: shown unless it repeats that, also as HTTP sends it.
pub(super) fn fit(text: &str, login: Option<&Login>) -> String {
    let repeats = |login: &Login| text.contains(login.password.expose()) || text.contains("Basic ");
    if login.is_some_and(repeats) { "(its words repeat our password)".into() } else { brief(text) }
}

/// On one line, without what a terminal would obey, and cut where it is too long to read.
pub(super) fn brief(text: &str) -> String {
    // Words beyond the cut are not looked at: there may be megabytes of them.
    let far = text.char_indices().nth(4 * MAX_CHARS).map_or(text.len(), |(at, _)| at);
    let mut line = text[..far].split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None if far < text.len() => line + "...",
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_short_and_on_one_line() {
        assert_eq!(brief(" a\r\n\tb\u{7} "), "a b");
        assert_eq!(brief(&"ä".repeat(200)).chars().count(), 163);
        assert_eq!(brief(&(" ".repeat(1 << 20) + "far")), "...");
    }
}
