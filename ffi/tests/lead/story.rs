//! What the stories about `lead` are told with: its programs, a place for each, and the signs of life that jobs leave.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::TTL;
use super::library::{Way, built, root};
use support::{memory, spawn::spawn, wait_for};

/// The programs, compiled once.
pub(crate) struct Programs {
    pub(crate) plain: PathBuf,
    pub(crate) sanitized: PathBuf,
    pub(crate) job: PathBuf,
    pub(crate) shell: PathBuf,
    pub(crate) slow: PathBuf,
    pub(crate) twice: PathBuf,
    _directory: TempDir,
}

pub(crate) fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["libetcd_leader.so", "libetcd_leader.so.1"] {
            symlink(built().join("libetcd_leader.so"), directory.path().join(name)).expect("a link");
        }
        let compile = |name: &str, compiler: &str, sources: &[PathBuf], flags: &[&str]| {
            let program = directory.path().join(name);
            let mut command = Command::new(compiler);
            // As the Makefile has them.
            command.args(["-std=c99", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]);
            command.arg(root().join("include")).args(sources).args(flags).arg("-o").arg(&program);
            let output = command.output().unwrap_or_else(|error| panic!("{compiler}: {error}"));
            assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
            program
        };
        let here = directory.path().display();
        let (place, later) = (format!("-L{here}"), format!("-Wl,-rpath,{here}"));
        let library = [place.as_str(), "-letcd_leader", later.as_str()];
        let watched = [&library[..], &["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]].concat();
        let sources = sources_of_lead();
        let helper = |name: &str| [Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lead").join(name)];
        // Both compilers are to take it without a word.
        compile("by-clang", "clang", &sources, &library);
        Programs {
            plain: compile("lead", "gcc", &sources, &library),
            sanitized: compile("lead-sanitized", "gcc", &sources, &watched),
            job: compile("job", "gcc", &helper("job.c"), &[]),
            shell: compile("shell", "gcc", &helper("shell.c"), &[]),
            slow: compile("slow.so", "gcc", &helper("slow.c"), &["-shared", "-fPIC"]),
            twice: compile("twice", "gcc", &helper("twice.c"), &[]),
            _directory: directory,
        }
    })
}

fn sources_of_lead() -> Vec<PathBuf> {
    let all = fs::read_dir(root().join("examples/c/lead")).expect("the sources").flatten().map(|entry| entry.path());
    let mut sources: Vec<PathBuf> = all.filter(|path| path.extension() == Some(OsStr::new("c"))).collect();
    sources.sort();
    sources
}

/// A place for one story: its files, and the proof that nothing of it goes on when it is over.
pub(crate) struct Story {
    directory: TempDir,
    mark: String,
    way: Way,
}

impl Story {
    pub(crate) fn new() -> Story {
        Story::told(Way::Plain)
    }

    pub(crate) fn told(way: Way) -> Story {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("LEAD_STORY=story-{}-{}-", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Story { directory: memory::directory(), mark, way }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A `lead` with these options, that runs this command.
    pub(crate) fn lead(&self, options: &[&str], command: &[&str]) -> Lead {
        self.lead_with(options, command, |_| {})
    }

    pub(crate) fn lead_with(&self, options: &[&str], command: &[&str], change: impl FnOnce(&mut Command)) -> Lead {
        let programs = programs();
        let program = if self.way == Way::Sanitized { &programs.sanitized } else { &programs.plain };
        let mut process = Command::new(program);
        process.args(options).arg("--").args(command);
        self.start(process, change)
    }

    pub(crate) fn start(&self, mut process: Command, change: impl FnOnce(&mut Command)) -> Lead {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!("{number}.out")), self.path(&format!("{number}.err")));
        let file = |path: &Path| File::create(path).expect("a file");
        process.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
        let (name, value) = self.mark.split_once('=').expect("a variable");
        process.env(name, value);
        as_from_a_shell(&mut process);
        change(&mut process);
        Lead { child: spawn(process).expect("lead"), out, err }
    }

    /// The words that make the job: where it leaves its signs, its label, and what it does.
    pub(crate) fn job<'a>(&self, label: &'a str, what: &[&'a str]) -> Vec<String> {
        let words = [programs().job.display().to_string(), self.path("signs").display().to_string(), label.to_string()];
        words.into_iter().chain(what.iter().map(|word| word.to_string())).collect()
    }

    /// A `lead` of this name that runs a job of the same name.
    pub(crate) fn runs(&self, url: &str, name: &str, options: &[&str], what: &[&str]) -> Lead {
        let job = self.job(name, what);
        let job: Vec<&str> = job.iter().map(String::as_str).collect();
        let usual = ["--endpoints", url, "--name", name, "--verbose"];
        let unless_given = |option, usual| if options.contains(&option) { vec![] } else { vec![option, usual] };
        let (key, ttl) = (unless_given("--key", "/jobs"), unless_given("--ttl", TTL));
        self.lead(&[&usual[..], &key, &ttl, options].concat(), &job)
    }

    /// The signs of life so far.
    pub(crate) fn signs(&self) -> Vec<Sign> {
        let text = fs::read_to_string(self.path("signs")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Sign::read).collect()
    }

    /// Waits until somebody of this label has noted this.
    pub(crate) fn sees(&self, label: &str, event: &str) -> Sign {
        wait_for(&format!("{label} {event}"), || {
            self.signs().into_iter().find(|sign| sign.label == label && sign.event.starts_with(event))
        })
    }

    pub(crate) fn has_seen(&self, label: &str, event: &str) -> bool {
        self.signs().iter().any(|sign| sign.label == label && sign.event == event)
    }

