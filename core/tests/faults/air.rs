//! A link that takes its time and loses packets. The kernel's own (netem) is not in every kernel, so packets go through
//! two TUN devices and this process, which delays and drops them; and it shows that it does before it is believed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use support::netns::{Network, Place};

/// How bad it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// One way.
    pub(crate) delay: Duration,
    /// How many of a hundred packets are lost, each way.
    pub(crate) lost_percent: u32,
}

/// Between some places and some others. Gone, with what it delays, when dropped.
pub(crate) struct Air {
    routes: Vec<Vec<String>>,
    is_over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

nix::ioctl_write_int!(tunsetiff, b'T', 202);

impl Air {
    pub(crate) fn between(network: &Network, ones: &[Place], others: &[Place], weather: Weather) -> Air {
        let mut devices = BTreeMap::new();
        let mut routes = Vec::new();
        for (own, far) in [(ones, others), (others, ones)] {
            for place in own {
                let (device, name) = tun();
                let namespace = network.namespace_of(*place).expect("a place in a namespace of its own");
                run(&["ip", "link", "set", &name, "netns", &namespace]);
                run(&["ip", "-n", &namespace, "link", "set", &name, "up"]);
                let address = network.address(*place);
                for far in far {
                    let route = [&network.address(*far), "dev", &name, "src", &address].map(String::from);
                    let verb = |verb: &str| ["ip", "-n", &namespace, "route", verb].map(String::from).to_vec();
                    run(&[verb("add"), route.to_vec()].concat());
                    routes.push([verb("delete"), route.to_vec()].concat());
                }
                devices.insert(address, device);
            }
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let carrier = thread::spawn(move || carry(&devices, weather, &over));
        let air = Air { routes, is_over, carrier: Some(carrier) };
        air.prove(network, ones[0], others[0], weather);
        air
    }

    /// Datagrams there and back must take as long, and be lost as often, as they should.
    fn prove(&self, network: &Network, one: Place, other: Place, weather: Weather) {
        const SENT: u32 = 300;
        let ends =
            [one, other].map(|place| (network.namespace_of(place).expect("a namespace"), network.address(place)));
        let [(near, near_address), (far, far_address)] = ends;
        let echo = within(far, move || UdpSocket::bind((far_address, 0)).expect("a socket"));
        let target = echo.local_addr().expect("its address");
        let socket = within(near, move || UdpSocket::bind((near_address, 0)).expect("a socket"));
        let patience = Some(2 * weather.delay + Duration::from_secs(1));
        for one in [&echo, &socket] {
            one.set_read_timeout(patience).expect("a timeout");
        }
        let echo = thread::spawn(move || {
            let mut bytes = [0; 4];
            while let Ok((_, from)) = echo.recv_from(&mut bytes) {
                let _ = echo.send_to(&bytes, from);
            }
        });
        let begun = Instant::now();
        for number in 0..SENT {
            socket.send_to(&number.to_be_bytes(), target).expect("sent");
        }
        let sent = begun.elapsed();
        let (mut back, mut fastest) = (0, Duration::MAX);
        while socket.recv_from(&mut [0; 4]).is_ok() {
            back += 1;
            fastest = fastest.min(begun.elapsed());
        }
        echo.join().expect("the echo");
        let kept = 1.0 - f64::from(weather.lost_percent) / 100.0;
        let (expected, seen) = (kept * kept, f64::from(back) / f64::from(SENT));
        assert!(fastest >= 2 * weather.delay, "the first was back after {fastest:?}, sent within {sent:?}");
        // Six standard deviations of so many throws are less than this.
        assert!((seen - expected).abs() < 0.18, "{seen} of all came back, and {expected} should have");
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        for route in &self.routes {
            run(route);
        }
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

/// Runs something in a network namespace, on a thread of its own: sockets stay where they were made.
fn within<T: Send + 'static>(namespace: String, what: impl FnOnce() -> T + Send + 'static) -> T {
    let work = move || {
        let door = File::open(format!("/run/netns/{namespace}")).expect("the namespace");
        setns(door, CloneFlags::CLONE_NEWNET).expect("root may enter it");
        what()
    };
    thread::spawn(work).join().expect("no panic")
}

/// A new device, in this namespace to begin with.
fn tun() -> (File, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("elt{}x{}", std::process::id() % 100_000, COUNT.fetch_add(1, Ordering::SeqCst));
    let device = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
    let device = device.unwrap_or_else(|error| panic!("/dev/net/tun, which delays packets: {error}"));
    // struct ifreq: the name, then flags. Packets come without a header of the device's.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("they fit");
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: `request` is as large as the structure that the kernel reads and writes, and lives on.
    #[allow(unsafe_code)]
    let made = unsafe { tunsetiff(device.as_raw_fd(), request.as_mut_ptr() as libc::c_ulong) };
    made.unwrap_or_else(|error| panic!("a TUN device, which delays packets: {error}"));
    (device, name)
}

/// When it is due, its number, whom it is for, and the packet.
type Delayed = (Instant, u64, String, Vec<u8>);

/// Each packet goes to the device of the place that it is for.
fn carry(devices: &BTreeMap<String, File>, weather: Weather, is_over: &AtomicBool) {
    let mut waiting: BinaryHeap<Reverse<Delayed>> = BinaryHeap::new();
    let (mut count, mut dice) = (0, Dice(0x9e37_79b9_7f4a_7c15));
    let mut buffer = vec![0; 64 << 10];
    while !is_over.load(Ordering::SeqCst) {
        let until = waiting
            .peek()
            .map_or(Duration::from_millis(50), |Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let timeout = u16::try_from(until.as_millis().min(50)).unwrap_or(50);
        let mut ready: Vec<PollFd<'_>> =
            devices.values().map(|device| PollFd::new(device.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut ready, PollTimeout::from(timeout));
        for mut device in devices.values() {
            while let Ok(read) = device.read(&mut buffer) {
                if read < 20 || dice.percent() < weather.lost_percent {
                    continue;
                }
                let to = buffer[16..20].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
                count += 1;
                waiting.push(Reverse((Instant::now() + weather.delay, count, to, buffer[..read].to_vec())));
            }
        }
        while waiting.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
            let Some(Reverse((_, _, to, packet))) = waiting.pop() else { break };
            if let Some(mut device) = devices.get(&to) {
                let _ = device.write(&packet);
            }
        }
    }
}

/// The same throws in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn percent(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % 100).expect("below a hundred")
    }
}

fn run<S: AsRef<str>>(words: &[S]) {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("ip");
    assert!(output.status.success(), "{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
}
