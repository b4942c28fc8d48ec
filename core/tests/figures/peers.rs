//! `make bench`: our candidates beside those of other libraries, each on an etcd of its own, in turns. Each time is shown beside a floor
//! of the same etcd in the same minute: one raft commit, or a delete and the watch event that tells of it.

use std::env;
use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use etcd_leader::Api;

use super::chart::{self, Bar};
use super::counts::Counts;
use super::crowd::{Crowd, Kind, REST, SETTLED, Times};
use super::one_key::etcd_ms;
use super::{floors, percentile, percentiles};
use support::{Cluster, Proxy, etcd_version, has_v2};

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
/// A whole run adds changes in one turn each: those of two candidates elsewhere, and those of a crowd.
const ONCE: Extent = Extent { turns: 1, rounds: 6, ..WHOLE };
const ELSEWHERE: [(Place, &str); 3] = [
    (Place::Far(Duration::from_millis(10)), "2 candidates, a round trip of 10 ms"),
    (Place::Far(Duration::from_millis(100)), "2 candidates, a round trip of 100 ms"),
    (Place::OneOfThree, "2 candidates, one of three servers"),
];
const CROWD: usize = 1_000;
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

/// The place of a candidate's etcd.
#[derive(Clone, Copy)]
enum Place {
    /// One server on this machine.
    Here,
    /// One of three servers on this machine.
    OneOfThree,
    /// One server, so long a round trip away.
    Far(Duration),
}

/// The pause after each step of a change, in which those who join again and those who follow are heard.
fn rest(place: Place, count: usize) -> Duration {
    match place {
        Place::Far(trip) => REST + 6 * trip,
        Place::Here | Place::OneOfThree if count >= CROWD => Duration::from_secs(2),
        Place::Here | Place::OneOfThree => REST,
    }
}

struct Server {
    cluster: Cluster,
    link: Option<Proxy>,
}

impl Server {
    fn of(kind: Kind, place: Place) -> Server {
        let count = if matches!(place, Place::OneOfThree) { 3 } else { 1 };
        let cluster = Cluster::of(count, if kind.needs_v2() { &["--enable-v2=true"] } else { &[] });
        let link = if let Place::Far(trip) = place {
            let link = Proxy::before(cluster.client_address(0));
            link.delay(trip / 2);
            Some(link)
        } else {
            None
        };
        Server { cluster, link }
    }

    fn url(&self) -> String {
        self.link.as_ref().map_or_else(|| self.cluster.urls()[0].clone(), Proxy::url)
    }

    fn floors(&self, extent: &Extent) -> (Vec<Duration>, Vec<Duration>) {
        floors(&[self.url()], extent.rounds, REST)
    }
}

/// The first election of a process, once its library is loaded: from its start to its lead.
fn new_process(kind: Kind, extent: &Extent, measured: &mut Measured) {
    let server = Server::of(kind, Place::Here);
    measured.floors.extend(server.floors(extent).0);
    for round in 0..extent.rounds {
        let mut one = Crowd::start(&server.url(), &format!("/new/{round}"), kind, 1);
        let mut time = |word| one.wait(word).1[0].parse::<u64>().expect("a time");
        let (begun, elected) = (time("begun"), time("elected"));
        measured.times.push(Duration::from_nanos(elected - begun));
    }
}

