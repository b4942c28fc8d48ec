//! A leader stops whose successor has just joined, on a store that others write to all the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etcd_leader::machine::Op;

use super::bench::Bench;
use super::{elected, show, start, turn};
use support::Cluster;

const ROUNDS: usize = 40;
const WRITES_PER_S: u32 = 5_000;
/// So long before the leader stops, the successor has learned who leads.
const BEFORE: Duration = Duration::from_millis(2);

/// Writes keys of others until it is told to end, as many each ten milliseconds.
fn write(cluster: &Cluster, ends: &AtomicBool, written: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (mut bench, link) = Bench::linked(cluster).await;
        bench.granted(link, 1).await;
        let mut every = tokio::time::interval(Duration::from_millis(10));
        while !ends.load(Ordering::Relaxed) {
            every.tick().await;
            let mut asked = Vec::new();
            for _ in 0..WRITES_PER_S / 100 {
                let prefix = format!("/others/{}/", written.fetch_add(1, Ordering::Relaxed)).into_bytes();
                let own = [&prefix[..], b"1"].concat();
                asked.push(bench.send(link, Op::Join { prefix, own, name: b"one".to_vec(), lease: 1 }));
            }
            for id in asked {
                bench.reply(id).await.expect("a write");
            }
        }
    });
}

#[test]
#[ignore = "prints figures and takes ten seconds: make figures"]
fn a_successor_that_has_just_joined() {
    let cluster = Cluster::single();
    let (ends, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| write(&cluster, &ends, &written));
        let (begun, mut times) = (Instant::now(), Vec::new());
        let mut leader = start(&cluster, "/fresh", "first");
        elected(&leader);
        for round in 0..ROUNDS {
            let name = format!("next {round}");
            let (next, took) = turn(&cluster, &leader, ("/fresh", &name), BEFORE);
            times.push(took);
            leader = next;
            thread::sleep(Duration::from_millis(100));
        }
        ends.store(true, Ordering::Relaxed);
        let late = times.iter().filter(|time| **time > Duration::from_millis(3)).count();
        let rate = written.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        show("stop -> a successor that joined 2 ms before", times);
        println!("{:<44} {rate:.0} writes of others in a second; {late} of {ROUNDS} took more than 3 ms", "");
    });
}
