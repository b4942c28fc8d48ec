//! Which licences we take: the one list, in `core/docs/dependencies.md`.

use spdx::{Expression, ParseMode};

use crate::document;

/// The licences that anything may have.
pub(crate) fn allowed() -> Vec<String> {
    document::names(&document::read(document::FILE), "## Licences")
}

/// Whether what a crate says of its licence can be met with those that are allowed. An expression that cannot be read
/// cannot be met either, and an exception ("WITH") is another licence.
pub(crate) fn is_met(expression: &str, allowed: &[String]) -> bool {
    // Old crates write "MIT/Apache-2.0".
    Expression::parse_mode(expression, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|term| {
            let id = term.license.id();
            term.addition.is_none() && id.is_some_and(|id| allowed.iter().any(|name| name == id.name))
        })
    })
}
