//! Hostile responses to requests about files.

use std::time::Duration;

use bytes::Bytes;
use crucible_core::{EngineError, EngineErrorKind, FileReason, Sandbox as _, SandboxPath};
use crucible_guest::protocol::{EntryKind, EntryRef, Failure, FrameKind, ReadRequest, Step};
use tokio::time::Instant;

use super::{FakeGuest, FakeGuestFixture, bytes};

/// The size of a full page of entries.
const PAGE: usize = 200 * 1024;

fn path() -> SandboxPath {
    "file".try_into().unwrap()
}

/// Answers every request with the result of `make`.
async fn answer(guest: &mut FakeGuest, mut make: impl FnMut(&[u8]) -> (FrameKind, Vec<u8>)) {
    while let Some((header, payload)) = guest.receive().await {
        let (kind, answer) = make(&payload);
        guest.send(kind, header.id, &answer).await;
    }
    std::future::pending().await
}

/// Returns the result of `work` while the guest runs.
async fn meanwhile<T>(work: impl Future<Output = T>, guest: impl Future<Output = ()>) -> T {
    tokio::select! {
        done = work => done,
        () = async { guest.await; std::future::pending().await } => unreachable!(),
    }
}

fn kind<T>(result: &Result<T, EngineError>) -> Option<EngineErrorKind> {
    result.as_ref().err().map(EngineError::kind)
}

/// Asserts that the guest was killed and the sandbox is closed.
async fn assert_closed(fixture: &mut FakeGuestFixture) {
    assert!(fixture.process.dies());
    assert_eq!(kind(&fixture.sandbox.read(&path(), 1).await), Some(EngineErrorKind::Closed));
}

fn entry(name: &[u8]) -> Vec<u8> {
    bytes(|writer| {
        EntryRef { kind: EntryKind::File, mode: 0o644, size: u64::MAX, name }.encode(writer)
    })
}

#[tokio::test(start_paused = true)]
async fn invalid_data_is_a_protocol_error() {
    let malformed = |kind, payload: &[u8]| (kind, payload.to_vec());
    for response in [
        malformed(FrameKind::Data, b""),
        // No data, and not the end.
        malformed(FrameKind::Data, b"\0"),
        // Less than requested, and not the end. Single bytes would take for ever.
        malformed(FrameKind::Data, b"\0x"),
        // More than requested.
        malformed(FrameKind::Data, &[1; 200]),
        malformed(FrameKind::Data, &[0; 200]),
        malformed(FrameKind::Data, b"\x02x"),
        malformed(FrameKind::Done, b""),
        malformed(FrameKind::Entries, &[0; 8]),
        malformed(FrameKind::Exited, b"\x01x"),
        malformed(FrameKind::Failed, b"\x01"),
    ] {
        let mut fixture = FakeGuestFixture::new();
        let answers = answer(&mut fixture.guest, |_| response.clone());
        let read = meanwhile(fixture.sandbox.read(&path(), 100), answers).await;
        assert_eq!(kind(&read), Some(EngineErrorKind::Protocol), "{response:?}: {read:?}");
        assert_closed(&mut fixture).await;
    }
}

/// The guest always reports more data.
#[tokio::test(start_paused = true)]
async fn endless_file_is_too_large() {
    let mut fixture = FakeGuestFixture::new();
    let mut asked = 0;
    let answers = answer(&mut fixture.guest, |request| {
        let length = ReadRequest::decode(request).unwrap().length;
        asked += u64::from(length);
        (FrameKind::Data, [&[0][..], &vec![7; length as usize]].concat())
    });
    let limit = 5_000_000;
    let read = meanwhile(fixture.sandbox.read(&path(), limit), answers).await;
    assert!(
        matches!(read, Err(EngineError::File { reason: FileReason::TooLarge, .. })),
        "{read:?}"
    );
    assert_eq!(asked, limit + 1, "the host requests one byte more than the limit");
}

