//! Shared code of the benchmarks: rounds in random order, and ratios.

use std::time::{Duration, Instant};

/// A named case and its measured times.
pub(crate) struct Case<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() + 'a>,
    pub(crate) times: Vec<Duration>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut() + 'a) -> Self {
        Self { name, run: Box::new(run), times: Vec::new() }
    }

    pub(crate) fn quantile(&self, of: f64) -> Duration {
        quantile(&self.times, of)
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

/// Runs every case once per round, in a new random order. In a fixed order, a case would pay for
/// the kernel work that its predecessor left behind.
pub(crate) fn run_rounds(cases: &mut [Case<'_>], rounds: usize, order: &mut Order) {
    for _ in 0..rounds {
        for index in order.shuffled(cases.len()) {
            if let Some(case) = cases.get_mut(index) {
                let began = Instant::now();
                (case.run)();
                case.times.push(began.elapsed());
            }
        }
    }
}

/// Clears the times that were measured during warm-up.
pub(crate) fn clear_times(cases: &mut [Case<'_>]) {
    for case in cases {
        case.times.clear();
    }
}

/// Prints one line per case, with its ratio to the first case.
pub(crate) fn print_table(cases: &[Case<'_>]) {
    let first = cases.first().map(Case::median).unwrap_or_default();
    println!("{:<44} {:>10} {:>10} {:>10} {:>8}", "", "median", "min", "p99", "ratio");
    for case in cases {
        println!(
            "{:<44} {:>7} us {:>7} us {:>7} us {:>8.2}",
            case.name,
            case.median().as_micros(),
            case.quantile(0.0).as_micros(),
            case.quantile(0.99).as_micros(),
            ratio(case.median(), first),
        );
    }
}

/// Returns the given quantile of the times.
pub(crate) fn quantile(times: &[Duration], quantile: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a few hundred times"
    )]
    let index = (times.len().saturating_sub(1) as f64 * quantile) as usize;
    times.get(index).copied().unwrap_or_default()
}

pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// A generator of random orders (xorshift64), sufficient for shuffling.
pub(crate) struct Order(u64);

impl Order {
    pub(crate) fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(now.map_or(1, |now| u64::from(now.subsec_nanos())) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut keyed: Vec<(u64, usize)> = (0..count).map(|index| (self.next(), index)).collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, index)| index).collect()
    }
}

/// Returns the number after `--rounds`, or `default`. Options that cargo adds are ignored.
pub(crate) fn rounds_or(default: usize) -> Result<usize, String> {
    let mut arguments = std::env::args();
    if !arguments.any(|argument| argument == "--rounds") {
        return Ok(default);
    }
    let number = arguments.next().unwrap_or_default();
    match number.parse() {
        Ok(rounds @ 1..) => Ok(rounds),
        _ => {
            Err(format!("invalid value {number:?} for --rounds\nfix: pass a number of at least 1"))
        }
    }
}
