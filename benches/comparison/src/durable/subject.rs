//! The measured stores and their input.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Parallel writers.
pub(crate) const WRITERS: usize = 16;
/// The duration of one measurement.
const ROUND: Duration = Duration::from_secs(1);

pub(crate) type Step = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A store that accepts evaluations.
pub(crate) trait Subject: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    /// Submits one evaluation.
    fn submit(&self, writer: usize) -> Step;
    /// Claims and finishes one evaluation. Returns `false` if none was waiting.
    fn cycle(&self, writer: usize) -> Step;
}

/// Returns a text of a record's typical size that does not compress well.
pub(crate) fn payload(n: u64) -> String {
    let mut state = n | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..64).map(|_| format!("{:016x}", next())).collect()
}

/// Returns the steps per second of all writers together.
pub(crate) async fn rate(subject: &Arc<dyn Subject>, step: fn(&dyn Subject, usize) -> Step) -> f64 {
    let began = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let subject = Arc::clone(subject);
        tokio::spawn(async move {
            let mut done = 0_u32;
            while began.elapsed() < ROUND && step(&*subject, writer).await {
                done += 1;
            }
            done
        })
    });
    let done: u32 = futures::future::join_all(writers)
        .await
        .into_iter()
        .map(|done| done.expect("no panic"))
        .sum();
    f64::from(done) / began.elapsed().as_secs_f64()
}

pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Returns the build directory, which is on the disk to be measured.
pub(crate) fn target_directory() -> std::path::PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    program.ancestors().nth(2).expect("target/PROFILE/PROGRAM").to_owned()
}
