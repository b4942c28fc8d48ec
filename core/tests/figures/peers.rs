//! `make bench`: our candidates beside those of other libraries, each on an etcd of its own, in turns. Each time is shown beside a floor
//! of the same etcd in the same minute: one raft commit, or a delete and the watch event that tells of it.

use std::env;
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use etcd_leader::Api;

use super::chart::{self, Bar};
use super::counts::Counts;
use super::crowd::{Crowd, Kind, REST, SETTLED, Times};
use super::one_key::etcd_ms;
use super::support::children::Children;
use super::support::spawn::spawn;
use super::support::{Cluster, etcd_version, has_v2};
use super::{floors, percentile, percentiles};

const KINDS: [Kind; 10] = [
    Kind::Rust(Api::V3),
    Kind::C,
    Kind::Node,
    Kind::Python,
    Kind::Go,
    Kind::Service,
    Kind::Etcdctl,
    Kind::Etcd3,
    Kind::Rust(Api::V2),
    Kind::Original,
];

/// The size of a run.
struct Extent {
    is_whole: bool,
    sizes: &'static [usize],
    /// Each kind has so many turns, and in each of them so many rounds.
    turns: usize,
    rounds: usize,
}

const WHOLE: Extent = Extent { is_whole: true, sizes: &[2, 10, 100], turns: 2, rounds: 10 };
/// `QUICK=1` shows that the bench works; its figures say nothing.
const QUICK: Extent = Extent { is_whole: false, sizes: &[2], turns: 1, rounds: 1 };

/// The figures of one kind in one situation.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    told: Vec<Duration>,
    floors: Vec<Duration>,
    /// Of one round each: requests, raft's entries, KiB of loopback, ms of etcd's processor.
    cost: [f64; 4],
    untold: usize,
    /// Turns in which a library of others did not get through: a process ended, or said nothing for a minute.
    failed: usize,
}

fn server(kind: Kind) -> Cluster {
    Cluster::of(1, if kind.needs_v2() { &["--enable-v2=true"] } else { &[] })
}

/// The first election of a process, once its library is loaded: from its start to its lead.
fn new_process(kind: Kind, extent: &Extent, measured: &mut Measured) {
    let cluster = server(kind);
    measured.floors.extend(floors(&cluster, extent.rounds, REST).0);
    for round in 0..extent.rounds {
        let mut command = kind.command(&cluster, &format!("/new/{round}"), 0, 1);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut children = Children(vec![spawn(command).unwrap_or_else(|error| panic!("{kind:?}: {error}"))]);
        let output = children.0[0].stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut time = |word: &str| {
            let said = lines.find_map(|line| line.split_once(word)?.1.split(' ').next()?.parse::<u64>().ok());
            said.unwrap_or_else(|| panic!("{kind:?} has not said {word:?}"))
        };
        let (begun, elected) = (time("@ begun "), time("@ elected "));
        measured.times.push(Duration::from_nanos(elected - begun));
    }
}

/// One more election in a process that has one, and a session with etcd if the library shares it.
fn start(kind: Kind, extent: &Extent, measured: &mut Measured) {
    let cluster = server(kind);
    measured.floors.extend(floors(&cluster, extent.rounds, REST).0);
    let mut crowd = Crowd::start(&cluster, kind, 1);
    // The first brings what the others find.
    for round in 0..=extent.rounds {
        crowd.tell(0, &format!("start /start/{round}"));
        let took: u64 = crowd.wait("started").1[0].parse().expect("a number");
        std::thread::sleep(REST);
        if round > 0 {
            measured.times.push(Duration::from_nanos(took));
        }
    }
}

/// The leader of so many stops.
fn change(kind: Kind, count: usize, extent: &Extent, measured: &mut Measured) {
    let cluster = server(kind);
    measured.floors.extend(floors(&cluster, extent.rounds, REST).1);
    let mut crowd = Crowd::start(&cluster, kind, count);
    std::thread::sleep(if extent.is_whole { SETTLED } else { REST });
    let (before, busy) = (Counts::of(&cluster), etcd_ms(&cluster));
    let mut times = Times::default();
    (0..extent.rounds).for_each(|_| crowd.change(count, &mut times));
    let rounds = extent.rounds as f64;
    let each = Counts::of(&cluster).since(&before, rounds);
    let busy = (etcd_ms(&cluster) - busy) as f64 / rounds;
    let cost = [each.requests, each.commits, each.loopback_kib, busy];
    for (sum, one) in measured.cost.iter_mut().zip(cost) {
        *sum += one / extent.turns as f64;
    }
    measured.times.extend(times.next);
    measured.told.extend(times.told);
    measured.untold += times.untold;
}

