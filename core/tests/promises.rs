//! Every promise names a test, and every test that is named exists.

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The rows of the tables: what is promised, and the tests in the last column.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.ends_with("| shown by |");
    text.lines()
        .filter(is_row)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            let tests = cells[cells.len() - 1].split('`').map(str::trim).filter(|word| !word.is_empty());
            (cells[0].trim().to_string(), tests.map(str::to_string).collect())
        })
        .collect()
}

/// Whether there is such a test, `file::name`.
fn exists(test: &str) -> bool {
    let (file, name) = test.split_once("::").unwrap_or((test, ""));
    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
    if file.ends_with(".js") {
        return ["it('", "it(`", "test('", "test(`"].iter().any(|begin| source.contains(&format!("{begin}{name}")));
    }
    if file.ends_with(".py") {
        return source.contains(&format!("def {name}("));
    }
    // Faults are values, of which tests are made.
    if file.starts_with("core/tests/faults/") {
        return source.contains(&format!("\"{name}\""));
    }
    let code = source.lines().collect::<Vec<_>>();
    code.iter().enumerate().any(|(at, line)| {
        let is_it = line.contains(&format!("fn {name}("));
        let on_both = format!("on_v2_and_v3!({name});");
        let makes_it = |above: &&str| above.contains("test]") || **above == on_both;
        is_it && code[at.saturating_sub(3)..at].iter().any(makes_it)
    })
}

/// Whether `make test` leaves it out.
fn is_left_out(test: &str) -> bool {
    let (file, name) = test.split_once("::").unwrap_or((test, ""));
    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
    let quoted = format!("\"{name}\"");
    match file {
        "core/tests/faults/catalogue.rs" => {
            let faults = source.split("Fault::new(").filter(|fault| fault.trim_start().starts_with(&quoted));
            faults.into_iter().any(|fault| [".heavy()", ".crowd("].iter().any(|mark| fault.contains(mark)))
        }
        "core/tests/faults/fence.rs" => {
            let trial = source.split("trial(").find(|trial| trial.starts_with(&quoted));
            trial.is_some_and(|trial| trial.split(')').next().is_some_and(|said| said.ends_with("false")))
        }
        _ => {
            let function = source.split(&format!("fn {name}(")).next().unwrap_or_default();
            let above: Vec<&str> = function.lines().rev().take(4).collect();
            above.iter().take_while(|line| !line.starts_with('}')).any(|line| line.trim().starts_with("#[ignore"))
        }
    }
}

#[test]
fn what_make_test_leaves_out_is_known() {
    let faults = "core/tests/faults";
    assert!(is_left_out(&format!("{faults}/catalogue.rs::crowd_loses_etcd")));
    assert!(!is_left_out(&format!("{faults}/catalogue.rs::all_cut_off")));
    assert!(is_left_out(&format!("{faults}/fence.rs::v2")) && !is_left_out(&format!("{faults}/fence.rs::v3_short")));
    assert!(is_left_out("core/rules/tests/exhaustive/main.rs::the_longest_walk_breaks_no_law"));
    assert!(!is_left_out("core/rules/tests/exhaustive/main.rs::a_short_walk_breaks_no_law"));
}

#[test]
fn every_promise_has_a_test_that_exists() {
    let mut all = Vec::new();
    for (file, at_least) in [("promises.md", 40), ("reports.md", 30)] {
        let text = fs::read_to_string(root().join("core/docs").join(file)).expect("a document");
        let rows = rows(&text);
        assert!(rows.len() >= at_least, "only {} rows of {file} were understood", rows.len());
        all.extend(rows);
    }
    let mut wrong = Vec::new();
    for (promise, tests) in all {
        if tests.is_empty() {
            wrong.push(format!("{promise}: no test"));
        }
        if tests.iter().all(|test| is_left_out(test)) && !promise.contains("`make ") {
            wrong.push(format!("{promise}: `make test` runs none of its tests; say which command does"));
        }
        wrong.extend(
            tests.iter().filter(|test| !exists(test)).map(|test| format!("{promise}: there is no test {test}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_promise_of_the_readme_and_what_is_not_promised_leads_to_its_test() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, text) = text.split_once("\n## Promised\n").expect("the promises");
    let (promised, text) = text.split_once("\n## Not promised\n").expect("what is not promised");
    let (not_promised, _) = text.split_once("\n## ").expect("its end");
    let limits =
        fs::read_to_string(root().join("core/docs/limits.md")).expect("the limits").replace("](../", "](core/");
    let promises: Vec<&str> =
        [promised, not_promised, &limits].iter().flat_map(|text| text.split("\n* ").skip(1)).collect();
    assert!(promises.len() > 16, "only {} promises were understood", promises.len());
    for promise in promises {
        // [1](file "name")
        let links = promise.split("](").skip(1).filter_map(|link| link.split_once(" \"")?.0.into());
        let names = promise.split("](").skip(1).filter_map(|link| link.split('"').nth(1));
        let tests: Vec<String> = links.zip(names).map(|(file, name): (&str, &str)| format!("{file}::{name}")).collect();
        assert!(!tests.is_empty() && tests.iter().all(|test| exists(test)), "{tests:?} of: {promise}");
    }
}

#[test]
fn the_readme_points_to_files_that_exist() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let prose = text.split("```").step_by(2);
    for link in prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next()) {
        assert!(link.starts_with("http") || root().join(link).exists(), "the README points to {link}");
    }
}

#[test]
fn make_test_runs_every_test_target() {
    let script = fs::read_to_string(root().join(".ci/test")).expect("the script behind make test");
    let folders = ["core/tests", "core/rules/tests", "ffi/tests"]
        .map(|folder| fs::read_dir(root().join(folder)).expect("the tests"));
    for entry in folders.into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_target = path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
        // Figures judge nothing: `make figures`.
        if is_target && name != "figures" {
            let mut words = script.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            assert!(words.any(|word| word == name), "make test leaves out {name}");
        }
    }
}
