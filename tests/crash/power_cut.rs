//! The power is cut, at any moment: what was accepted before is there, what had ended has ended, and everything ends once.

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

/// Images of one history, before there is a new one.
const IMAGES: usize = 250;
/// Evaluations of a history.
const EVALUATIONS: usize = 24;
/// How long an image may take to bring everything to its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a caller was told, and how many commits there were by then.
#[derive(Debug, Default)]
struct Told {
    accepted: Vec<(EvaluationId, usize)>,
    ended: Vec<(EvaluationId, usize)>,
}

#[test]
fn every_power_cut_leaves_what_was_acknowledged() {
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
        // Nothing here is large enough for a file: all of it is on the disk that is cut.
        let place = tempfile::tempdir().unwrap();
        let (disk, told) = runtime.block_on(history(place.path()));
        for _ in 0..left.min(IMAGES) {
            let moment = below(&mut random, disk.commits() + 1);
            let survivors = disk.survivors(moment);
            let survivors =
                survivors.start() + below(&mut random, survivors.end() - survivors.start() + 1);
            let image = disk.image(survivors);
            runtime.block_on(check(place.path(), image, &told, moment));
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

/// A host that works on a disk of which every moment is kept.
async fn history(place: &Path) -> (CrashImages, Told) {
    let disk = CrashImages::new();
    let (directory, platform) = open(place, disk.clone()).await;
    let mut told = Told::default();
    let mut handles = Vec::new();
    for n in 0..EVALUATIONS {
        let evaluation = Evaluation::shell("true").with_label("n", n.to_string());
        let evaluation = if n % 3 == 0 {
            evaluation.with_idempotency_key(format!("key {n}"))
        } else {
            evaluation
        };
        let handle = platform.submit(evaluation).await.unwrap();
        told.accepted.push((handle.id(), disk.commits()));
        handles.push(handle);
        if n % 4 == 3 {
            for handle in handles.drain(..2) {
                handle.outcome().await.unwrap();
                told.ended.push((handle.id(), disk.commits()));
            }
        }
    }
    for handle in handles {
        handle.outcome().await.unwrap();
        told.ended.push((handle.id(), disk.commits()));
    }
    platform.shutdown(PATIENCE).await;
    drop((platform, directory));
    (disk, told)
}

/// A host that finds what the power cut left brings everything to its end.
async fn check(place: &Path, image: impl Backend, told: &Told, moment: usize) {
    let (directory, platform) = open(place, image).await;
    let storage = Arc::new(directory.storage());
    for (id, at) in &told.ended {
        if *at <= moment {
            let record = storage.record(*id).await.unwrap();
            assert_eq!(
                record.map(|record| record.state),
                Some(RecordState::Finished),
                "{id} had ended by {at} of {moment}"
            );
        }
    }
    let live = RecordQuery::new().with_state(RecordState::Queued).with_state(RecordState::Running);
    let began = Instant::now();
    // A ticket whose evaluation has ended is dropped by whoever claims it.
    while !storage.records(&live).await.unwrap().records.is_empty()
        || platform.stats().await.unwrap().queue.depth() > 0
    {
        assert!(began.elapsed() < PATIENCE, "something does not end after the cut at {moment}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(platform.shutdown(PATIENCE).await.queued, Some(0), "a ticket is stuck");
    let page =
        storage.records(&RecordQuery::new().with_limit(RecordQuery::LIMIT_MAX)).await.unwrap();
    assert!(page.corrupt.is_empty(), "{:?}", page.corrupt);
    for (id, at) in &told.accepted {
        let is_there = page.records.iter().any(|record| record.id == *id);
        assert!(
            is_there || *at > moment,
            "{id} was accepted by {at}, and is gone after the cut at {moment}"
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
