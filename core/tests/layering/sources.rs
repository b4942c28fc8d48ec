//! The sources of a crate, and the paths that their code names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, by its path from the root of the crate: `machine`, `session`, `lease`.
pub(crate) type Module = Vec<String>;

/// The modules of one crate.
pub(crate) struct Sources {
    files: BTreeMap<Module, File>,
}

struct File {
    code: String,
    /// The paths that it names, from the root of the crate; and where a name that it imports comes from.
    paths: BTreeSet<Module>,
    imports: BTreeMap<String, Module>,
    /// The paths as they are written, without those that begin with `crate`, `self` or `super`.
    outside: BTreeSet<String>,
}

impl Sources {
    /// The crates in these folders of the repository, as if they were one.
    pub(crate) fn of(packages: &[&str]) -> Sources {
        let is_tests = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "tests");
        let files = packages.iter().flat_map(|package| files_of(package).into_iter().map(move |path| (package, path)));
        let texts = files.filter(|(_, path)| !is_tests(path)).map(|(package, path)| {
            let below = path.strip_prefix(folder_of(package).join("src")).expect("below src").with_extension("");
            let module: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
            (module.join("/"), fs::read_to_string(path).expect("a source file"))
        });
        texts.collect()
    }

    /// Each module with its name and its code, without comments and tests.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (String, &str)> {
        self.files.iter().map(|(module, file)| (module.join("/"), file.code.as_str()))
    }

    /// Each module with the modules at the top of the crate that it names.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (String, BTreeSet<&str>)> {
        self.files.iter().map(|(module, file)| {
            let homes = file.paths.iter().map(|path| self.home_of(path));
            (module.join("/"), homes.filter_map(|home| home.first().map(String::as_str)).collect())
        })
    }

    /// Each module with the paths that it names in other crates, and below its own modules.
    pub(crate) fn outside(&self) -> impl Iterator<Item = (String, &BTreeSet<String>)> {
        self.files.iter().map(|(module, file)| (module.join("/"), &file.outside))
    }

    /// The circles among the files and folders of one folder, for each folder; one file of each step is named.
    pub(crate) fn circles(&self) -> Vec<String> {
        let folders: BTreeSet<_> =
            self.files.keys().filter(|module| !module.is_empty()).map(|one| folder(one)).collect();
        folders.into_iter().filter_map(|folder| self.circle_in(folder)).collect()
    }

    fn circle_in(&self, folder: &[String]) -> Option<String> {
        let mut steps: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (module, file) in self.files.iter().filter(|(module, _)| is_below(module, folder)) {
            let from = module[folder.len()].as_str();
            for path in &file.paths {
                let to = self.home_of(path);
                if is_below(to, folder) && to[folder.len()] != from {
                    let step = format!("{} names {}", module.join("/"), path.join("::"));
                    steps.entry(from).or_default().entry(to[folder.len()].as_str()).or_insert(step);
                }
            }
        }
        // What names nothing that is left is in no circle.
        loop {
            let left: BTreeSet<&str> = steps.keys().copied().collect();
            steps.values_mut().for_each(|to| to.retain(|to, _| left.contains(to)));
            if steps.values().all(|to| !to.is_empty()) {
                break;
            }
            steps.retain(|_, to| !to.is_empty());
        }
        let mut at = *steps.keys().next()?;
        let mut way = Vec::new();
        while !way.contains(&at) {
            way.push(at);
            at = steps[at].keys().next().expect("a step");
        }
        let circle = &way[way.iter().position(|one| *one == at).expect("on the way")..];
        let next = circle.iter().skip(1).chain([&at]);
        Some(circle.iter().zip(next).map(|(from, to)| steps[from][to].clone()).collect::<Vec<_>>().join(", "))
    }

    /// The module that a path leads to. A name that a module has from one below it belongs to that one.
    fn home_of<'a>(&'a self, path: &'a [String]) -> &'a [String] {
        let module = self.module_of(path);
        let name = path.get(module.len());
        match name.and_then(|name| self.files.get(module)?.imports.get(name)) {
            Some(origin) if is_below(self.module_of(origin), module) => self.home_of(origin),
            _ => module,
        }
    }

    fn module_of<'a>(&self, path: &'a [String]) -> &'a [String] {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]));
        &path[..length.unwrap_or_default()]
    }
}

