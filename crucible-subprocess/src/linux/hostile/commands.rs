//! Answers to the request to run a command.

use std::time::Duration;

use crucible_core::{
    Command, EngineError, EngineErrorKind, Evidence, ExecOptions, ExecOutcome, KillReason, Layer,
    Limit, OnExit, Sandbox as _, Verdict,
};
use crucible_guest::protocol::{Confinement, Exited, Failure, FrameKind, ProcUsage, Started, Step};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Double, Scene, bytes, frame};

/// What the kernel says of a program to which all layers apply.
const STATUS: &[u8] =
    b"Name:\tx\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t2\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\n\
                        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t99\n";

/// What the kernel says to it.
const HELD: Confinement = Confinement { capabilities: 0, no_new_privs: true, seccomp: 2 };

/// Everything as large as it goes.
const IMMENSE: Exited = Exited {
    wait_status: i32::MAX,
    empty: true,
    deadline: true,
    survivors: u32::MAX,
    wall_us: u64::MAX,
    user_us: u64::MAX,
    system_us: u64::MAX,
    maxrss_kib: u64::MAX,
    guest_us: u64::MAX,
    free_bytes: 0,
    free_inodes: 0,
};

type Words = Vec<(FrameKind, Vec<u8>)>;

fn started() -> (FrameKind, Vec<u8>) {
    held_by(HELD, STATUS)
}

fn held_by(held: Confinement, status: &[u8]) -> (FrameKind, Vec<u8>) {
    let started = Started { pid: 2, ran_us: u64::MAX, confinement: held, status };
    (FrameKind::Started, bytes(|writer| started.encode(writer)))
}

fn exited(exited: Exited) -> (FrameKind, Vec<u8>) {
    (FrameKind::Exited, bytes(|writer| exited.encode(writer)))
}

fn failed(kind: FrameKind) -> (FrameKind, Vec<u8>) {
    (kind, bytes(|writer| Failure { step: Step::TARGET_EXEC, errno: 2 }.encode(writer)))
}

/// Hears the request for a command, says this, and listens from then on.
async fn play(double: &mut Double, words: &Words) {
    let Some((header, _)) = double.hear().await else { return };
    assert_eq!(header.kind, FrameKind::Exec);
    for (kind, payload) in words {
        double.say(*kind, header.id, payload).await;
    }
    double.hear_for_ever().await;
}

async fn exec_with(
    scene: &mut Scene,
    words: &Words,
    io: ExecOptions,
) -> Result<ExecOutcome, EngineError> {
    let command = Command::new(["true"]);
    tokio::select! {
        done = scene.sandbox.exec(&command, io) => done,
        () = async { play(&mut scene.double, words).await; std::future::pending().await } => unreachable!(),
    }
}

async fn exec(scene: &mut Scene, words: &Words) -> Result<ExecOutcome, EngineError> {
    exec_with(scene, words, ExecOptions::new()).await
}

#[tokio::test(start_paused = true)]
async fn words_in_the_wrong_order_end_the_sandbox() {
    let none = Exited::default();
    let empty = (FrameKind::Empty, vec![0; 4]);
    let wrong: Vec<(bool, Words)> = vec![
        (false, vec![exited(none)]),
        (false, vec![empty.clone()]),
        (false, vec![(FrameKind::Data, vec![1])]),
        (false, vec![(FrameKind::Stdout, vec![0; 100_000])]),
        (false, vec![(FrameKind::Exec, vec![])]),
        (false, vec![(FrameKind::Started, vec![1, 2, 3])]),
        (false, vec![(FrameKind::ExecFailed, vec![])]),
        (false, vec![(FrameKind::Failed, vec![0; 7])]),
        (true, vec![started(), started()]),
        (true, vec![started(), empty.clone()]),
        (true, vec![started(), failed(FrameKind::ExecFailed)]),
        (true, vec![started(), failed(FrameKind::Failed)]),
        (true, vec![started(), (FrameKind::Exited, vec![0; 68])]),
        (true, vec![started(), (FrameKind::Exited, vec![255; 69])]),
        (true, vec![started(), exited(none), exited(none)]),
        (true, vec![started(), exited(none), (FrameKind::Empty, vec![0; 3])]),
        (true, vec![started(), exited(none), started()]),
    ];
    for (has_started, words) in wrong {
        let mut scene = Scene::new();
        match exec_with(&mut scene, &words, ExecOptions::new().with_on_exit(OnExit::KillBackground))
            .await
        {
            Err(error @ EngineError::Protocol { .. }) => {
                assert_eq!(error.target_started(), has_started, "{words:?}")
            }
            other => panic!("{words:?}: {other:?}"),
        }
        let again = scene.sandbox.exec(&Command::new(["true"]), ExecOptions::new()).await;
        assert_eq!(again.unwrap_err().kind(), EngineErrorKind::Closed, "{words:?}");
    }
}

