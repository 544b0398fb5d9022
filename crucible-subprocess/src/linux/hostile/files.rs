//! Answers to requests about files.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{EngineError, EngineErrorKind, FileReason, Sandbox as _, SandboxPath};
use crucible_guest::protocol::{EntryKind, EntryRef, Failure, FrameKind, ReadRequest, Step};
use tokio::time::Instant;

use super::{Double, Scene, bytes};

/// As much as a frame can hold.
const PAGE: usize = 200 * 1024;

fn path() -> SandboxPath {
    "file".try_into().unwrap()
}

/// Answers every request of the host like this.
async fn answer(double: &mut Double, mut make: impl FnMut(&[u8]) -> (FrameKind, Vec<u8>)) {
    while let Some((header, payload)) = double.hear().await {
        let (kind, answer) = make(&payload);
        double.say(kind, header.id, &answer).await;
    }
    std::future::pending().await
}

/// What comes of `work` while the double does something else.
async fn meanwhile<T>(work: impl Future<Output = T>, double: impl Future<Output = ()>) -> T {
    tokio::select! {
        done = work => done,
        () = async { double.await; std::future::pending().await } => unreachable!(),
    }
}

fn kind<T>(result: &Result<T, EngineError>) -> Option<EngineErrorKind> {
    result.as_ref().err().map(EngineError::kind)
}

/// After an answer that cannot be, the guest is ended, and nothing is asked of it any more.
async fn assert_ended(scene: &mut Scene) {
    assert!(scene.stand_in.dies());
    assert_eq!(kind(&scene.sandbox.read(&path(), 1).await), Some(EngineErrorKind::Closed));
}

