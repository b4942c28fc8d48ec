//! The causes of an error, as a message tells them.

use std::error::Error;
use std::io;

/// An error with its causes. Many errors repeat their cause: a cause that was said already is left out.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in chain(error) {
        let said = without_manual(cause.to_string());
        if said.is_empty() || text.contains(&said) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&said);
    }
    text
}

/// The last of its causes.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(|cause| without_manual(cause.to_string())).unwrap_or_default()
}

/// The error, and each cause of the one before it.
pub(super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        // The source of an I/O error is that of the error it wraps, so the wrapped one itself comes next.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => (*error).source(),
        }
    })
}

/// rustls ends a message with a link into its own manual, which helps nobody who uses this library.
fn without_manual(mut said: String) -> String {
    if let Some(at) = said.find(": https://docs.rs/") {
        said.truncate(at);
    }
    said
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[test]
    fn causes_are_named_once() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "it broke: {}", self.0)
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(causes(&Outer(io::Error::other("the cause"))), "it broke: the cause");
    }

    #[test]
    fn no_message_leads_into_the_manual_of_a_library() {
        let said = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/manual#eof";
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, said);
        assert_eq!(causes(&error), "peer closed connection without sending TLS close_notify");
        assert_eq!(root(&error), "peer closed connection without sending TLS close_notify");
    }
}
