//! An event that wakes a thread in poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

/// An event that wakes a thread in poll(2). Clones share one eventfd(2).
#[derive(Debug, Clone)]
pub(crate) struct WakeEvent(Arc<OwnedFd>);

impl WakeEvent {
    /// Creates an event that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(rustix::event::eventfd(0, flags)?)))
    }

    /// Sets the event.
    pub(crate) fn set(&self) {
        // The write fails only if the counter is full, and then the event is set already.
        let _written = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Clears the event.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        // The read fails only if the event is not set.
        let _read = rustix::io::read(&*self.0, &mut count);
    }
}

impl AsFd for WakeEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