    pub(crate) fn token(&self, label: &str) -> u64 {
        let sign = self.sees(label, "token-");
        sign.event["token-".len()..].parse().expect("a token")
    }

    /// When the last sign of this label, or of one of its children, was left.
    pub(crate) fn last(&self, label: &str) -> i64 {
        self.of(label).map(|sign| sign.at).max().unwrap_or_else(|| panic!("no sign of {label}"))
    }

    pub(crate) fn of(&self, label: &str) -> impl Iterator<Item = Sign> {
        let below = format!("{label}.");
        let label = label.to_string();
        self.signs().into_iter().filter(move |sign| sign.label == label || sign.label.starts_with(&below))
    }

    /// The one had ended, with all its children, before the other began. How long before.
    pub(crate) fn ended_before(&self, one: &str, other: &str) -> Duration {
        let began = self.of(other).map(|sign| sign.at).min().unwrap_or_else(|| panic!("no sign of {other}"));
        let between = began - self.last(one);
        assert!(between > 0, "{one} was alive {between} ns after {other} had begun");
        Duration::from_nanos(between.unsigned_abs())
    }

    /// Processes of which a thread has the mark of this story in its environment; one that has ended has none.
    pub(crate) fn left(&self) -> Vec<Pid> {
        let mark = self.mark.as_bytes();
        let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_ours = |thread: PathBuf| {
            fs::read(thread.join("environ")).is_ok_and(|found| found.windows(mark.len()).any(|part| part == mark))
        };
        let number = |path: &Path| path.file_name()?.to_str()?.parse().ok().map(Pid::from_raw);
        let all = entries("/proc".into()).filter_map(|path| Some((number(&path)?, path)));
        all.filter(|(_, path)| entries(path.join("task")).any(is_ours)).map(|(pid, _)| pid).collect()
    }

    pub(crate) fn nothing_is_left(&self) {
        wait_for("nothing to be left", || self.left().is_empty().then_some(()));
    }
}

/// Whoever runs the tests may ignore signals (nohup): `lead` would, too.
fn as_from_a_shell(process: &mut Command) {
    // SAFETY: the call is async-signal-safe, and nothing else happens between fork and exec.
    #[allow(unsafe_code)]
    unsafe {
        process.pre_exec(|| {
            for number in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP] {
                nix::sys::signal::signal(number, SigHandler::SigDfl)?;
            }
            Ok(())
        });
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pid in self.left() {
                let _ = kill(pid, Signal::SIGKILL);
            }
            for entry in fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" lives ")).collect();
                eprintln!("---- {}:\n{}", entry.file_name().display(), lines.join("\n"));
            }
        }
    }
}

/// "LABEL pid event time"
#[derive(Clone, Debug)]
pub(crate) struct Sign {
    pub(crate) label: String,
    pub(crate) pid: i32,
    pub(crate) event: String,
    pub(crate) at: i64,
}

impl Sign {
    fn read(line: &str) -> Sign {
        let words: Vec<&str> = line.split(' ').collect();
        let [label, pid, event, at] = words[..] else { panic!("{line:?} is no sign of life") };
        let number = |text: &str| text.parse::<i64>().expect("a number");
        Sign { label: label.into(), pid: number(pid).try_into().expect("a pid"), event: event.into(), at: number(at) }
    }
}

/// A `lead` that runs; it is killed if it is let go.
pub(crate) struct Lead {
    pub(crate) child: Child,
    pub(crate) out: PathBuf,
    pub(crate) err: PathBuf,
}

impl Lead {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("a signal");
    }

    /// The process between `lead` and its command.
    pub(crate) fn keeper(&self) -> Pid {
        child_of(self.pid(), "lead-keeper")
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.err).expect("what it said")
    }

    /// The same without trouble, which is told whenever the machine stalls for a second or two.
    pub(crate) fn said_but_for_trouble(&self) -> String {
        let is_trouble = |line: &&str| line.starts_with("lead: retrying: ") || *line == "lead: all is well again";
        self.said().lines().filter(|line| !is_trouble(line)).map(|line| format!("{line}\n")).collect()
    }

    pub(crate) fn shown(&self) -> String {
        fs::read_to_string(&self.out).expect("what its command wrote")
    }

    pub(crate) fn says(&mut self, what: &str) {
        wait_for(&format!("{what:?}"), || {
            let ended = self.child.try_wait().expect("wait");
            let has_said = self.said().contains(what);
            assert!(ended.is_none() || has_said, "ended ({ended:?}) without {what:?}:\n{}", self.said());
            has_said.then_some(())
        });
    }

    pub(crate) fn status(&mut self) -> ExitStatus {
        wait_for("the end", || self.child.try_wait().expect("wait"))
    }

    pub(crate) fn ends(&mut self, code: i32) {
        let status = self.status();
        assert_eq!(status.code(), Some(code), "{status}\n{}", self.said());
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child of a process that has this name.
pub(crate) fn child_of(parent: Pid, name: &str) -> Pid {
    let (parent, name) = (parent.as_raw().to_string(), format!("({name}"));
    wait_for(&format!("a child {name})"), || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let mut stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        let stat = stats.find(|stat| {
            let (start, rest) = stat.rsplit_once(") ").unwrap_or_default();
            start.ends_with(&name) && rest.split(' ').nth(1) == Some(&parent)
        })?;
        stat.split(' ').next()?.parse().ok().map(Pid::from_raw)
    })
}

pub(crate) fn now() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("a clock");
    now.tv_sec() * 1_000_000_000 + now.tv_nsec()
}