/// Figures that nobody can add up make no panic, and an outcome that can be written down.
#[tokio::test(start_paused = true)]
async fn immense_figures_are_figures() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        let exit = exec(&mut scene, &vec![started(), exited(IMMENSE)]).await.unwrap();
        assert_eq!(exit.verdict(), crucible_core::judge(&exit.evidence));
        assert!(!exit.verdict().is_success());
        let mut outcome = crucible_core::Outcome::new("subprocess", exit.evidence);
        outcome.usage = exit.usage;
        let json = serde_json::to_string(&outcome).unwrap();
        let read: crucible_core::Outcome = serde_json::from_str(&json).unwrap();
        assert_eq!(read.verdict(), outcome.verdict());
    }
    let closed = scene.sandbox.close();
    let usage = tokio::select! {
        usage = closed => usage,
        () = scene.double.hear_for_ever() => unreachable!(),
    };
    // Time is mocked and a death is not: whether it was confirmed in time is not what this is about.
    assert!(usage.is_ok() || usage.is_err_and(|error| error.kind() == EngineErrorKind::Lost));
}

/// Every status that wait4(2) can and cannot give.
#[tokio::test(start_paused = true)]
async fn a_wait_status_that_is_none_is_no_ending() {
    let mut scene = Scene::new();
    for wait_status in [0x7f, 0x137f, 0xffff, -1, i32::MIN, 65, 126] {
        let words = vec![
            started(),
            exited(Exited { wait_status, free_bytes: 1, free_inodes: 1, ..Exited::default() }),
        ];
        let exit = exec(&mut scene, &words).await.unwrap();
        assert!(!exit.verdict().is_success(), "{wait_status:#x}: {:?}", exit.evidence);
    }
}