fn entry(name: &[u8]) -> Vec<u8> {
    bytes(|writer| {
        EntryRef { kind: EntryKind::File, mode: 0o644, size: u64::MAX, name }.encode(writer)
    })
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_asked_for_is_refused() {
    let malformed = |kind, payload: &[u8]| (kind, payload.to_vec());
    for words in [
        malformed(FrameKind::Data, b""),
        // No data, and no end.
        malformed(FrameKind::Data, b"\0"),
        // Less than was asked for, and no end: byte by byte that would take for ever.
        malformed(FrameKind::Data, b"\0x"),
        // More than was asked for.
        malformed(FrameKind::Data, &[1; 200]),
        malformed(FrameKind::Data, &[0; 200]),
        malformed(FrameKind::Data, b"\x02x"),
        malformed(FrameKind::Done, b""),
        malformed(FrameKind::Entries, &[0; 8]),
        malformed(FrameKind::Exited, b"\x01x"),
        malformed(FrameKind::Failed, b"\x01"),
    ] {
        let mut scene = Scene::new();
        let answers = answer(&mut scene.double, |_| words.clone());
        let read = meanwhile(scene.sandbox.read(&path(), 100), answers).await;
        assert_eq!(kind(&read), Some(EngineErrorKind::Protocol), "{words:?}: {read:?}");
        assert_ended(&mut scene).await;
    }
}

/// It says that there is more, whatever is asked for.
#[tokio::test(start_paused = true)]
async fn a_file_without_an_end_is_too_large() {
    let mut scene = Scene::new();
    let mut asked = 0;
    let answers = answer(&mut scene.double, |request| {
        let length = ReadRequest::decode(request).unwrap().length;
        asked += u64::from(length);
        (FrameKind::Data, [&[0][..], &vec![7; length as usize]].concat())
    });
    let limit = 5_000_000;
    let read = meanwhile(scene.sandbox.read(&path(), limit), answers).await;
    assert!(
        matches!(read, Err(EngineError::File { reason: FileReason::TooLarge, .. })),
        "{read:?}"
    );
    assert_eq!(asked, limit + 1, "no more is asked for, and none is kept");
}

#[tokio::test(start_paused = true)]
async fn an_error_number_that_is_none_is_an_error_all_the_same() {
    let mut scene = Scene::new();
    for errno in [0, -1, i32::MIN, i32::MAX, 1 << 20] {
        let failure = Failure { step: Step(u16::MAX), errno };
        let words = bytes(|writer| failure.encode(writer));
        let answers = answer(&mut scene.double, |_| (FrameKind::Failed, words.clone()));
        let read = meanwhile(scene.sandbox.read(&path(), 1), answers).await;
        match read {
            Err(error @ EngineError::File { reason: FileReason::Os(found), .. }) => {
                assert_eq!(found, errno);
                assert!(error.to_string().contains(&errno.to_string()));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Page after page, as full as can be.
#[tokio::test(start_paused = true)]
async fn a_listing_of_a_million_entries_is_cut_off() {
    let mut scene = Scene::new();
    let mut page = vec![1, 0, 0, 0, 0, 0, 0, 0];
    while page.len() < PAGE {
        page.extend(entry(b"x"));
    }
    let answers = answer(&mut scene.double, |_| (FrameKind::Entries, page.clone()));
    let listing = meanwhile(scene.sandbox.list(&SandboxPath::root()), answers).await.unwrap();
    assert!(listing.truncated);
    assert_eq!(listing.entries.len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_cannot_be_is_refused() {
    let more = 5_u64.to_le_bytes();
    let mut cut = entry(b"name");
    cut.pop();
    let mut lies = entry(b"name");
    lies[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut pages: Vec<Vec<u8>> = vec![vec![], vec![0; 7], more.to_vec()];
    for entry in [
        cut,
        lies,
        entry(b".."),
        entry(b"."),
        entry(b"a/b"),
        entry(b"/etc/passwd"),
        entry(b"a\0b"),
        entry(b""),
    ] {
        pages.push([&more[..], &entry].concat());
    }
    for page in pages {
        let mut scene = Scene::new();
        let answers = answer(&mut scene.double, |_| (FrameKind::Entries, page.clone()));
        let listing = meanwhile(scene.sandbox.list(&SandboxPath::root()), answers).await;
        assert_eq!(kind(&listing), Some(EngineErrorKind::Protocol), "{page:?}: {listing:?}");
        assert_ended(&mut scene).await;
    }
}

/// A single entry a page, each in time; all of them together are not.
#[tokio::test(start_paused = true)]
async fn a_listing_that_takes_for_ever_is_given_up() {
    let mut scene = Scene::new();
    let page = [&9_u64.to_le_bytes()[..], &entry(b"x")].concat();
    let drip = async {
        while let Some((header, _)) = scene.double.hear().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
            scene.double.say(FrameKind::Entries, header.id, &page).await;
        }
    };
    let listing = meanwhile(scene.sandbox.list(&SandboxPath::root()), drip).await;
    assert_eq!(kind(&listing), Some(EngineErrorKind::Lost), "{listing:?}");
    assert_ended(&mut scene).await;
}

/// Whether it listens or not.
#[tokio::test(start_paused = true)]
async fn silence_has_a_deadline() {
    let much = Bytes::from(vec![0; 3 << 20]);
    for listens in [true, false] {
        for request in 0..3 {
            let mut scene = Scene::new();
            let began = Instant::now();
            let silence = async {
                if listens {
                    scene.double.hear_for_ever().await;
                }
            };
            let asked = async {
                match request {
                    0 => kind(&scene.sandbox.read(&path(), 100).await),
                    1 => kind(&scene.sandbox.list(&SandboxPath::root()).await),
                    _ => kind(&scene.sandbox.write(&path(), much.clone(), false).await),
                }
            };
            assert_eq!(meanwhile(asked, silence).await, Some(EngineErrorKind::Lost), "{request}");
            assert!(began.elapsed() < Duration::from_secs(60), "{request}");
            assert_ended(&mut scene).await;
        }
    }
}

/// A byte every 50 ms: 256 KiB would take hours.
#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_has_a_deadline() {
    let mut scene = Scene::new();
    let drip = async {
        let Some((header, _)) = scene.double.hear().await else { return };
        for byte in super::frame(FrameKind::Data, header.id, &[1; 100_000]) {
            scene.double.say_bytes(&[byte]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let began = Instant::now();
    let read = meanwhile(scene.sandbox.read(&path(), 200_000), drip).await;
    assert_eq!(kind(&read), Some(EngineErrorKind::Lost), "{read:?}");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_ended(&mut scene).await;
}

/// It says that a file is written before it was sent, and what else comes to its mind.
#[tokio::test(start_paused = true)]
async fn an_answer_before_its_question_is_no_answer() {
    let mut scene = Scene::new();
    scene.double.say(FrameKind::Done, 1, &[]).await;
    scene.double.say(FrameKind::Data, 2, b"\x01stolen").await;
    let answers = answer(&mut scene.double, |_| (FrameKind::Data, b"\x01x".to_vec()));
    let read = meanwhile(scene.sandbox.read(&path(), 10), answers).await;
    // What was there before the first question was asked is taken for its answer, and is of the wrong kind.
    assert_eq!(kind(&read), Some(EngineErrorKind::Protocol), "{read:?}");
    assert_ended(&mut scene).await;
}
