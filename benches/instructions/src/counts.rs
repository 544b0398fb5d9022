//! What one step of a path takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::allocator::Allocated;
use crate::paths;

/// Steps before the counted ones: what is made once, and kept, is made in these.
const FIRST: usize = 8;

/// What the counted steps of a path take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) instructions: u64,
    /// Instructions of SHA-256, which are not among those.
    pub(crate) hashing: u64,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |of: u64| of / self.steps.max(1);
        write!(
            f,
            "{:>9} instructions, {:>9} of hashing, {:>4} allocations, {:>8} bytes a step",
            each(self.instructions),
            each(self.hashing),
            each(self.allocations),
            each(self.bytes)
        )
    }
}

/// Runs the steps of a path, and prints how many there were, and what was allocated.
pub(crate) fn run(name: &str) -> Result<(), String> {
    let path = paths::ALL
        .iter()
        .find(|path| path.name == name)
        .ok_or_else(|| format!("no path `{name}`"))?;
    // Where the first thread's stack begins depends on the environment and on where this program is, and copying takes more or fewer
    // instructions from there.
    let run = || {
        let mut step = (path.prepare)(path.steps + FIRST);
        (0..FIRST).for_each(|_| step());
        let before = Allocated::now();
        counted_steps(&mut *step, path.steps);
        Allocated::since(before)
    };
    let Allocated { count, bytes } = std::thread::scope(|scope| scope.spawn(run).join())
        .map_err(|_| format!("{name}: it panicked"))?;
    println!("{} {count} {bytes}", path.steps);
    Ok(())
}

/// What callgrind counts: from its beginning to its end.
#[inline(never)]
fn counted_steps(step: &mut dyn FnMut(), steps: usize) {
    (0..steps).for_each(|_| step());
}
