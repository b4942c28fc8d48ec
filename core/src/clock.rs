//! The only file that reads a clock by which leading begins or ends.
//!
//! Our clock goes on while the machine sleeps (`CLOCK_BOOTTIME` on Linux; macOS counts sleep in `CLOCK_MONOTONIC`) and
//! never follows the wall clock: a step of the wall clock would end the leadership of a whole fleet at once. The wall
//! clock is only watched for jumps ahead of ours: a virtual machine that was paused may see nothing else (law 1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// The time now.
#[cfg(unix)]
pub fn now() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: nix::time::ClockId = nix::time::ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: nix::time::ClockId = nix::time::ClockId::CLOCK_MONOTONIC;
    // Neither clock can fail on a system that has it; the end of time would make nobody lead.
    nix::time::clock_gettime(CLOCK).map_or(Time::NEVER, |now| Time::ZERO + Duration::from(now))
}

/// The time now.
#[cfg(not(unix))]
pub fn now() -> Time {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    // On Windows `Instant` goes on while the machine sleeps.
    Time::ZERO + ORIGIN.get_or_init(Instant::now).elapsed()
}

/// How far the wall clock is ahead of ours, in nanoseconds. Changes by more than a slew only when it is set, or when
/// ours stood still. `now` is our clock, read just before.
pub fn wall_offset(now: Time) -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours = now.since(Time::ZERO);
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    nanos(wall).saturating_sub(nanos(ours))
}

/// Milliseconds since 1970 at the origin of our clock.
pub fn epoch_ms() -> u64 {
    u64::try_from(wall_offset(now()) / 1_000_000).unwrap_or(0)
}

/// How often the wall clock is looked at where nobody tells that it was set.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Tells when the wall clock is set, or the machine wakes from sleep.
pub struct JumpWatch {
    /// `None` where the system does not tell: then the time to look is all there is.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    timer: Option<JumpTimer>,
    look: tokio::time::Interval,
}

impl JumpWatch {
    /// Starts to watch. Needs a tokio runtime. Some systems that look like Linux (gVisor, WSL 1) have no timer that a set
    /// clock cancels: there the caller is woken twice a second.
    pub fn start() -> JumpWatch {
        JumpWatch {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            timer: JumpTimer::new().ok(),
            look: tokio::time::interval(LOOK_EVERY),
        }
    }

    /// Returns when the wall clock was set, or may have been.
    pub async fn jumped(&mut self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(timer) = &mut self.timer {
            return timer.cancelled().await;
        }
        self.look.tick().await;
    }
}

/// A timer that the kernel cancels when the wall clock is set.
#[cfg(any(target_os = "linux", target_os = "android"))]
struct JumpTimer {
    timer: nix::sys::timerfd::TimerFd,
    /// The same timer, as something that the runtime can wait for: it is read like a pipe.
    news: tokio::net::unix::pipe::Receiver,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl JumpTimer {
    fn new() -> std::io::Result<JumpTimer> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        use std::os::fd::AsFd;
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        arm(&timer)?;
        let same = timer.as_fd().try_clone_to_owned()?;
        Ok(JumpTimer { timer, news: tokio::net::unix::pipe::Receiver::from_owned_fd_unchecked(same)? })
    }

    async fn cancelled(&mut self) {
        loop {
            if self.news.readable().await.is_err() {
                return std::future::pending().await;
            }
            match self.news.try_read(&mut [0_u8; 8]) {
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ECANCELED as i32) => {
                    // A timer that was cancelled stays so until it is set again.
                    let _ = arm(&self.timer);
                    return;
                }
                _ => {}
            }
        }
    }
}

/// Sets the timer to a moment that never comes; the kernel cancels it when the wall clock is set.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn arm(timer: &nix::sys::timerfd::TimerFd) -> nix::Result<()> {
    use nix::sys::timer::TimerSetTimeFlags;
    use nix::sys::{time::TimeSpec, time::TimeValLike, timerfd::Expiration};
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    timer.set(Expiration::OneShot(TimeSpec::seconds(i64::from(i32::MAX) * 4)), flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_backwards() {
        let mut last = now();
        for _ in 0..100_000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }

    /// As on a system without that timer.
    #[test]
    fn where_nobody_tells_it_is_looked_at_in_time() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            let mut jumps = JumpWatch::start();
            #[cfg(any(target_os = "linux", target_os = "android"))]
            {
                jumps.timer = None;
            }
            let looked_twice = async {
                jumps.jumped().await;
                jumps.jumped().await;
            };
            tokio::time::timeout(20 * LOOK_EVERY, looked_twice).await.expect("two looks");
        });
    }

    #[test]
    fn the_wall_clock_is_where_it_should_be() {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let ours = Duration::from_millis(epoch_ms()) + now().since(Time::ZERO);
        assert!(wall.abs_diff(ours) < Duration::from_secs(1), "{wall:?} {ours:?}");
    }
}
