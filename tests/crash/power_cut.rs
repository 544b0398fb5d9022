//! Cuts the power at random times. Accepted evaluations must exist, ended ones must have ended, and
//! all of them must end once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crucible::journal::{RecordState, verify_against};
use crucible::model::EvaluationId;
use crucible::storage::{DataDirectory, DataDirectoryOptions, RecordQuery, Storage as _};
use crucible::{Crucible, Evaluation};
use crucible_core::testing::FakeEngine;
use crucible_kv::Backend;
use crucible_kv::testing::CrashImages;

use crate::kill_loop::Random;

/// The number of images from one history.
const IMAGES: usize = 250;
/// The number of evaluations in a history.
const EVALUATIONS: usize = 24;
/// The time limit for a host to finish all evaluations of an image.
const FINISH_TIMEOUT: Duration = Duration::from_secs(60);

/// The answers that a caller got, with the number of commits at that time.
#[derive(Debug, Default)]
struct Acknowledged {
    accepted: Vec<(EvaluationId, usize)>,
    ended: Vec<(EvaluationId, usize)>,
}

#[test]
fn power_cut_keeps_acknowledged_evaluations() {
    let images: usize = match std::env::var("CRUCIBLE_CRASH_IMAGES") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 1000,
    };
    let mut random = Random::new();
    println!("CRUCIBLE_CRASH_SEED={}", random.seed());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut left = images;
    while left > 0 {
        // No data is large enough for a file, so the simulated disk contains all of it.
        let directory = tempfile::tempdir().unwrap();
        let (disk, acknowledged) = runtime.block_on(history(directory.path()));
        for _ in 0..left.min(IMAGES) {
            let time = below(&mut random, disk.commits() + 1);
            let survivors = disk.survivors(time);
            let survivors =
                survivors.start() + below(&mut random, survivors.end() - survivors.start() + 1);
            let image = disk.image(survivors);
            runtime.block_on(check(directory.path(), image, &acknowledged, time));
        }
        left -= left.min(IMAGES);
    }
}

fn below(random: &mut Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap()
}

async fn open(path: &Path, disk: impl Backend) -> (DataDirectory, Crucible) {
    let directory =
        DataDirectory::open_on(path, DataDirectoryOptions::new(), |_| Ok(disk)).await.unwrap();
    let platform = Crucible::builder()
        .engine("fake", FakeEngine::new())
        .storage(directory.storage())
        .queue(directory.queue())
        .workers(3)
        .build()
        .unwrap();
    platform.recover().await.unwrap();
    (directory, platform)
}

/// Runs a host on a disk that records every commit.
async fn history(path: &Path) -> (CrashImages, Acknowledged) {
    let disk = CrashImages::new();
    let (directory, platform) = open(path, disk.clone()).await;
    let mut acknowledged = Acknowledged::default();
    let mut handles = Vec::new();
    for n in 0..EVALUATIONS {
        let evaluation = Evaluation::shell("true").with_label("n", n.to_string());
        let evaluation = if n % 3 == 0 {
            evaluation.with_idempotency_key(format!("key {n}"))
        } else {
            evaluation
        };
        let handle = platform.submit(evaluation).await.unwrap();
        acknowledged.accepted.push((handle.id(), disk.commits()));
        handles.push(handle);
        if n % 4 == 3 {
            for handle in handles.drain(..2) {
                handle.outcome().await.unwrap();
                acknowledged.ended.push((handle.id(), disk.commits()));
            }
        }
    }
    for handle in handles {
        handle.outcome().await.unwrap();
        acknowledged.ended.push((handle.id(), disk.commits()));
    }
    platform.shutdown(FINISH_TIMEOUT).await;
    drop((platform, directory));
    (disk, acknowledged)
}

/// Starts a host on the disk after a power cut, and checks that it finishes everything.
async fn check(path: &Path, image: impl Backend, acknowledged: &Acknowledged, time: usize) {
    let (directory, platform) = open(path, image).await;
    let storage = Arc::new(directory.storage());
    for (id, at) in &acknowledged.ended {
        if *at <= time {
            let record = storage.record(*id).await.unwrap();
            assert_eq!(
                record.map(|record| record.state),
                Some(RecordState::Finished),
                "{id} had ended by {at} of {time}"
            );
        }
    }
    let live = RecordQuery::new().with_state(RecordState::Queued).with_state(RecordState::Running);
    let began = Instant::now();
    // The worker that claims the ticket of an ended evaluation drops it.
    while !storage.records(&live).await.unwrap().records.is_empty()
        || platform.stats().await.unwrap().queue.depth() > 0
    {
        assert!(
            began.elapsed() < FINISH_TIMEOUT,
            "an evaluation does not end after the cut at {time}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(platform.shutdown(FINISH_TIMEOUT).await.queued, Some(0), "a ticket is stuck");
    let page =
        storage.records(&RecordQuery::new().with_limit(RecordQuery::LIMIT_MAX)).await.unwrap();
    assert!(page.corrupt.is_empty(), "{:?}", page.corrupt);
    for (id, at) in &acknowledged.accepted {
        let is_there = page.records.iter().any(|record| record.id == *id);
        assert!(
            is_there || *at > time,
            "{id} was accepted by {at}, and is missing after the cut at {time}"
        );
    }
    for record in &page.records {
        let journal = storage.journal(record.id, 0).await.unwrap();
        verify_against(&journal, record.head).unwrap();
        assert_eq!(
            journal.iter().filter(|event| event.kind.is_terminal()).count(),
            1,
            "{journal:?}"
        );
        assert_eq!(record.state, RecordState::Finished, "{record:?}");
    }
}
