//! A reference log with group commit and fdatasync(2). It has no index, no reads and no compaction,
//! so it shows the upper limit of the disk.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tokio::sync::{mpsc, oneshot};

/// The size of the file. It is filled with zeros first, so that a flush writes no metadata. A full
/// log starts again at the beginning.
const SIZE: u64 = 256 << 20;

/// The maximum number of records in a group.
const GROUP_RECORDS: usize = 256;

#[derive(Clone)]
pub(crate) struct ReferenceLog(mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>);

impl ReferenceLog {
    pub(crate) fn new(path: &Path) -> Self {
        let file = OpenOptions::new().write(true).create_new(true).open(path).expect("a log");
        for at in 0..SIZE >> 20 {
            file.write_all_at(&[0; 1 << 20], at << 20).expect("room");
        }
        file.sync_all().expect("a flush");
        let (sender, receiver) = mpsc::channel(1024);
        std::thread::spawn(move || run(&file, receiver));
        Self(sender)
    }

    /// Appends a record and waits until it is durable.
    pub(crate) async fn append(&self, record: Vec<u8>) {
        let (answer, answered) = oneshot::channel();
        self.0.send((record, answer)).await.expect("a writer");
        answered.await.expect("an answer");
    }
}

fn run(file: &File, mut receiver: mpsc::Receiver<(Vec<u8>, oneshot::Sender<()>)>) {
    let (mut at, mut answers, mut buffer) = (0, Vec::new(), Vec::new());
    while let Some(first) = receiver.blocking_recv() {
        let mut next = Some(first);
        while let Some((record, answer)) = next {
            buffer.extend_from_slice(
                &u32::try_from(record.len()).expect("a short record").to_le_bytes(),
            );
            buffer.extend_from_slice(&crc32fast::hash(&record).to_le_bytes());
            buffer.extend_from_slice(&record);
            answers.push(answer);
            next = if answers.len() < GROUP_RECORDS { receiver.try_recv().ok() } else { None };
        }
        if at + buffer.len() as u64 > SIZE {
            at = 0;
        }
        file.write_all_at(&buffer, at).expect("a write");
        file.sync_data().expect("a flush");
        at += buffer.len() as u64;
        buffer.clear();
        for answer in answers.drain(..) {
            answer.send(()).expect("the caller");
        }
    }
}
