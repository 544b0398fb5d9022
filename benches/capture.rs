//! The time to capture and to hash a program's output.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use crucible_core::{Capture, Digest};

/// The size of one read from a program's pipe.
const CHUNK: usize = 64 * 1024;
/// The number of chunks in the measured stream.
const CHUNKS: usize = 64;
/// The default of `ExecOptions::capture_bytes`.
const BUDGET: usize = 1024 * 1024;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let chunk = vec![b'x'; CHUNK];
    capture(&mut criterion, &chunk);
    hash(&mut criterion, &chunk);
    criterion.final_summary();
}

/// Measures a stream of 4 MiB of which 1 MiB is kept.
fn capture(criterion: &mut Criterion, chunk: &[u8]) {
    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Bytes((CHUNK * CHUNKS) as u64));
    group.bench_function("truncated_stream", |bencher| {
        bencher.iter(|| {
            let mut capture = Capture::new(BUDGET);
            for _ in 0..CHUNKS {
                capture.push(black_box(chunk));
            }
            capture.finish()
        });
    });
    group.finish();
}

/// Measures SHA-256 alone, the largest part of a capture.
fn hash(criterion: &mut Criterion, chunk: &[u8]) {
    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Bytes(CHUNK as u64));
    group.bench_function("hash", |bencher| bencher.iter(|| Digest::of(black_box(chunk))));
    group.finish();
}
