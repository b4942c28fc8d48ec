//! A directory in memory, for what must not wait for a disk.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// In memory where that is to be had: beside a build, a write to the disk may take a second.
pub fn directory() -> TempDir {
    const START: &str = "etcd-leader-test-";
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    // Tests that were killed left theirs behind.
    for left in fs::read_dir(&parent).into_iter().flatten().flatten() {
        let name = left.file_name().to_string_lossy().into_owned();
        let owner =
            name.strip_prefix(START).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(left.path());
        }
    }
    let start = format!("{START}{}-", std::process::id());
    tempfile::Builder::new().prefix(&start).tempdir_in(parent).expect("a temporary directory")
}
