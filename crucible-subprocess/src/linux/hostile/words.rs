//! What is said over a link.

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

use super::super::link::Link;
use super::{Double, StandIn, bytes, frame};

/// More than a reader has for its longest frame: what it reads ahead.
const READ_AHEAD: usize = 8192;

fn broke(ended: &Disconnected) -> bool {
    matches!(ended, Disconnected::Error(EngineError::Protocol { .. }))
}

/// Asks, lets the double do something, and gives the end of it.
async fn end_of(link: &Link, say: impl Future<Output = ()>) -> Disconnected {
    let question = link.router().open_request();
    tokio::select! {
        answer = async {
            loop {
                if let Err(ended) = link.response(&question).await {
                    return ended;
                }
            }
        } => answer,
        () = async { say.await; std::future::pending().await } => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_frame_ends_the_link() {
    let mut reserved = frame(FrameKind::Done, 1, &[]);
    reserved[5] = 1;
    let mut unknown = frame(FrameKind::Done, 1, &[]);
    unknown[4] = 200;
    for length in [u32::try_from(PAYLOAD_MAX_TO_HOST).unwrap() + 1, 1 << 31, u32::MAX] {
        let mut huge = frame(FrameKind::Data, 1, &[]);
        huge[..4].copy_from_slice(&length.to_le_bytes());
        for words in [&huge, &reserved, &unknown] {
            let (link, mut double) = Double::of_link();
            assert!(broke(&end_of(&link, double.say_bytes(words)).await));
            assert!(link.held().await.1 < READ_AHEAD, "no room is made for what will not be read");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asked_ends_the_link() {
    let usage = bytes(|writer| crucible_guest::protocol::ProcUsage::default().encode(writer));
    for (kind, id) in [
        (FrameKind::Done, 2),
        (FrameKind::Failed, u32::MAX),
        (FrameKind::Usage, 0),
        (FrameKind::Exec, 0),
        (FrameKind::Stdout, 77),
    ] {
        let (link, mut double) = Double::of_link();
        assert!(broke(&end_of(&link, double.say(kind, id, &usage)).await), "{kind:?} {id}");
    }
}

/// The largest frames, as fast as they go, for somebody who does not take them.
#[tokio::test(start_paused = true)]
async fn no_more_than_64_frames_wait_for_one_who_asked() {
    let (link, mut double) = Double::of_link();
    let idle = link.router().open_request();
    let words = frame(FrameKind::Data, idle.id(), &vec![0; PAYLOAD_MAX_TO_HOST]);
    let ended = end_of(&link, async { double.say_for_ever(&words).await }).await;
    assert!(broke(&ended), "{ended:?}");
    let (waiting, room) = link.held().await;
    assert_eq!(waiting, 64);
    assert!(room <= PAYLOAD_MAX_TO_HOST + HEADER_SIZE + READ_AHEAD, "{room}");
    // What came before is still there for whoever asked.
    assert_eq!(link.response(&idle).await.unwrap().payload.len(), PAYLOAD_MAX_TO_HOST);
}

/// Answers to a question that was given up: some are to be expected, and are dropped; without an end they are an attack.
#[tokio::test(start_paused = true)]
async fn frames_for_one_who_has_gone_have_an_end() {
    let (link, mut double) = Double::of_link();
    let gone = link.router().open_request().id();
    for _ in 0..60 {
        double.say(FrameKind::Stdout, gone, b"late").await;
    }
    let question = link.router().open_request();
    double.say(FrameKind::Done, question.id(), &[]).await;
    assert_eq!(link.response(&question).await.unwrap().kind, FrameKind::Done, "a few do no harm");
    let words = frame(FrameKind::Stdout, gone, &[]).repeat(100);
    let ended = end_of(&link, double.say_for_ever(&words)).await;
    assert!(broke(&ended), "{ended:?}");
    assert_eq!(link.held().await.0, 0, "nothing is kept of what nobody wants");
}

/// However many have asked before: what can come for all of them is not the sum.
#[tokio::test(start_paused = true)]
async fn many_questions_do_not_add_up() {
    let (link, mut double) = Double::of_link();
    for _ in 0..100_000 {
        drop(link.router().open_request());
    }
    let words = frame(FrameKind::Data, 1, &[]);
    let flood = async {
        double.say_bytes(&words.repeat(5000)).await;
    };
    assert!(broke(&end_of(&link, flood).await));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_the_sandbox_is_said_once() {
    let failure = Failure { step: Step::MAPS, errno: 1 };
    let ready = bytes(|writer| {
        Ready::encode(Layers::default(), CgroupCounts::default(), b"Name: x", writer)
    });
    for (kind, payload) in [
        (FrameKind::Opened, vec![1, 0, 0, 0]),
        (FrameKind::Ready, ready),
        (FrameKind::Failed, bytes(|w| failure.encode(w))),
    ] {
        let (link, mut double) = Double::of_link();
        let words = frame(kind, 0, &payload).repeat(50);
        let ended = end_of(&link, double.say_for_ever(&words)).await;
        // A step that failed is the better reason.
        let expected = if kind == FrameKind::Failed {
            EngineErrorKind::Setup
        } else {
            EngineErrorKind::Protocol
        };
        match ended {
            Disconnected::Error(error) => assert_eq!(error.kind(), expected),
            Disconnected::Gone => panic!("{kind:?} had no consequence"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn words_about_the_sandbox_that_make_no_sense_end_the_link() {
    for (kind, payload) in [
        (FrameKind::Opened, &b"\x01\0\0"[..]),
        (FrameKind::Opened, b"\x01\0\0\0\0"),
        (FrameKind::Ready, b"\x01"),
        (FrameKind::Ready, b"\xff\xff\xff\xff"),
        (FrameKind::Failed, b""),
        (FrameKind::Failed, &[0; 4096]),
    ] {
        let (link, mut double) = Double::of_link();
        assert!(broke(&end_of(&link, double.say(kind, 0, payload)).await), "{kind:?}");
    }
}

/// Each byte is the last one, once.
#[tokio::test(start_paused = true)]
async fn an_early_end_is_an_end_wherever_it_comes() {
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
        let (link, mut double) = Double::of_link();
        let question = link.router().open_request();
        double.say_bytes(&whole[..cut]).await;
        drop(double);
        let stands = link.ready().await;
        assert_eq!(stands.is_ok(), cut >= lengths[0] + lengths[1], "{cut}");
        match link.response(&question).await {
            Ok(answer) => {
                assert_eq!((cut, &answer.payload[..]), (whole.len(), &b"\x01content"[..]))
            }
            Err(ended) => {
                assert!(
                    matches!(ended, Disconnected::Gone) && cut < whole.len(),
                    "{cut}: {ended:?}"
                )
            }
        }
        link.read_to_end().await;
    }
}

/// Slow is not wrong: whoever waits decides for how long.
#[tokio::test(start_paused = true)]
async fn a_byte_at_a_time_is_a_frame_in_the_end() {
    let (link, mut double) = Double::of_link();
    let question = link.router().open_request();
    let words = frame(FrameKind::Data, question.id(), &[7; 500]);
    let say = async {
        for byte in &words {
            double.say_bytes(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (answer, ()) = tokio::join!(link.response(&question), say);
    assert_eq!(answer.unwrap().payload, &[7; 500][..]);
}

/// The first is the guest's pidfd, a second its mounts; every other is closed as it comes.
#[tokio::test]
async fn descriptors_that_do_not_belong_are_closed() {
    let (link, mut double) = Double::of_link();
    let stand_in = StandIn::start();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let question = link.router().open_request();
    double.say_with(&frame(FrameKind::Opened, 0, &[1, 0, 0, 0]), &[stand_in.pidfd().as_fd()]);
    double.say_with(
        &frame(
            FrameKind::Ready,
            0,
            &bytes(|w| Ready::encode(Layers::default(), CgroupCounts::default(), b"", w)),
        ),
        &[stand_in.pidfd().as_fd()],
    );
    for _ in 0..60 {
        double.say_with(&frame(FrameKind::Data, question.id(), b"x"), &[writer.as_fd(); 8]);
    }
    double.say(FrameKind::Done, question.id(), &[]).await;
    drop(writer);
    let frames = async {
        let mut count = 0;
        while link.response(&question).await.unwrap().kind == FrameKind::Data {
            count += 1;
        }
        count
    };
    assert_eq!(frames.await, 60);
    // The end of it: nobody has the other end any more.
    assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    drop(question);
    let parts = link.into_parts();
    assert!(parts.pidfd.is_some() && parts.mounts.is_some());
}

/// It does not listen any more, and does not hang up either; it may even go on talking.
#[tokio::test(start_paused = true)]
async fn one_that_does_not_listen_is_gone() {
    let (link, mut double) = Double::of_link();
    rustix::net::shutdown(&double.stream, Shutdown::Read).unwrap();
    let question = link.router().open_request();
    let sent = link.send(FrameKind::Read, question.id(), b"x", &[]).await;
    assert!(matches!(sent, Err(Disconnected::Gone)), "{sent:?}");
    let words = frame(FrameKind::Stdout, question.id(), &[]);
    let sent = tokio::select! {
        sent = link.send(FrameKind::Read, question.id(), b"x", &[]) => sent,
        () = double.say_for_ever(&words) => unreachable!(),
    };
    assert!(sent.is_err());
}

#[tokio::test(start_paused = true)]
async fn hanging_up_in_the_middle_of_a_request_is_an_end() {
    let (link, double) = Double::of_link();
    let body = vec![0; 4 << 20];
    let question = link.router().open_request();
    let hang_up = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(double);
    };
    let (sent, ()) = tokio::join!(link.send(FrameKind::Write, question.id(), b"x", &body), hang_up);
    assert!(matches!(sent, Err(Disconnected::Gone)), "{sent:?}");
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![1..10_u8, 64..80_u8, any::<u8>()];
    let ids = prop_oneof![0..6_u32, any::<u32>()];
    let sound = (kinds, ids, proptest::collection::vec(any::<u8>(), 0..100)).prop_map(
        |(kind, id, payload)| {
            let mut words = frame(FrameKind::Done, id, &payload);
            words[4] = kind;
            words
        },
    );
    prop_oneof![8 => sound, 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Three ask, one of them gives up; whatever comes, and in whatever pieces, has an end.
    #[test]
    fn whatever_is_said_has_an_end(words in proptest::collection::vec(word(), 0..80), piece in 1..50_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (link, mut double) = Double::of_link();
            let (first, second) = (link.router().open_request(), link.router().open_request());
            drop(link.router().open_request());
            let say = async {
                for piece in words.concat().chunks(piece) {
                    if double.stream.write_all(piece).await.is_err() {
                        break;
                    }
                }
                drop(double);
            };
            let all = async {
                let mut answers = 0;
                while link.response(&first).await.is_ok() {
                    answers += 1;
                }
                while link.response(&second).await.is_ok() {
                    answers += 1;
                }
                answers
            };
            // Once the host has had enough, it does not read any more.
            let answers = tokio::select! {
                answers = all => answers,
                () = async { say.await; std::future::pending().await } => unreachable!(),
            };
            assert!(answers <= words.len());
            assert!(link.held().await.1 <= PAYLOAD_MAX_TO_HOST + HEADER_SIZE + READ_AHEAD);
        });
    }
}
