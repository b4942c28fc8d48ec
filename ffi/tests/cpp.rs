//! `include/etcd_leader.hpp`: every compiler takes it in C++17 and C++20, it says all that the C header says, and what it
//! promises holds on a real etcd, with sanitizers too (tests/cpp).

mod library;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use library::{Way, Workshop, built, root};
use nix::sys::signal::Signal;
use support::{Cluster, Proxy, etcdctl_binary};
use tempfile::TempDir;

const STRICT: [&str; 8] =
    ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Wold-style-cast", "-Werror"];

/// A compiler, its standard, and what else it is told.
type Compiler<'a> = (&'a str, &'a str, &'a [&'a str]);

const ALL: [Compiler; 4] = [GCC_17, GCC_20, CLANG_17, CLANG_20];
const GCC_17: Compiler = ("g++", "-std=c++17", &[]);
const GCC_20: Compiler = ("g++", "-std=c++20", &[]);
const CLANG_17: Compiler = ("clang++", "-std=c++17", &[]);
const CLANG_20: Compiler = ("clang++", "-std=c++20", &[]);

/// A directory with the library, and with what is made of it.
struct Lab {
    directory: TempDir,
    runner: Workshop,
}

impl Lab {
    fn new() -> Lab {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["libetcd_leader.so", "libetcd_leader.so.1"] {
            symlink(built().join("libetcd_leader.so"), directory.path().join(name)).expect("a link");
        }
        Lab { directory, runner: Workshop::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a source.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    /// Makes `name` of the sources.
    fn try_make(&self, (compiler, standard, flags): Compiler, name: &str, sources: &[&Path]) -> Output {
        let here = self.directory.path().display();
        let mut command = Command::new(compiler);
        command.arg(standard).args(STRICT).arg("-pthread").args(flags).arg("-I").arg(root().join("include"));
        command.args(sources).args([format!("-L{here}"), "-letcd_leader".into(), format!("-Wl,-rpath,{here}")]);
        command.arg("-o").arg(self.path(name));
        command.output().unwrap_or_else(|error| panic!("{compiler}: {error}; install Debian's packages g++ and clang"))
    }

    /// As [`Lab::try_make`], without a word.
    fn make(&self, compiler: Compiler, name: &str, sources: &[&Path]) -> PathBuf {
        let output = self.try_make(compiler, name, sources);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{compiler:?} {sources:?}:\n{said}");
        self.path(name)
    }

    /// Runs a test on an etcd of its own.
    fn passes(&self, program: &Path) {
        let cluster = Cluster::single();
        let etcdctl = etcdctl_binary();
        let arguments = [&*cluster.urls()[0], etcdctl.to_str().expect("UTF-8")];
        self.runner.start(program, Way::Plain, &arguments).succeeds();
        assert_eq!(
            cluster.etcdctl(&["get", "--prefix", "/", "--keys-only"]),
            "",
            "{} left something",
            program.display()
        );
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cpp").join(name)
}

fn header(name: &str) -> String {
    fs::read_to_string(root().join("include").join(name)).expect("a header")
}

/// Compiles the tests and runs them.
fn pass(compiler: Compiler) {
    let lab = Lab::new();
    for name in ["election", "lead"] {
        lab.passes(&lab.make(compiler, name, &[&source(&format!("{name}.cc"))]));
    }
}

#[test]
fn by_clang_in_cpp_17() {
    pass(CLANG_17);
}

#[test]
fn by_clang_in_cpp_20() {
    pass(CLANG_20);
}

#[test]
fn by_gcc_in_cpp_17_watched_by_the_sanitizers_of_addresses_and_of_undefined_behaviour() {
    pass((GCC_17.0, GCC_17.1, &["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]));
}

/// The library is not instrumented: what it does itself is not watched, but all that the header and its users do is.
#[test]
fn by_gcc_in_cpp_20_watched_by_the_sanitizer_of_threads() {
    let lab = Lab::new();
    let options = lab.write(
        "options.cc",
        "extern \"C\" const char *__tsan_default_suppressions();\n\
         extern \"C\" const char *__tsan_default_suppressions() { return \"called_from_lib:libetcd_leader.so\\n\"; }\n",
    );
    for name in ["election", "lead"] {
        let compiler = (GCC_20.0, GCC_20.1, &["-g1", "-fsanitize=thread"][..]);
        lab.passes(&lab.make(compiler, name, &[&source(&format!("{name}.cc")), &options]));
    }
}

#[test]
fn parts_in_17_and_20_by_both_compilers_make_one_program() {
    for (part, program) in [(GCC_20, CLANG_17), (CLANG_17, GCC_20)] {
        let lab = Lab::new();
        let flags = ["-shared", "-fPIC", "-fvisibility=hidden", "-O2"];
        lab.make((part.0, part.1, &flags), "libpart.so", &[&source("part.cc")]);
        let part = lab.path("libpart.so");
        let program = (program.0, program.1, &["-O2"][..]);
        lab.passes(&lab.make(program, "parts", &[&source("parts.cc"), &part]));
    }
}

#[test]
fn two_units_and_the_header_twice_in_each() {
    let lab = Lab::new();
    let unit = |name: &str, also: &str| {
        let text = "#include <etcd_leader.hpp>\n#include <etcd_leader.hpp>\n\
                    void NAME(etcd_leader::election &one);\n\
                    void NAME(etcd_leader::election &one) {\n\
                    one.run(); one.poll(); one.fd(); one.leader(); one.stop();\n}\n";
        lab.write(&format!("{name}.cc"), &format!("{}{also}", text.replace("NAME", name)))
    };
    let one = unit("one", "int main() {}\n");
    let two = unit("two", "");
    for (compiler, standard, _) in ALL {
        lab.make((compiler, standard, &["-fno-rtti"]), "units", &[&one, &two]);
    }
    // What comes next.
    lab.make(("g++", "-std=c++23", &[]), "units", &[&one, &two]);
    lab.make(("clang++", "-std=c++2b", &[]), "units", &[&one, &two]);
}

#[test]
fn what_it_needs_is_said_in_one_line() {
    let lab = Lab::new();
    let source = lab.write("needs.cc", "#include <etcd_leader.hpp>\nint main() {}\n");
    for compiler in ["g++", "clang++"] {
        for (standard, flag, needs) in [
            ("-std=c++14", "-O0", "needs C++17: compile with"),
            ("-std=c++17", "-fno-exceptions", "needs exceptions: compile"),
        ] {
            let output = lab.try_make((compiler, standard, &[flag]), "needs", &[&source]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(needs), "{said}");
            assert_eq!(said.matches("error: ").count(), 1, "{said}");
        }
    }
}

/// The names of the header's statuses but `EL_OK`, which is no error.
fn statuses() -> Vec<String> {
    let text = header("etcd_leader.h");
    let negative = |line: &str| Some(line.strip_prefix("#define EL_")?.split_once(" -")?.0.to_string());
    text.lines().filter_map(negative).collect()
}

#[test]
fn every_status_has_an_errc_of_the_same_number_and_name() {
    let statuses = statuses();
    assert!(statuses.len() > 20, "{statuses:?}");
    let text = header("etcd_leader.hpp");
    let codes = text.split("enum class errc").nth(1).and_then(|rest| rest.split("};").next()).expect("the codes");
    assert_eq!(codes.matches("= EL_").count(), statuses.len());

    let mut program = "#include <etcd_leader.hpp>\nint main() {\n".to_string();
    for name in &statuses {
        let code = format!("etcd_leader::errc::{}", name.to_lowercase());
        writeln!(program, "static_assert(static_cast<int>({code}) == EL_{name});").expect("written");
        writeln!(program, "if (std::error_code({code}).message() != \"EL_{name}\") return 1;").expect("written");
    }
    program.push_str("return std::error_code(etcd_leader::errc::invalid).value() == EL_INVALID ? 0 : 1;\n}\n");
    let lab = Lab::new();
    let program = lab.make(GCC_17, "codes", &[&lab.write("codes.cc", &program)]);
    lab.runner.start(&program, Way::Plain, &[]).succeeds();
}

#[test]
fn every_field_event_and_choice_of_the_c_header_is_there() {
    let c = header("etcd_leader.h");
    let cpp = header("etcd_leader.hpp");
    let fields = c.split("typedef struct el_config {").nth(1).and_then(|rest| rest.split("} el_config;").next());
    let fields: Vec<&str> = fields
        .expect("the configuration")
        .lines()
        .filter(|line| line.ends_with(';') && !line.trim_start().starts_with('*'))
        .filter_map(|line| line.trim_end_matches(';').rsplit([' ', '*']).next())
        .collect();
    assert!(fields.len() > 20, "{fields:?}");
    // Those are for el_poll, and the header takes events from a queue.
    for field in fields.iter().filter(|field| !["on_event", "user_data"].contains(field)) {
        assert!(cpp.contains(&format!("c.{field} = ")), "etcd_leader.hpp leaves out {field}");
    }
    let choices = c.lines().filter_map(|line| line.strip_prefix("#define ")?.split(' ').next());
    for name in
        choices.filter(|name| ["EL_EVENT_", "EL_API_", "EL_ON_STORE"].iter().any(|start| name.starts_with(start)))
    {
        assert!(cpp.contains(name), "etcd_leader.hpp leaves out {name}");
    }
}

/// The whole programs in C++ that a text shows, as blocks of Markdown or indented in a comment.
fn programs(text: &str) -> Vec<String> {
    let blocks = text.split("```cpp\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_string);
    let is_shown = |line: &&str| line.starts_with("    ") || line.is_empty();
    let comment = text.lines().take_while(|line| !line.starts_with("#ifndef"));
    let shown: String = comment
        .skip_while(|line| !line.contains("#include"))
        .take_while(is_shown)
        .map(|line| format!("{}\n", line.get(4..).unwrap_or_default()))
        .collect();
    blocks.chain([shown]).filter(|program| program.contains("int main()")).collect()
}

#[test]
fn the_programs_in_the_header_and_in_the_readme_compile_and_lead() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let of_header = programs(&header("etcd_leader.hpp"));
    assert_eq!(of_header.len(), 1);
    let shown = "http://127.0.0.1:2379";
    let cluster = Cluster::single();
    let lab = Lab::new();
    for program in of_header.iter().chain(&programs(&readme)) {
        assert!(program.contains(shown), "{program}");
        let source = lab.write("shown.cc", &program.replace(shown, &cluster.urls()[0]));
        let program = lab.make(CLANG_17, "shown", &[&source]);
        let mut running = lab.runner.start(&program, Way::Plain, &[]);
        assert!(running.ends().success(), "{}", running.said());
        assert!(
            running.said().contains("step 3, token ") && running.said().ends_with("3 steps\n"),
            "{}",
            running.said()
        );
    }
}

#[test]
fn trouble_and_its_end_are_told() {
    let lab = Lab::new();
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    proxy.refuse();
    let program = lab.make(GCC_17, "campaign", &[&root().join("examples/cpp/campaign.cc")]);
    let mut running = lab.runner.start(&program, Way::Plain, &[&proxy.url(), "/trouble", "one", "2"]);
    running.says("one: retrying (EL_");
    proxy.pass();
    running.says("one: all is well again\n");
    running.says("one: the leader is one\n");
    running.signal(Signal::SIGTERM);
    assert!(running.ends().success(), "{}", running.said());
}