/// From the name of each file below `src`, without its ending, and its text.
impl<M: AsRef<str>, T: AsRef<str>> FromIterator<(M, T)> for Sources {
    fn from_iter<I: IntoIterator<Item = (M, T)>>(texts: I) -> Sources {
        let files = texts.into_iter().map(|(module, text)| {
            let module: Module = module.as_ref().split('/').filter(|part| *part != "lib").map(String::from).collect();
            let file = File::new(&module, text.as_ref());
            (module, file)
        });
        Sources { files: files.collect() }
    }
}

impl File {
    fn new(module: &[String], text: &str) -> File {
        let code = code_of(text);
        let (used, inline) = paths_of(&code);
        let absolute = |path: &Module| from_root(module, path);
        let imports = used.iter().filter_map(|path| Some((path.last()?.clone(), absolute(path)))).collect();
        let paths = used.iter().chain(&inline).map(absolute).collect();
        let is_outside = |path: &&Module| !matches!(path[0].as_str(), "crate" | "self" | "super");
        let outside = used.iter().chain(&inline).filter(is_outside).map(|path| path.join("::")).collect();
        File { code, paths, imports, outside }
    }
}

fn folder(module: &[String]) -> &[String] {
    &module[..module.len() - 1]
}

fn is_below(module: &[String], folder: &[String]) -> bool {
    module.len() > folder.len() && module.starts_with(folder)
}

/// The folder of a package of the repository.
pub(crate) fn folder_of(package: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package)
}

/// The source files of the crate in this folder of the repository.
pub(crate) fn files_of(package: &str) -> Vec<PathBuf> {
    files_below(&folder_of(package).join("src"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// The code of a file: no comments, no tests.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths of a file's `use` declarations, and all others that have more than one part.
fn paths_of(code: &str) -> (Vec<Module>, Vec<Module>) {
    let (mut used, mut inline) = (Vec::new(), Vec::new());
    let tokens = tokens_of(code);
    let mut rest = tokens.as_slice();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == "use" {
            let end = rest.iter().position(|token| *token == ";").unwrap_or(rest.len());
            spread(&[], &rest[..end], &mut used);
            rest = &rest[end..];
        } else if is_name(first) && rest.first() == Some(&"::") {
            let mut path = vec![first.to_string()];
            while let ["::", name, after @ ..] = rest
                && is_name(name)
            {
                path.push(name.to_string());
                rest = after;
            }
            inline.push(path);
        }
    }
    (used, inline)
}

/// Writes the tree of a `use` out.
fn spread(before: &[String], tree: &[&str], into: &mut Vec<Module>) {
    let mut path = before.to_vec();
    for (at, token) in tree.iter().enumerate() {
        match *token {
            "{" => {
                let (mut depth, mut begin) = (0, at + 1);
                for (end, token) in tree.iter().enumerate().skip(at + 1) {
                    match *token {
                        "," | "}" if depth == 0 => {
                            spread(&path, &tree[begin..end], into);
                            begin = end + 1;
                        }
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                }
                return;
            }
            "as" => break,
            "self" if !path.is_empty() => {}
            name if is_name(name) => path.push(name.to_string()),
            _ => {}
        }
    }
    if path.len() > before.len() || tree == ["self"] {
        into.push(path);
    }
}

/// The path from the root of the crate; that of another crate leads to the module itself.
fn from_root(module: &[String], path: &[String]) -> Module {
    let mut base = module.to_vec();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = after;
    }
    [&base, rest].concat()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Of a literal, with its quotes.
fn length_of_text(code: &str) -> usize {
    let mut is_escaped = false;
    let end = code[1..].bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(code.len(), |at| at + 2)
}

/// Names, and the marks between them.
fn tokens_of(code: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("::") => 2,
            // A character that is a mark of its own, such as '"'.
            '\'' if rest[1..].chars().nth(1) == Some('\'') => 2 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            '"' => length_of_text(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if !token.trim().is_empty() {
            tokens.push(token);
        }
        rest = after;
    }
    tokens
}
