//! A candidate: one of the programs in `candidates`, in a process and a namespace of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etcd_leader::Api;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::names::Hosts;
use super::reports::parse;
use super::stage::KEY;
use super::timeline::{Records, Timeline};
use support::netns::{Network, Place};

/// What it is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Binding {
    C,
    Node,
    Python,
}

impl Binding {
    pub(crate) const ALL: [Binding; 3] = [Binding::C, Binding::Node, Binding::Python];
}

/// By what it says that it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// The library.
    Honest,
    /// A control: events alone, without the deadline.
    Naive,
    /// A control: it always says so.
    Shameless,
}

/// What a candidate is started with.
pub(crate) struct Spec {
    pub(crate) binding: Binding,
    pub(crate) judge: Judge,
    pub(crate) api: Api,
    pub(crate) endpoints: Vec<String>,
    pub(crate) name: String,
    pub(crate) ttl_s: u32,
    pub(crate) place: Place,
    pub(crate) register: PathBuf,
    /// Where its standard error goes: nothing may be in it.
    pub(crate) errors: PathBuf,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The names that it knows, if it has names of its own.
    pub(crate) hosts: Option<Hosts>,
}

pub(crate) struct Candidate {
    pub(crate) spec: Spec,
    child: Child,
    ended: Option<ExitStatus>,
    reader: Option<JoinHandle<()>>,
    who: usize,
    timeline: Arc<Timeline>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holdings {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) memory_kib: u64,
}

impl Candidate {
    pub(crate) fn start(spec: Spec, who: usize, network: &Network, timeline: &Arc<Timeline>) -> Candidate {
        let mut words: Vec<String> = spec.hosts.iter().flat_map(Hosts::wrapper).collect();
        words.extend(program(spec.binding).iter().map(|word| word.display().to_string()));
        let judge = match spec.judge {
            Judge::Honest => "honest",
            Judge::Naive => "naive",
            Judge::Shameless => "shameless",
        };
        let api = if spec.api == Api::V2 { "v2" } else { "v3" };
        words.extend([judge, &spec.register.display().to_string(), api, &spec.endpoints.join(",")].map(String::from));
        words.extend([KEY, &spec.name, &spec.ttl_s.to_string()].map(String::from));
        let errors = File::options().append(true).create(true).open(&spec.errors).expect("a file");
        let mut child = network.spawn(spec.place, Path::new(&words[0]), |command| {
            command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
            command.env("NODE_PATH", outputs().join("faults/node_modules"));
            command.env("PYTHONPATH", root().join("examples/python")).env("PYTHONDONTWRITEBYTECODE", "1");
            command.env("ETCD_LEADER_LIBRARY", library());
            command.envs(spec.environment.iter().map(|(name, value)| (name, value)));
        });
        let said = BufReader::new(child.stdout.take().expect("its output"));
        let heard = timeline.clone();
        let reader = thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                heard.report(parse(who, &line).unwrap_or_else(|| panic!("c{who} says {line:?}")));
            }
            heard.is_dead(who);
        });
        Candidate { spec, child, ended: None, reader: Some(reader), who, timeline: timeline.clone() }
    }

    /// For people.
    pub(crate) fn title(&self) -> String {
        match self.spec.judge {
            Judge::Honest => format!("{} {:?}", self.spec.name, self.spec.binding),
            control => format!("{} {control:?}", self.spec.name),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    /// Kills it (-9), and takes what it has said before that.
    pub(crate) fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Waits until it has ended by itself: in time, with status 0, and with nothing in its standard error.
    pub(crate) fn ends_well(&mut self, patience: Duration) -> Result<(), String> {
        let has_ended = |records: &Records| records.standings.get(&self.who)?.is_dead.then_some(());
        if let Err(why) = self.timeline.wait("its end", patience, has_ended) {
            self.kill();
            return Err(format!("{}: {why}", self.spec.name));
        }
        let status = self.child.wait().expect("its end");
        self.ended = Some(status);
        self.kill();
        let errors = fs::read_to_string(&self.spec.errors).unwrap_or_default();
        match (status.success(), errors.is_empty()) {
            (true, true) => Ok(()),
            _ => Err(format!("{} ended with {status} and said {errors:?}", self.spec.name)),
        }
    }

    pub(crate) fn holdings(&self) -> Holdings {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let count = |what: &str| fs::read_dir(process.join(what)).map_or(0, Iterator::count);
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let memory =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        Holdings { descriptors: count("fd"), threads: count("task"), memory_kib: memory.unwrap_or(0) }
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The target directory.
pub(crate) fn outputs() -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    test.ancestors().nth(3).expect("<target>/<profile>/deps/test").to_owned()
}

/// What users install, as `make lib` and `make node` build it.
fn library() -> PathBuf {
    outputs().join("release/libetcd_leader.so")
}

/// The words that start a candidate; what can be made for it is made once.
fn program(binding: Binding) -> &'static [PathBuf] {
    static PROGRAMS: OnceLock<[Vec<PathBuf>; 3]> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        let sources = root().join("core/tests/faults/candidates");
        let made = outputs().join("faults");
        let addon = fs::read_dir(root().join("node")).expect("the folder node").flatten();
        let has_addon = addon.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "node"));
        assert!(library().is_file() && has_addon, "the candidates need `make lib node`");
        fs::create_dir_all(made.join("node_modules")).expect("a folder");
        // By rename: another run may be using them.
        let new = made.join(format!("new-{}", std::process::id()));
        std::os::unix::fs::symlink(root().join("node").canonicalize().expect("it is there"), &new).expect("a link");
        fs::rename(&new, made.join("node_modules/etcd-leader")).expect("renamed");
        let in_c = made.join("candidate");
        let mut compiler = Command::new("gcc");
        compiler.args(["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I"]);
        compiler.arg(root().join("include")).arg(sources.join("candidate.c")).arg("-o").arg(&new);
        compiler.arg(library()).arg(format!("-Wl,-rpath,{}", outputs().join("release").display()));
        assert!(compiler.status().expect("gcc").success(), "candidate.c cannot be compiled");
        fs::rename(&new, &in_c).expect("renamed");
        let with = |interpreter: &str, source: &str| vec![interpreter.into(), sources.join(source)];
        [vec![in_c], with("node", "candidate.js"), with("python3", "candidate.py")]
    });
    &programs[binding as usize]
}
