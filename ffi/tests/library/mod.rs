//! The library as a C programmer has it, with the header, a compiler and a place for programs.

// Each test file uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use tempfile::TempDir;

/// Longer than any program may take, under Valgrind and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a program is built and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With the shared library.
    Plain,
    /// With the static one.
    Static,
    /// Its own code watched by AddressSanitizer and UndefinedBehaviorSanitizer.
    Sanitized,
    /// All of it watched by Valgrind's memcheck.
    Valgrind,
}

/// What the workspace's folder is called.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// Where cargo has put the library that belongs to this test. A test does not make cargo build a library that only C
/// can link, so it is built here: at no cost if that was done before.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = env::current_exe().expect("this test's path");
        let outputs = test.ancestors().nth(2).expect("<target>/<profile>/deps/test");
        let profile = outputs.file_name().expect("a profile").to_string_lossy().into_owned();
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Examples need what tests need: so the features, and all that is built, are those of `cargo test --workspace`.
        cargo.args(["build", "--quiet", "--workspace", "--lib", "--examples"]).current_dir(root());
        cargo.args(["--profile", if profile == "debug" { "dev" } else { &profile }]);
        cargo.arg("--target-dir").arg(outputs.parent().expect("the target directory"));
        // As this test was compiled, and with what the test itself was told by cargo left out, or it would be built anew.
        cargo.env_remove("CARGO_MANIFEST_DIR");
        cargo.env("RUSTC_WORKSPACE_WRAPPER", option_env!("RUSTC_WORKSPACE_WRAPPER").unwrap_or_default());
        assert!(cargo.status().expect("cargo").success(), "cargo could not build the library");
        outputs.to_owned()
    })
}

/// A directory with the library under its right names, and with programs.
pub struct Workshop {
    directory: TempDir,
}

impl Workshop {
    pub fn new() -> Workshop {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["libetcd_leader.so", "libetcd_leader.so.1"] {
            symlink(built().join("libetcd_leader.so"), directory.path().join(name)).expect("a link");
        }
        Workshop { directory }
    }

    /// Compiles a program, warnings being errors.
    pub fn compile(&self, source: &Path, way: Way) -> PathBuf {
        let is_cpp = source.extension().is_some_and(|extension| extension == "cc");
        self.compile_with(if is_cpp { ["g++", "-std=c++11"] } else { ["gcc", "-std=gnu11"] }, source, way)
    }

    /// As [`Workshop::compile`], with a compiler and its standard of one's own.
    pub fn compile_with(&self, [compiler, standard]: [&str; 2], source: &Path, way: Way) -> PathBuf {
        let name = format!("{}-{way:?}", source.file_stem().expect("a name").to_string_lossy());
        let program = self.directory.path().join(name);
        let mut compiler = Command::new(compiler);
        compiler.arg(standard);
        compiler.args(["-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I"]);
        compiler.arg(root().join("include")).arg(source).arg("-o").arg(&program);
        if way == Way::Sanitized {
            compiler.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
        }
        if way == Way::Static {
            compiler.arg(built().join("libetcd_leader.a")).args(["-lm", "-ldl"]);
        } else {
            let here = self.directory.path().display();
            compiler.args([format!("-L{here}"), "-letcd_leader".into(), format!("-Wl,-rpath,{here}")]);
        }
        let output = compiler
            .output()
            .unwrap_or_else(|error| panic!("{compiler:?}: {error}; install Debian's packages g++ and clang"));
        assert!(output.status.success(), "{}:\n{}", source.display(), String::from_utf8_lossy(&output.stderr));
        program
    }

    /// Starts a program; what it says goes into a file.
    pub fn start(&self, program: &Path, way: Way, arguments: &[&str]) -> Running {
        let mut command = if way == Way::Valgrind {
            let mut valgrind = Command::new("valgrind");
            valgrind.args(["--quiet", "--error-exitcode=99", "--child-silent-after-fork=yes"]);
            valgrind.args(["--leak-check=full", "--errors-for-leak-kinds=definite,possible"]);
            let suppressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/valgrind.supp");
            valgrind.arg(format!("--suppressions={}", suppressions.display())).arg(program);
            valgrind
        } else {
            Command::new(program)
        };
        let directory = tempfile::tempdir_in(self.directory.path()).expect("a directory");
        let said = directory.keep().join("said");
        let file = fs::File::create(&said).expect("a file");
        command.args(arguments).stdin(Stdio::piped()).stderr(file.try_clone().expect("the same")).stdout(file);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; install Debian's package valgrind", command.get_program().display())
        });
        Running { child, said, name: format!("{} ({way:?})", program.display()) }
    }

    /// Compiles and runs a program, which says nothing if all is well.
    pub fn run(&self, source: &Path, way: Way, arguments: &[&str]) {
        self.start(&self.compile(source, way), way, arguments).succeeds();
    }
}

/// A program that runs; it is killed if it is let go.
pub struct Running {
    child: Child,
    said: PathBuf,
    name: String,
}

impl Running {
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("a signal");
    }

    /// Its standard input.
    pub fn input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("its standard input")
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).expect("what it said")
    }

    /// Waits until it has said this.
    pub fn says(&mut self, what: &str) {
        let begun = Instant::now();
        while !self.said().contains(what) {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none() || self.said().contains(what), "{} ended, {ended:?}:\n{}", self.name, self.said());
            assert!(begun.elapsed() < PATIENCE, "{} did not say {what:?}:\n{}", self.name, self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end.
    pub fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not end:\n{}", self.name, self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, which must be a good and a silent one.
    pub fn succeeds(mut self) {
        let status = self.ends();
        assert!(status.success() && self.said().is_empty(), "{}: {status}\n{}", self.name, self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