/// All kinds in one situation, in turns.
fn situation(
    report: &mut String,
    bars: &mut Vec<Bar>,
    (what, count): (&str, Option<usize>),
    extent: &Extent,
    measure: impl Fn(Kind, &mut Measured),
) {
    let has_v2 = has_v2();
    let is_able = |kind: &Kind| {
        (has_v2 || !kind.needs_v2())
            && (extent.is_whole || !kind.is_for_whole_runs())
            && count.is_none_or(|count| count <= kind.most())
    };
    let kinds: Vec<Kind> = KINDS.into_iter().filter(is_able).collect();
    let mut all: Vec<Measured> = kinds.iter().map(|_| Measured::default()).collect();
    for _ in 0..extent.turns {
        for (kind, measured) in kinds.iter().zip(&mut all) {
            if kind.is_ours() {
                measure(*kind, measured);
            } else if catch_unwind(AssertUnwindSafe(|| measure(*kind, measured))).is_err() {
                measured.failed += 1;
            }
        }
    }
    let more = if count.is_some() { " 95 % know | requests | raft entries | KiB | etcd, ms |" } else { "" };
    let _ = writeln!(report, "\n## {what}\n\n| | median | 90 % | most | n | x floor |{more}");
    let _ = writeln!(report, "|---|---|---|---|---|---|{}", if count.is_some() { "---|---|---|---|---|" } else { "" });
    for (kind, measured) in kinds.iter().zip(&all) {
        let (times, floor) = (&measured.times, percentile(&measured.floors, 50));
        let middle = percentile(times, 50);
        let ratio = middle / floor;
        let failed = match measured.failed {
            0 => String::new(),
            some => format!(" (did not get through in {some} of {} turns)", extent.turns),
        };
        let _ = write!(
            report,
            "| {}{failed} | {middle:.2} | {:.2} | {:.2} | {} | {ratio:.1} |",
            kind.name(),
            percentile(times, 90),
            percentile(times, 100),
            times.len(),
        );
        if count.is_some() {
            let [requests, commits, kib, busy] = measured.cost;
            let untold = if measured.untold > 0 { format!(" ({} never)", measured.untold) } else { String::new() };
            let told = percentile(&measured.told, 50);
            let _ = write!(report, " {told:.1}{untold} | {requests:.1} | {commits:.1} | {kib:.0} | {busy:.0} |");
        }
        let _ = writeln!(report);
        if times.is_empty() {
            println!("{what}: {} did not get through", kind.name());
            continue;
        }
        println!("{:<44} {}", format!("{what}: {}{failed}", kind.name()), percentiles(times.clone()));
        bars.push(Bar { group: what.into(), name: kind.name(), value: middle, is_ours: kind.is_ours() });
    }
}

#[test]
#[ignore = "takes a quarter of an hour: make bench"]
fn bench() {
    let extent = if env::var_os("QUICK").is_some() { &QUICK } else { &WHOLE };
    let (mut report, mut bars) = (String::new(), Vec::new());
    let _ = writeln!(
        report,
        "# Beside other libraries\n\nWritten by `make bench`, on etcd {} with {} processors. Times in milliseconds; each library on an etcd of its own, \
         in {} turns. The floor is what etcd alone takes in the same minute: one raft commit, or from a delete to its watch event. Requests \
         are those of gRPC; KiB are those of the loopback device, with all headers. The changes begin three seconds after the last candidate has joined. Three are \
         not asked to carry a hundred: the circuit breaker of etcd3 opens at the first change, and its process ends; the crowd of etcd-client stands \
         still after the first change, for a reason that we did not find; etcdctl is a process for each candidate, and its starts include that of the \
         process. The crate etcd-client campaigns through etcd's Election service, so that one of its requests does what others do in two. Never \
         told: not within 0.3 s.\n\n![medians](bench.svg)",
        etcd_version(),
        std::thread::available_parallelism().map_or(0, usize::from),
        extent.turns,
    );
    let plain = |what| (what, None);
    situation(
        &mut report,
        &mut bars,
        plain("the first election of a process: start to elected"),
        extent,
        |kind, measured| {
            new_process(kind, extent, measured);
        },
    );
    situation(&mut report, &mut bars, plain("one more election: start to elected"), extent, |kind, measured| {
        start(kind, extent, measured);
    });
    for count in extent.sizes {
        let what = format!("{count} candidates: stop to the next elected");
        situation(&mut report, &mut bars, (&what, Some(*count)), extent, |kind, measured| {
            change(kind, *count, extent, measured)
        });
    }
    let chart = chart::svg(&bars);
    if let Some(folder) = env::var_os("BENCH_REPORT") {
        fs::write(Path::new(&folder).join("bench.md"), report).expect("a report");
        fs::write(Path::new(&folder).join("bench.svg"), chart).expect("a chart");
    }
}