#[tokio::test(start_paused = true)]
async fn invalid_error_number_is_an_error() {
    let mut fixture = FakeGuestFixture::new();
    for errno in [0, -1, i32::MIN, i32::MAX, 1 << 20] {
        let failure = Failure { step: Step(u16::MAX), errno };
        let response = bytes(|writer| failure.encode(writer));
        let answers = answer(&mut fixture.guest, |_| (FrameKind::Failed, response.clone()));
        let read = meanwhile(fixture.sandbox.read(&path(), 1), answers).await;
        match read {
            Err(error @ EngineError::File { reason: FileReason::Os(found), .. }) => {
                assert_eq!(found, errno);
                assert!(error.to_string().contains(&errno.to_string()));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The guest sends full pages for ever.
#[tokio::test(start_paused = true)]
async fn endless_listing_is_truncated() {
    let mut fixture = FakeGuestFixture::new();
    let mut page = vec![1, 0, 0, 0, 0, 0, 0, 0];
    while page.len() < PAGE {
        page.extend(entry(b"x"));
    }
    let answers = answer(&mut fixture.guest, |_| (FrameKind::Entries, page.clone()));
    let listing = meanwhile(fixture.sandbox.list(&SandboxPath::root()), answers).await.unwrap();
    assert!(listing.truncated);
    assert_eq!(listing.entries.len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn invalid_listing_is_a_protocol_error() {
    let more = 5_u64.to_le_bytes();
    let mut cut = entry(b"name");
    cut.pop();
    let mut too_long = entry(b"name");
    too_long[13..17].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut pages: Vec<Vec<u8>> = vec![vec![], vec![0; 7], more.to_vec()];
    for entry in [
        cut,
        too_long,
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
        let mut fixture = FakeGuestFixture::new();
        let answers = answer(&mut fixture.guest, |_| (FrameKind::Entries, page.clone()));
        let listing = meanwhile(fixture.sandbox.list(&SandboxPath::root()), answers).await;
        assert_eq!(kind(&listing), Some(EngineErrorKind::Protocol), "{page:?}: {listing:?}");
        assert_closed(&mut fixture).await;
    }
}

/// Each page with one entry is in time, and all pages together are not.
#[tokio::test(start_paused = true)]
async fn slow_endless_listing_has_a_deadline() {
    let mut fixture = FakeGuestFixture::new();
    let page = [&9_u64.to_le_bytes()[..], &entry(b"x")].concat();
    let drip = async {
        while let Some((header, _)) = fixture.guest.receive().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
            fixture.guest.send(FrameKind::Entries, header.id, &page).await;
        }
    };
    let listing = meanwhile(fixture.sandbox.list(&SandboxPath::root()), drip).await;
    assert_eq!(kind(&listing), Some(EngineErrorKind::Lost), "{listing:?}");
    assert_closed(&mut fixture).await;
}

/// The guest sends nothing, whether it reads or not.
#[tokio::test(start_paused = true)]
async fn silent_guest_has_a_deadline() {
    let much = Bytes::from(vec![0; 3 << 20]);
    for reads in [true, false] {
        for request in 0..3 {
            let mut fixture = FakeGuestFixture::new();
            let began = Instant::now();
            let silence = async {
                if reads {
                    fixture.guest.receive_forever().await;
                }
            };
            let asked = async {
                match request {
                    0 => kind(&fixture.sandbox.read(&path(), 100).await),
                    1 => kind(&fixture.sandbox.list(&SandboxPath::root()).await),
                    _ => kind(&fixture.sandbox.write(&path(), much.clone(), false).await),
                }
            };
            assert_eq!(meanwhile(asked, silence).await, Some(EngineErrorKind::Lost), "{request}");
            assert!(began.elapsed() < Duration::from_secs(60), "{request}");
            assert_closed(&mut fixture).await;
        }
    }
}

/// The guest sends a byte every 50 ms. 256 KiB would take hours.
#[tokio::test(start_paused = true)]
async fn slow_response_has_a_deadline() {
    let mut fixture = FakeGuestFixture::new();
    let drip = async {
        let Some((header, _)) = fixture.guest.receive().await else { return };
        for byte in super::frame(FrameKind::Data, header.id, &[1; 100_000]) {
            fixture.guest.send_bytes(&[byte]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let began = Instant::now();
    let read = meanwhile(fixture.sandbox.read(&path(), 200_000), drip).await;
    assert_eq!(kind(&read), Some(EngineErrorKind::Lost), "{read:?}");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_closed(&mut fixture).await;
}

/// The guest confirms a file before it was sent.
#[tokio::test(start_paused = true)]
async fn response_before_its_request_is_a_protocol_error() {
    let mut fixture = FakeGuestFixture::new();
    fixture.guest.send(FrameKind::Done, 1, &[]).await;
    fixture.guest.send(FrameKind::Data, 2, b"\x01stolen").await;
    let answers = answer(&mut fixture.guest, |_| (FrameKind::Data, b"\x01x".to_vec()));
    let read = meanwhile(fixture.sandbox.read(&path(), 10), answers).await;
    // The host takes the early frame for the response, and its kind is wrong.
    assert_eq!(kind(&read), Some(EngineErrorKind::Protocol), "{read:?}");
    assert_closed(&mut fixture).await;
}
