//! Hostile frames and descriptors in a channel.

use std::os::fd::AsFd as _;
use std::time::Duration;

use crucible_core::{EngineError, EngineErrorKind};
use crucible_guest::protocol::{
    CgroupCounts, Failure, FrameKind, HEADER_SIZE, Layers, PAYLOAD_MAX_TO_HOST, Ready, Step,
};
use crucible_guest_client::{Channel as _, ChannelExt as _, Disconnected};
use proptest::prelude::*;
use rustix::net::Shutdown;
use tokio::io::AsyncWriteExt as _;

use super::{FakeGuest, GuestProcess, bytes, frame};
use crate::linux::channel::GuestChannel;

/// The maximum number of bytes that a reader buffers beyond its longest frame.
const READ_AHEAD: usize = 8192;

fn is_protocol_error(reason: &Disconnected) -> bool {
    matches!(reason, Disconnected::Error(EngineError::Protocol { .. }))
}

/// Opens a request while the guest sends, and returns how the channel ends.
async fn end_of(channel: &GuestChannel, send: impl Future<Output = ()>) -> Disconnected {
    let request = channel.router().open_request();
    tokio::select! {
        answer = async {
            loop {
                if let Err(reason) = channel.response(&request).await {
                    return reason;
                }
            }
        } => answer,
        () = async { send.await; std::future::pending().await } => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_frame_ends_the_channel() {
    let mut reserved = frame(FrameKind::Done, 1, &[]);
    reserved[5] = 1;
    let mut unknown = frame(FrameKind::Done, 1, &[]);
    unknown[4] = 200;
    for length in [u32::try_from(PAYLOAD_MAX_TO_HOST).unwrap() + 1, 1 << 31, u32::MAX] {
        let mut huge = frame(FrameKind::Data, 1, &[]);
        huge[..4].copy_from_slice(&length.to_le_bytes());
        for sent in [&huge, &reserved, &unknown] {
            let (channel, mut guest) = FakeGuest::with_channel();
            assert!(is_protocol_error(&end_of(&channel, guest.send_bytes(sent)).await));
            assert!(channel.buffered().await.1 < READ_AHEAD, "no buffer for an invalid frame");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unrequested_response_ends_the_channel() {
    let usage = bytes(|writer| crucible_guest::protocol::ProcUsage::default().encode(writer));
    for (kind, id) in [
        (FrameKind::Done, 2),
        (FrameKind::Failed, u32::MAX),
        (FrameKind::Usage, 0),
        (FrameKind::Exec, 0),
        (FrameKind::Stdout, 77),
    ] {
        let (channel, mut guest) = FakeGuest::with_channel();
        assert!(
            is_protocol_error(&end_of(&channel, guest.send(kind, id, &usage)).await),
            "{kind:?} {id}"
        );
    }
}

/// The guest sends the largest frames as fast as possible, and the request takes none.
#[tokio::test(start_paused = true)]
async fn idle_request_buffers_64_frames_at_most() {
    let (channel, mut guest) = FakeGuest::with_channel();
    let idle = channel.router().open_request();
    let sent = frame(FrameKind::Data, idle.id(), &vec![0; PAYLOAD_MAX_TO_HOST]);
    let reason = end_of(&channel, async { guest.send_forever(&sent).await }).await;
    assert!(is_protocol_error(&reason), "{reason:?}");
    let (waiting, room) = channel.buffered().await;
    assert_eq!(waiting, 64);
    assert!(room <= PAYLOAD_MAX_TO_HOST + HEADER_SIZE + READ_AHEAD, "{room}");
    // The request still gets the earlier frames.
    assert_eq!(channel.response(&idle).await.unwrap().payload.len(), PAYLOAD_MAX_TO_HOST);
}

/// Some responses to a dropped request are normal and are dropped. An endless stream is an attack.
#[tokio::test(start_paused = true)]
async fn responses_to_a_dropped_request_are_bounded() {
    let (channel, mut guest) = FakeGuest::with_channel();
    let gone = channel.router().open_request().id();
    for _ in 0..60 {
        guest.send(FrameKind::Stdout, gone, b"late").await;
    }
    let request = channel.router().open_request();
    guest.send(FrameKind::Done, request.id(), &[]).await;
    assert_eq!(
        channel.response(&request).await.unwrap().kind,
        FrameKind::Done,
        "a few are dropped"
    );
    let sent = frame(FrameKind::Stdout, gone, &[]).repeat(100);
    let reason = end_of(&channel, guest.send_forever(&sent)).await;
    assert!(is_protocol_error(&reason), "{reason:?}");
    assert_eq!(channel.buffered().await.0, 0, "unwanted frames are not buffered");
}

/// The bound does not grow with the number of dropped requests.
#[tokio::test(start_paused = true)]
async fn bound_on_late_responses_does_not_add_up() {
    let (channel, mut guest) = FakeGuest::with_channel();
    for _ in 0..100_000 {
        drop(channel.router().open_request());
    }
    let sent = frame(FrameKind::Data, 1, &[]);
    let flood = async {
        guest.send_bytes(&sent.repeat(5000)).await;
    };
    assert!(is_protocol_error(&end_of(&channel, flood).await));
}

#[tokio::test(start_paused = true)]
async fn repeated_state_frame_ends_the_channel() {
    let failure = Failure { step: Step::MAPS, errno: 1 };
    let ready = bytes(|writer| {
        Ready::encode(Layers::default(), CgroupCounts::default(), b"Name: x", writer)
    });
    for (kind, payload) in [
        (FrameKind::Opened, vec![1, 0, 0, 0]),
        (FrameKind::Ready, ready),
        (FrameKind::Failed, bytes(|w| failure.encode(w))),
    ] {
        let (channel, mut guest) = FakeGuest::with_channel();
        let sent = frame(kind, 0, &payload).repeat(50);
        let reason = end_of(&channel, guest.send_forever(&sent)).await;
        // A failed step is the more useful reason.
        let expected = if kind == FrameKind::Failed {
            EngineErrorKind::Setup
        } else {
            EngineErrorKind::Protocol
        };
        match reason {
            Disconnected::Error(error) => assert_eq!(error.kind(), expected),
            Disconnected::Gone => panic!("{kind:?} was accepted"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_state_frame_ends_the_channel() {
    for (kind, payload) in [
        (FrameKind::Opened, &b"\x01\0\0"[..]),
        (FrameKind::Opened, b"\x01\0\0\0\0"),
        (FrameKind::Ready, b"\x01"),
        (FrameKind::Ready, b"\xff\xff\xff\xff"),
        (FrameKind::Failed, b""),
        (FrameKind::Failed, &[0; 4096]),
    ] {
        let (channel, mut guest) = FakeGuest::with_channel();
        assert!(
            is_protocol_error(&end_of(&channel, guest.send(kind, 0, payload)).await),
            "{kind:?}"
        );
    }
}

/// The guest disconnects after each number of bytes.
#[tokio::test(start_paused = true)]
async fn disconnect_within_a_frame_ends_the_channel() {
    let whole = [
        frame(FrameKind::Opened, 0, &7_u32.to_le_bytes()),
        frame(
            FrameKind::Ready,
            0,
            &bytes(|writer| {
                Ready::encode(Layers::default(), CgroupCounts::default(), b"Uid:\t0", writer)
            }),
        ),
        frame(FrameKind::Data, 1, b"\x01content"),
    ];
    let lengths: Vec<usize> = whole.iter().map(Vec::len).collect();
    let whole = whole.concat();
    for cut in 0..=whole.len() {
        let (channel, mut guest) = FakeGuest::with_channel();
        let request = channel.router().open_request();
        guest.send_bytes(&whole[..cut]).await;
        drop(guest);
        let ready = channel.ready().await;
        assert_eq!(ready.is_ok(), cut >= lengths[0] + lengths[1], "{cut}");
        match channel.response(&request).await {
            Ok(answer) => {
                assert_eq!((cut, &answer.payload[..]), (whole.len(), &b"\x01content"[..]))
            }
            Err(reason) => {
                assert!(
                    matches!(reason, Disconnected::Gone) && cut < whole.len(),
                    "{cut}: {reason:?}"
                )
            }
        }
        channel.read_to_end().await;
    }
}

/// A slow frame is valid: the caller decides how long to wait.
#[tokio::test(start_paused = true)]
async fn frame_in_single_bytes_is_received() {
    let (channel, mut guest) = FakeGuest::with_channel();
    let request = channel.router().open_request();
    let sent = frame(FrameKind::Data, request.id(), &[7; 500]);
    let send = async {
        for byte in &sent {
            guest.send_bytes(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (answer, ()) = tokio::join!(channel.response(&request), send);
    assert_eq!(answer.unwrap().payload, &[7; 500][..]);
}

/// The first descriptor is the guest's pidfd, the second its mounts. All others are closed.
#[tokio::test]
async fn unexpected_descriptors_are_closed() {
    let (channel, mut guest) = FakeGuest::with_channel();
    let process = GuestProcess::start();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let request = channel.router().open_request();
    guest.send_with(&frame(FrameKind::Opened, 0, &[1, 0, 0, 0]), &[process.pidfd().as_fd()]);
    guest.send_with(
        &frame(
            FrameKind::Ready,
            0,
            &bytes(|w| Ready::encode(Layers::default(), CgroupCounts::default(), b"", w)),
        ),
        &[process.pidfd().as_fd()],
    );
    for _ in 0..60 {
        guest.send_with(&frame(FrameKind::Data, request.id(), b"x"), &[writer.as_fd(); 8]);
    }
    guest.send(FrameKind::Done, request.id(), &[]).await;
    drop(writer);
    let frames = async {
        let mut count = 0;
        while channel.response(&request).await.unwrap().kind == FrameKind::Data {
            count += 1;
        }
        count
    };
    assert_eq!(frames.await, 60);
    // End of file: no process has the other end any more.
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    drop(request);
    let parts = channel.into_parts();
    assert!(parts.pidfd.is_some() && parts.mounts.is_some());
}

/// The guest stops reading without closing its end. It may continue to send.
#[tokio::test(start_paused = true)]
async fn guest_that_stops_reading_is_gone() {
    let (channel, mut guest) = FakeGuest::with_channel();
    rustix::net::shutdown(&guest.stream, Shutdown::Read).unwrap();
    let request = channel.router().open_request();
    let sent = channel.send(FrameKind::Read, request.id(), b"x", &[]).await;
    assert!(matches!(sent, Err(Disconnected::Gone)), "{sent:?}");
    let sent = frame(FrameKind::Stdout, request.id(), &[]);
    let sent = tokio::select! {
        sent = channel.send(FrameKind::Read, request.id(), b"x", &[]) => sent,
        () = guest.send_forever(&sent) => unreachable!(),
    };
    assert!(sent.is_err());
}

#[tokio::test(start_paused = true)]
async fn disconnect_within_a_request_ends_the_channel() {
    let (channel, guest) = FakeGuest::with_channel();
    let body = vec![0; 4 << 20];
    let request = channel.router().open_request();
    let disconnect = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(guest);
    };
    let (sent, ()) =
        tokio::join!(channel.send(FrameKind::Write, request.id(), b"x", &body), disconnect);
    assert!(matches!(sent, Err(Disconnected::Gone)), "{sent:?}");
}

fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![1..10_u8, 64..80_u8, any::<u8>()];
    let ids = prop_oneof![0..6_u32, any::<u32>()];
    let valid = (kinds, ids, proptest::collection::vec(any::<u8>(), 0..100)).prop_map(
        |(kind, id, payload)| {
            let mut sent = frame(FrameKind::Done, id, &payload);
            sent[4] = kind;
            sent
        },
    );
    prop_oneof![8 => valid, 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Two requests wait and one is dropped. Any bytes, in any pieces, end the channel.
    #[test]
    fn any_bytes_end_the_channel(
        sent in proptest::collection::vec(hostile_bytes(), 0..80),
        piece in 1..50_usize,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (channel, mut guest) = FakeGuest::with_channel();
            let router = channel.router();
            let (first, second) = (router.open_request(), router.open_request());
            drop(router.open_request());
            let send = async {
                for piece in sent.concat().chunks(piece) {
                    if guest.stream.write_all(piece).await.is_err() {
                        break;
                    }
                }
                drop(guest);
            };
            let all = async {
                let mut answers = 0;
                while channel.response(&first).await.is_ok() {
                    answers += 1;
                }
                while channel.response(&second).await.is_ok() {
                    answers += 1;
                }
                answers
            };
            // After a protocol error the host reads no more.
            let answers = tokio::select! {
                answers = all => answers,
                () = async { send.await; std::future::pending().await } => unreachable!(),
            };
            assert!(answers <= sent.len());
            assert!(channel.buffered().await.1 <= PAYLOAD_MAX_TO_HOST + HEADER_SIZE + READ_AHEAD);
        });
    }
}
