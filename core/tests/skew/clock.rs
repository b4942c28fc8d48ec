//! Moves the wall clock of one running process, and nothing else.
//!
//! libfaketime cannot do it to etcd: Go calls no function of libc to read a clock, so the preloaded library is there and
//! moves nothing (tried: etcd 3.4.23 of Debian with libfaketime 0.9.10; the `Date` it sends stays right). A time
//! namespace has no CLOCK_REALTIME of its own, `date` sets the whole machine's, and neither ptrace nor seccomp sees a
//! clock being read, since that happens without entering the kernel: in the vDSO, a page of code that the kernel maps
//! into every process. That page becomes the process's own once it is written to. So its `clock_gettime` is replaced by
//! one that does enter the kernel, and adds so many seconds if CLOCK_REALTIME was asked for.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::wait_for;

/// `clock_gettime` for x86-64, as the bytes of:
///
/// ```text
///     mov  eax, 228           ; clock_gettime
///     syscall
///     test edi, edi           ; CLOCK_REALTIME is 0
///     jne  done
///     mov  rcx, [rip + 6]     ; the eight bytes after this: so many seconds
///     add  [rsi], rcx
/// done:
///     ret
/// ```
const CLOCK_GETTIME: [u8; 24] = [
    0xb8, 0xe4, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x85, 0xff, 0x75, 0x0a, 0x48, 0x8b, 0x0d, 0x06, 0x00, 0x00, 0x00, 0x48,
    0x01, 0x0e, 0xc3, 0x90, 0x90,
];
const PATCH_BYTES: usize = CLOCK_GETTIME.len() + 8;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the code above is for x86-64: write it for this processor too");

/// Sets a process's wall clock so many seconds ahead of the machine's, or behind it.
pub(crate) fn shift(process: u32, seconds: i64) {
    let memory = File::options().read(true).write(true).open(format!("/proc/{process}/mem")).expect("its memory");
    let function = function(process, &memory).expect("a vDSO with clock_gettime");
    let patch = [&CLOCK_GETTIME[..], &seconds.to_le_bytes()].concat();
    let pid = Pid::from_raw(process.cast_signed());
    wait_for("a moment in which it reads no clock", || {
        kill(pid, Signal::SIGSTOP).expect("it runs");
        wait_for("it to stand still", || counters(process));
        let is_inside = counters(process)?.iter().any(|at| function.contains(at));
        let written = (!is_inside).then(|| memory.write_all_at(&patch, function.start));
        kill(pid, Signal::SIGCONT).expect("it runs");
        written
    })
    .expect("root may write into another's memory, unless the kernel was told otherwise (proc_mem.force_override)");
}

/// Where each of its threads stands; `None` if one of them runs.
fn counters(process: u32) -> Option<Vec<u64>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    tasks
        .map(|task| {
            let task = task.ok()?.path();
            let stat = fs::read_to_string(task.join("stat")).ok()?;
            let is_still = stat.rsplit(')').next()?.trim_start().starts_with('T');
            let place = fs::read_to_string(task.join("syscall")).ok().filter(|_| is_still)?;
            u64::from_str_radix(place.split_whitespace().next_back()?.trim_start_matches("0x"), 16).ok()
        })
        .collect()
}

/// Where the first bytes of its `clock_gettime` are.
fn function(process: u32, memory: &File) -> io::Result<Range<u64>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).ok_or(io::ErrorKind::NotFound)?;
    let (from, to) =
        line.split(' ').next().and_then(|range| range.split_once('-')).ok_or(io::ErrorKind::InvalidData)?;
    let number = |hex| u64::from_str_radix(hex, 16).map_err(io::Error::other);
    let (from, to) = (number(from)?, number(to)?);
    let mut image = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    memory.read_exact_at(&mut image, from)?;
    let offset = Elf(&image).function(b"__vdso_clock_gettime\0").ok_or(io::ErrorKind::NotFound)?;
    Ok(from + offset..from + offset + PATCH_BYTES as u64)
}

/// The image of a shared library in memory, with what little is needed of ELF64.
struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    fn number<const BYTES: usize>(&self, at: u64) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let mut bytes = [0; 8];
        bytes[..BYTES].copy_from_slice(self.0.get(at..at + BYTES)?);
        Some(u64::from_le_bytes(bytes))
    }

    /// Where this function begins, if it is long enough to be written over.
    fn function(&self, name: &[u8]) -> Option<u64> {
        let (headers, count) = (self.number::<8>(32)?, self.number::<2>(56)?);
        let dynamic = (0..count).map(|at| headers + 56 * at).find(|at| self.number::<4>(*at) == Some(2))?;
        let table = self.number::<8>(dynamic + 8)?;
        let entry = |tag| {
            let at = (0..)
                .map(|at| table + 16 * at)
                .find(|at| matches!(self.number::<8>(*at), Some(0) | None) || self.number::<8>(*at) == Some(tag))?;
            self.number::<8>(at + 8)
        };
        let (names, symbols) = (entry(5)?, entry(6)?);
        // The names follow the symbols.
        let symbol = (symbols..names).step_by(24).find(|at| {
            let text = self.number::<4>(*at).and_then(|text| usize::try_from(names + text).ok());
            text.and_then(|text| self.0.get(text..)).is_some_and(|text| text.starts_with(name))
        })?;
        let is_long_enough = self.number::<8>(symbol + 16)? >= PATCH_BYTES as u64;
        self.number::<8>(symbol + 8).filter(|_| is_long_enough)
    }
}