/// What the kernel says of the program comes from the guest: without it, or with another, the layers do not hold.
#[tokio::test(start_paused = true)]
async fn a_status_without_its_layers_is_no_outcome() {
    let text = String::from_utf8(STATUS.to_vec()).unwrap();
    for status in [
        "",
        "\u{0}\u{0}",
        &text.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        &text.replace("CapEff:\t0", "CapEff:\tff"),
    ] {
        let mut scene = Scene::new();
        let words = vec![held_by(HELD, status.as_bytes()), exited(Exited::default())];
        let done = exec(&mut scene, &words).await;
        assert_eq!(done.unwrap_err().kind(), EngineErrorKind::LayerUnavailable, "{status:?}");
    }
    for held in [
        Confinement { capabilities: 1 << 21, ..HELD },
        Confinement { no_new_privs: false, ..HELD },
        Confinement { seccomp: 0, ..HELD },
        Confinement::NONE,
    ] {
        let mut scene = Scene::new();
        let done = exec(&mut scene, &vec![held_by(held, STATUS), exited(Exited::default())]).await;
        assert_eq!(done.unwrap_err().kind(), EngineErrorKind::LayerUnavailable, "{held:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_never_starts_is_ended() {
    for listens in [true, false] {
        let mut scene = Scene::new();
        let began = Instant::now();
        let huge = "x".repeat(100_000);
        let command =
            Command::new(std::iter::once("true").chain(std::iter::repeat_n(huge.as_str(), 12)));
        let silence = async {
            if listens {
                scene.double.hear_for_ever().await;
            }
        };
        let done = tokio::select! {
            done = scene.sandbox.exec(&command, ExecOptions::new()) => done,
            () = async { silence.await; std::future::pending().await } => unreachable!(),
        };
        match done {
            // It is not known what became of it, and that is said.
            Ok(exit) => {
                assert!(listens && exit.evidence.contains(&Evidence::NotConfirmedDead), "{exit:?}")
            }
            Err(error) => assert!(!listens && error.kind() == EngineErrorKind::Lost, "{error:?}"),
        }
        assert!(scene.stand_in.dies(), "{listens}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

/// The deadlines are the host's.
#[tokio::test(start_paused = true)]
async fn one_that_never_ends_is_ended() {
    for cancelled in [false, true] {
        let mut scene = Scene::new();
        let cancel = CancellationToken::new();
        let io = ExecOptions::new().with_wall(Duration::from_secs(7)).with_cancel(cancel.clone());
        if cancelled {
            cancel.cancel();
        }
        let exit = exec_with(&mut scene, &vec![started()], io).await.unwrap();
        let reason = if cancelled { KillReason::Cancelled } else { KillReason::Wall };
        assert!(
            exit.evidence.iter().any(
                |fact| matches!(fact, Evidence::Killed { reason: found, .. } if *found == reason)
            ),
            "{exit:?}"
        );
        assert!(exit.evidence.contains(&Evidence::NotConfirmedDead), "{exit:?}");
        assert!(scene.stand_in.dies());
    }
}

/// It says that everything has ended and lives on, or that something is left and then nothing.
#[tokio::test(start_paused = true)]
async fn one_that_says_that_it_ends_and_does_not_is_ended() {
    for (empty, after) in
        [(true, OnExit::Seal), (false, OnExit::Seal), (false, OnExit::KillBackground)]
    {
        let mut scene = Scene::new();
        let words = vec![
            started(),
            exited(Exited { empty, free_bytes: 1, free_inodes: 1, ..Exited::default() }),
        ];
        let done = exec_with(&mut scene, &words, ExecOptions::new().with_on_exit(after)).await;
        assert!(done.is_ok(), "{empty} {after:?}: {done:?}");
        assert!(scene.stand_in.dies(), "{empty} {after:?}");
    }
}

/// Frames for nobody, without an end, while a command runs: no deadline may starve over them.
#[tokio::test(start_paused = true)]
async fn an_endless_stream_for_nobody_ends_the_command() {
    for begins in [false, true] {
        let mut scene = Scene::new();
        let command = Command::new(["true"]);
        let flood = async {
            let Some((given_up, _)) = scene.double.hear().await else { return };
            let Some((header, _)) = scene.double.hear().await else { return };
            if begins {
                let (kind, payload) = started();
                scene.double.say(kind, header.id, &payload).await;
            }
            let words = frame(FrameKind::Stdout, given_up.id, &[]);
            scene.double.say_for_ever(&words.repeat(300)).await;
        };
        let io = ExecOptions::new().with_wall(Duration::from_secs(5));
        // A question that nobody waits for.
        let _given_up =
            tokio::time::timeout(Duration::ZERO, scene.sandbox.read(&"x".try_into().unwrap(), 1))
                .await;
        let done = tokio::select! {
            done = scene.sandbox.exec(&command, io) => done,
            () = async { flood.await; std::future::pending().await } => unreachable!(),
        };
        let error = done.unwrap_err();
        assert_eq!(
            (error.kind(), error.target_started()),
            (EngineErrorKind::Protocol, begins),
            "{error:?}"
        );
    }
}

/// Where no cgroup counts, the guest does; two figures need not have a sum.
#[tokio::test(start_paused = true)]
async fn cpu_time_beyond_all_numbers_is_too_much() {
    let mut scene = Scene::without(&[Layer::CpuCgroup]);
    let command = Command::new(["true"]);
    let usage = bytes(|w| {
        ProcUsage { user_us: u64::MAX, system_us: u64::MAX, processes: u32::MAX }.encode(w)
    });
    let double = async {
        let Some((exec, _)) = scene.double.hear().await else { return };
        let (kind, payload) = started();
        scene.double.say(kind, exec.id, &payload).await;
        while let Some((header, _)) = scene.double.hear().await {
            match header.kind {
                FrameKind::Measure => scene.double.say(FrameKind::Usage, header.id, &usage).await,
                _ => {
                    let (kind, payload) = exited(Exited { wait_status: 9, ..Exited::default() });
                    scene.double.say(kind, exec.id, &payload).await;
                }
            }
        }
    };
    let exit = tokio::select! {
        done = scene.sandbox.exec(&command, ExecOptions::new()) => done.unwrap(),
        () = async { double.await; std::future::pending().await } => unreachable!(),
    };
    assert_eq!(exit.verdict(), Verdict::LimitExceeded { limit: Limit::Cpu }, "{exit:?}");
}
