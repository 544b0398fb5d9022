//! A bare log file with group commit: no index, no reads, no compaction. It is the upper bound.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::{Step, Subject, payload};

/// The file's size. It is filled with zeros first, so that a flush writes no metadata, and wraps
/// around when it is full.
const SIZE: u64 = 256 << 20;
/// The largest number of records per flush.
const GROUP: usize = 256;

type Waiting = (String, oneshot::Sender<()>);

pub(crate) struct Log {
    sender: mpsc::Sender<Waiting>,
    next: AtomicU64,
}

impl Log {
    pub(crate) fn new(path: &Path) -> Self {
        let file = OpenOptions::new().write(true).create_new(true).open(path).expect("a log");
        for at in 0..SIZE >> 20 {
            file.write_all_at(&[0; 1 << 20], at << 20).expect("room");
        }
        file.sync_all().expect("a flush");
        let (sender, receiver) = mpsc::channel(1024);
        std::thread::spawn(move || run(&file, receiver));
        Self { sender, next: AtomicU64::new(1) }
    }

    fn append(&self, records: u32) -> Step {
        let sender = self.sender.clone();
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            for _ in 0..records {
                let (answer, answered) = oneshot::channel();
                sender.send((payload(n), answer)).await.expect("a writer");
                answered.await.expect("an answer");
            }
            true
        })
    }
}

fn run(file: &File, mut receiver: mpsc::Receiver<Waiting>) {
    let (mut at, mut answers, mut buffer) = (0, Vec::new(), Vec::new());
    while let Some(first) = receiver.blocking_recv() {
        let mut next = Some(first);
        while let Some((record, answer)) = next {
            buffer.extend_from_slice(&(record.len() as u64).to_le_bytes());
            buffer.extend_from_slice(record.as_bytes());
            answers.push(answer);
            next = if answers.len() < GROUP { receiver.try_recv().ok() } else { None };
        }
        if at + buffer.len() as u64 > SIZE {
            at = 0;
        }
        file.write_all_at(&buffer, at).expect("a write");
        file.sync_data().expect("a flush");
        at += buffer.len() as u64;
        buffer.clear();
        answers
            .drain(..)
            .for_each(|answer: oneshot::Sender<()>| answer.send(()).expect("the caller waits"));
    }
}

impl Subject for Log {
    fn name(&self) -> &'static str {
        "a bare log file"
    }

    fn submit(&self, _: usize) -> Step {
        self.append(1)
    }

    fn cycle(&self, _: usize) -> Step {
        self.append(2)
    }
}
