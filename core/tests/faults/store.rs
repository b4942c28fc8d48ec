//! What else is in etcd: other people's writes, compaction, and too little space.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etcd_leader::Api;

use super::stage::Stage;
use support::{gateway, v2};

/// More than etcd's API v2 remembers.
const MANY: u32 = 1_100;

fn write(api: Api, address: SocketAddr, number: u32) -> std::io::Result<()> {
    match api {
        Api::V2 => v2::ask(address, "PUT", &format!("/elsewhere/{}", number % 100), "value=x").map(drop),
        _ => gateway::put(address, number),
    }
}

/// While the second in line is cut off, so that it finds its watch behind.
pub(crate) fn many_writes(stage: &mut Stage) {
    stage.cut_off(1);
    let address = stage.cluster.client_address(0);
    for number in 0..MANY {
        write(stage.api, address, number).expect("written");
    }
    stage.mark(format!("{MANY} writes"));
    stage.mend();
    stage.healed();
}

pub(crate) fn sustained_writes(stage: &mut Stage) {
    let (api, address) = (stage.api, stage.cluster.client_address(0));
    stage.mark("writes without end");
    let until = Instant::now() + 2 * stage.ttl;
    let written: u32 = thread::scope(|scope| {
        let writer = |start: u32| {
            move || {
                (start..)
                    .take_while(|_| Instant::now() < until)
                    .filter(|number| write(api, address, *number).is_ok())
                    .count()
            }
        };
        let writers = [0, 5_000].map(|start| scope.spawn(writer(start)));
        writers.map(|writer| u32::try_from(writer.join().expect("no panic")).expect("not so many")).iter().sum()
    });
    assert!(written > 100, "only {written} writes");
    stage.mark(format!("{written} writes"));
    stage.healed();
}

pub(crate) fn compacted_while_cut_off(stage: &mut Stage) {
    stage.cut_off(1);
    stage.cut_off(2);
    let address = stage.cluster.client_address(0);
    for number in 0..20 {
        write(stage.api, address, number).expect("written");
    }
    let revision = stage.cluster.revision().to_string();
    stage.cluster.etcdctl(&["compact", &revision]);
    stage.mark(format!("compacted at {revision}"));
    stage.last(0.5);
    stage.mend();
    stage.healed();
}

/// The leader dies while etcd takes no more keys.
pub(crate) fn out_of_space(stage: &mut Stage) {
    let value = "x".repeat(100_000);
    let is_full = || !stage.cluster.try_etcdctl(&["put", "/elsewhere/big", &value]).status.success();
    assert!((0..200).any(|_| is_full()), "etcd has space for ever");
    assert!(stage.cluster.etcdctl(&["alarm", "list"]).contains("NOSPACE"));
    stage.mark("etcd is out of space");
    stage.kill(0);
    stage.last(1.5);
    let revision = stage.cluster.revision().to_string();
    stage.cluster.etcdctl(&["compact", &revision]);
    stage.cluster.etcdctl(&["defrag"]);
    stage.cluster.etcdctl(&["alarm", "disarm"]);
    stage.mark("etcd has space again");
    stage.healed();
}

/// It runs for a sixth of the time, and then many want something of it.
pub(crate) fn etcd_overloaded(stage: &mut Stage) {
    let (api, address) = (stage.api, stage.cluster.client_address(0));
    stage.mark("etcd has too much to do");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for start in 0..8 {
            let is_over = &is_over;
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let _ = write(api, address, start * 1_000 + number % 1_000);
                }
            });
        }
        let until = Instant::now() + 2 * stage.ttl;
        while Instant::now() < until {
            stage.cluster.member(0).freeze();
            thread::sleep(Duration::from_millis(250));
            stage.cluster.member(0).thaw();
            thread::sleep(Duration::from_millis(50));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    stage.healed();
}
