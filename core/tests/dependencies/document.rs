//! `core/docs/dependencies.md` is the list and the reasons at once: the checks read its tables, so there is no second copy.

use std::fs;
use std::path::Path;

pub(crate) const FILE: &str = "core/docs/dependencies.md";

/// The text of a file of ours.
pub(crate) fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The rows of the table below a heading, each with its cells. A heading without a table is a mistake of the document.
pub(crate) fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with('|'))
        .skip(2) // its head, and the line below that
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect())
        .collect();
    assert!(!rows.is_empty(), "{FILE} has no table below {heading:?}");
    rows
}

/// What stands in a cell `like this`.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

/// What stands `like this` in the first cells of the table below a heading.
pub(crate) fn names(text: &str, heading: &str) -> Vec<String> {
    table(text, heading).iter().flat_map(|row| quoted(&row[0])).collect()
}
