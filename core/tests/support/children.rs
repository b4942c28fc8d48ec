//! Processes with an owner.

use std::process::Child;

/// Processes that are killed when they are let go.
pub struct Children(pub Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| drop(child.kill().and_then(|()| child.wait())));
    }
}
