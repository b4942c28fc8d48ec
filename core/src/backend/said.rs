//! What a server said, fit for a message.

use crate::config::Login;

/// A server's words are cut behind so many characters.
const MAX_CHARS: usize = 160;

/// What a server said that knows our password: shown unless it repeats that, also as HTTP sends it.
pub(super) fn fit(text: &str, login: Option<&Login>) -> String {
    let repeats = |login: &Login| repeats(text, login.password.expose()) || repeats(text, "Basic ");
    if login.is_some_and(repeats) { "(its words repeat our password)".into() } else { brief(text) }
}

/// Whether these words, as they came or as they would be shown, hold a secret.
pub(super) fn repeats(text: &str, secret: &str) -> bool {
    text.contains(secret) || on_one_line(begin(text, 8 * MAX_CHARS)).contains(secret)
}

/// On one line, without what a terminal would obey, and cut where it is too long to read.
pub(super) fn brief(text: &str) -> String {
    let near = begin(text, 4 * MAX_CHARS);
    let line = on_one_line(near);
    match line.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None if near.len() < text.len() => line + "...",
        None => line,
    }
}

/// The first characters. The others are not looked at: there may be megabytes of them.
fn begin(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

fn on_one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn foreign_texts_are_short_and_on_one_line() {
        assert_eq!(brief(" a\r\n\tb\u{7} "), "a b");
        assert_eq!(brief(&"ä".repeat(200)).chars().count(), 163);
        assert_eq!(brief(&(" ".repeat(1 << 20) + "far")), "...");
    }

    #[test]
    fn a_password_is_not_shown_however_it_is_spread() {
        let login = Login { username: "us".into(), password: Secret::new("planted word") };
        for text in ["planted word", "pla\u{7}nted word", "planted\t\r\nword", "a\nBa\u{1b}sic dXM6"] {
            assert_eq!(fit(text, Some(&login)), "(its words repeat our password)", "{text:?}");
        }
        assert_eq!(fit("planted", Some(&login)), "planted");
    }
}