/// One more election in a process that has one, and a session with etcd if the library shares it.
fn start(kind: Kind, extent: &Extent, measured: &mut Measured) {
    let server = Server::of(kind, Place::Here);
    measured.floors.extend(server.floors(extent).0);
    let mut crowd = Crowd::start(&server.url(), "/crowd", kind, 1);
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
fn change(kind: Kind, place: Place, count: usize, extent: &Extent, measured: &mut Measured) {
    let server = Server::of(kind, place);
    measured.floors.extend(server.floors(extent).1);
    let mut crowd = Crowd::start(&server.url(), "/crowd", kind, count);
    let cluster = &server.cluster;
    std::thread::sleep(if extent.is_whole { SETTLED } else { REST });
    let (before, busy) = (Counts::of(cluster), etcd_ms(cluster));
    let mut times = Times::default();
    (0..extent.rounds).for_each(|_| crowd.change(count, rest(place, count), &mut times));
    let rounds = extent.rounds as f64;
    let each = Counts::of(cluster).since(&before, rounds);
    let busy = (etcd_ms(cluster) - busy) as f64 / rounds;
    let cost = [each.requests, each.commits, each.loopback_kib, busy];
    for (sum, one) in measured.cost.iter_mut().zip(cost) {
        *sum += one / extent.turns as f64;
    }
    measured.times.extend(times.next);
    measured.told.extend(times.told);
    measured.untold += times.untold;
}

type Measure<'a> = dyn Fn(Kind, &Extent, &mut Measured) + 'a;

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
        if times.is_empty() {
            println!("{what}: {} did not get through", kind.name());
            let _ = writeln!(
                report,
                "| {}{failed} {}",
                kind.name(),
                "| – ".repeat(if count.is_some() { 10 } else { 5 }) + "|"
            );
            continue;
        }
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
        println!("{:<44} {}", format!("{what}: {}{failed}", kind.name()), percentiles(times.clone()));
        bars.push(Bar { group: what.into(), name: kind.name(), value: middle, is_ours: kind.is_ours() });
    }
}

#[test]
#[ignore = "takes half an hour: make bench"]
fn bench() {
    let extent = if env::var_os("QUICK").is_some() { &QUICK } else { &WHOLE };
    let mut report = String::new();
    let _ = writeln!(
        report,
        "# Beside other libraries\n\nWritten by `make bench`, on etcd {} with {} processors. Times are in milliseconds.\n\n\
         - Each library has an etcd of its own. They are measured in turns: {} turns each, and one where the servers are elsewhere or the candidates are {CROWD}.\n\
         - The floor is what etcd alone takes in the same minute, over the same way: one raft commit, or from a delete to its watch event.\n\
         - The candidates of a crowd are in four processes. The changes begin three seconds after the last of them has joined.\n\
         - Requests are those of gRPC, at the server that the candidates use. KiB are those of the loopback device, with all headers.\n\
         - Never told: not within 0.3 s, or within 2 s among {CROWD}.\n\
         - Round trips are made by a proxy on this machine.\n\
         - The crate etcd-client campaigns through etcd's Election service: one of its requests does what others do in two. Its crowd of a hundred \
         stands still after the first change, for a reason that we did not find.\n\
         - Among a hundred the circuit breaker of etcd3 opens at the first change, and its process ends.\n\
         - etcdctl is a process for each candidate, and its starts include that of the process.\n\n\
         Medians, on a logarithmic scale:\n\n\
         ![stop to the next elected](bench.svg)\n\n![starts](bench-starts.svg)\n\n![elsewhere](bench-elsewhere.svg)",
        etcd_version(),
        std::thread::available_parallelism().map_or(0, usize::from),
        extent.turns,
    );
    let mut about = |chart: &mut Vec<Bar>, what: &str, count, extent: &Extent, measure: &Measure| {
        situation(&mut report, chart, (what, count), extent, |kind, measured| measure(kind, extent, measured));
    };
    let changes = |place, count| {
        move |kind, extent: &Extent, measured: &mut Measured| change(kind, place, count, extent, measured)
    };
    let [mut starts, mut here, mut elsewhere] = [const { Vec::new() }; 3];
    about(&mut starts, "the first election of a process: start to elected", None, extent, &new_process);
    about(&mut starts, "one more election: start to elected", None, extent, &start);
    for count in extent.sizes {
        let what = format!("{count} candidates: stop to the next elected");
        about(&mut here, &what, Some(*count), extent, &changes(Place::Here, *count));
    }
    if extent.is_whole {
        let what = format!("{CROWD} candidates: stop to the next elected");
        about(&mut here, &what, Some(CROWD), &ONCE, &changes(Place::Here, CROWD));
        for (place, what) in ELSEWHERE {
            let what = format!("{what}: stop to the next elected");
            about(&mut elsewhere, &what, Some(2), &ONCE, &changes(place, 2));
        }
    }
    let charts = [("bench", here), ("bench-starts", starts), ("bench-elsewhere", elsewhere)];
    if let Some(folder) = env::var_os("BENCH_REPORT") {
        let folder = Path::new(&folder);
        fs::write(folder.join("bench.md"), report).expect("a report");
        for (name, bars) in charts {
            fs::write(folder.join(name).with_extension("svg"), chart::svg(&bars)).expect("a chart");
        }
    }
}
