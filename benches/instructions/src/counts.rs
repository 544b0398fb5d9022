//! The cost of one step of a path.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::allocator::Allocated;
use crate::paths;

/// The number of uncounted warm-up steps, which allocate everything that is allocated once.
const WARM_UP_STEPS: usize = 8;

/// The total cost of the counted steps of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) instructions: u64,
    /// Instructions of SHA-256, not included in `instructions`.
    pub(crate) hashing: u64,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |of: u64| of / self.steps.max(1);
        write!(
            f,
            "{:>9} instructions, {:>9} of hashing, {:>4} allocations, {:>8} bytes per step",
            each(self.instructions),
            each(self.hashing),
            each(self.allocations),
            each(self.bytes)
        )
    }
}

/// Runs the steps of a path and prints their number and allocations.
pub(crate) fn run(name: &str) -> Result<(), String> {
    let path = paths::ALL
        .iter()
        .find(|path| path.name == name)
        .ok_or_else(|| format!("no path `{name}`"))?;
    // The main thread's stack address depends on the environment and the program's path, and the
    // address changes the number of instructions for copying. A new thread avoids that.
    let run = || {
        let mut step = (path.prepare)(path.steps + WARM_UP_STEPS);
        (0..WARM_UP_STEPS).for_each(|_| step());
        let before = Allocated::now();
        counted_steps(&mut *step, path.steps);
        Allocated::since(before)
    };
    let Allocated { count, bytes } = std::thread::scope(|scope| scope.spawn(run).join())
        .map_err(|_| format!("{name}: the path panicked"))?;
    println!("{} {count} {bytes}", path.steps);
    Ok(())
}

/// The function that callgrind measures.
#[inline(never)]
fn counted_steps(step: &mut dyn FnMut(), steps: usize) {
    (0..steps).for_each(|_| step());
}
