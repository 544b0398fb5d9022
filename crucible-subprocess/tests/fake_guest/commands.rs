//! Hostile responses to the request to run a command.

use std::time::Duration;

use crucible_core::{
    Command, EngineError, EngineErrorKind, Evidence, ExecOptions, ExecOutcome, KillReason, Layer,
    Limit, OnExit, Sandbox as _, Verdict,
};
use crucible_guest::protocol::{Confinement, Exited, Failure, FrameKind, ProcUsage, Started, Step};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{FakeGuest, FakeGuestFixture, bytes, frame};

/// The kernel's status of a program with every layer in force.
const STATUS: &[u8] =
    b"Name:\tx\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t2\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\n\
                        NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t99\n";

/// The confinement of a program with every layer in force.
const CONFINED: Confinement = Confinement { capabilities: 0, no_new_privs: true, seccomp: 2 };

/// An exit report with the largest numbers.
const LARGEST: Exited = Exited {
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

/// The frames of a response.
type Response = Vec<(FrameKind, Vec<u8>)>;

fn started() -> (FrameKind, Vec<u8>) {
    started_with(CONFINED, STATUS)
}

fn started_with(confinement: Confinement, status: &[u8]) -> (FrameKind, Vec<u8>) {
    let started = Started { pid: 2, ran_us: u64::MAX, confinement, status };
    (FrameKind::Started, bytes(|writer| started.encode(writer)))
}

fn exited(exited: Exited) -> (FrameKind, Vec<u8>) {
    (FrameKind::Exited, bytes(|writer| exited.encode(writer)))
}

fn failed(kind: FrameKind) -> (FrameKind, Vec<u8>) {
    (kind, bytes(|writer| Failure { step: Step::TARGET_EXEC, errno: 2 }.encode(writer)))
}

/// Receives the request for a command, sends the response, and reads from then on.
async fn respond(guest: &mut FakeGuest, response: &Response) {
    let Some((header, _)) = guest.receive().await else { return };
    assert_eq!(header.kind, FrameKind::Exec);
    for (kind, payload) in response {
        guest.send(*kind, header.id, payload).await;
    }
    guest.receive_forever().await;
}

async fn exec_with(
    fixture: &mut FakeGuestFixture,
    response: &Response,
    options: ExecOptions,
) -> Result<ExecOutcome, EngineError> {
    let command = Command::new(["true"]);
    tokio::select! {
        done = fixture.sandbox.exec(&command, options) => done,
        () = async {
            respond(&mut fixture.guest, response).await;
            std::future::pending().await
        } => unreachable!(),
    }
}

async fn exec(
    fixture: &mut FakeGuestFixture,
    response: &Response,
) -> Result<ExecOutcome, EngineError> {
    exec_with(fixture, response, ExecOptions::new()).await
}

#[tokio::test(start_paused = true)]
async fn frames_in_wrong_order_end_the_sandbox() {
    let none = Exited::default();
    let empty = (FrameKind::Empty, vec![0; 4]);
    let wrong: Vec<(bool, Response)> = vec![
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
    for (has_started, response) in wrong {
        let mut fixture = FakeGuestFixture::new();
        match exec_with(
            &mut fixture,
            &response,
            ExecOptions::new().with_on_exit(OnExit::KillBackground),
        )
        .await
        {
            Err(error @ EngineError::Protocol { .. }) => {
                assert_eq!(error.target_started(), has_started, "{response:?}")
            }
            other => panic!("{response:?}: {other:?}"),
        }
        let again = fixture.sandbox.exec(&Command::new(["true"]), ExecOptions::new()).await;
        assert_eq!(again.unwrap_err().kind(), EngineErrorKind::Closed, "{response:?}");
    }
}

/// Numbers without a sum cause no panic, and the outcome can be serialized.
#[tokio::test(start_paused = true)]
async fn largest_numbers_give_a_valid_outcome() {
    let mut fixture = FakeGuestFixture::new();
    for _ in 0..3 {
        let exit = exec(&mut fixture, &vec![started(), exited(LARGEST)]).await.unwrap();
        assert_eq!(exit.verdict(), crucible_core::judge(&exit.evidence));
        assert!(!exit.verdict().is_success());
        let mut outcome = crucible_core::Outcome::new("subprocess", exit.evidence);
        outcome.usage = exit.usage;
        let json = serde_json::to_string(&outcome).unwrap();
        let read: crucible_core::Outcome = serde_json::from_str(&json).unwrap();
        assert_eq!(read.verdict(), outcome.verdict());
    }
    let closed = fixture.sandbox.close();
    let usage = tokio::select! {
        usage = closed => usage,
        () = fixture.guest.receive_forever() => unreachable!(),
    };
    // The mocked time may pass before the real death is confirmed.
    assert!(usage.is_ok() || usage.is_err_and(|error| error.kind() == EngineErrorKind::Lost));
}

/// Wait statuses that wait4(2) cannot return for an ended process.
#[tokio::test(start_paused = true)]
async fn invalid_wait_status_is_no_success() {
    let mut fixture = FakeGuestFixture::new();
    for wait_status in [0x7f, 0x137f, 0xffff, -1, i32::MIN, 65, 126] {
        let response = vec![
            started(),
            exited(Exited { wait_status, free_bytes: 1, free_inodes: 1, ..Exited::default() }),
        ];
        let exit = exec(&mut fixture, &response).await.unwrap();
        assert!(!exit.verdict().is_success(), "{wait_status:#x}: {:?}", exit.evidence);
    }
}

/// The kernel's status of the program comes from the guest. Without it, no layer is in force.
#[tokio::test(start_paused = true)]
async fn status_without_a_layer_is_an_error() {
    let text = String::from_utf8(STATUS.to_vec()).unwrap();
    for status in [
        "",
        "\u{0}\u{0}",
        &text.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
        &text.replace("CapEff:\t0", "CapEff:\tff"),
    ] {
        let mut fixture = FakeGuestFixture::new();
        let response = vec![started_with(CONFINED, status.as_bytes()), exited(Exited::default())];
        let done = exec(&mut fixture, &response).await;
        assert_eq!(done.unwrap_err().kind(), EngineErrorKind::LayerUnavailable, "{status:?}");
    }
    for confinement in [
        Confinement { capabilities: 1 << 21, ..CONFINED },
        Confinement { no_new_privs: false, ..CONFINED },
        Confinement { seccomp: 0, ..CONFINED },
        Confinement::NONE,
    ] {
        let mut fixture = FakeGuestFixture::new();
        let done =
            exec(&mut fixture, &vec![started_with(confinement, STATUS), exited(Exited::default())])
                .await;
        assert_eq!(done.unwrap_err().kind(), EngineErrorKind::LayerUnavailable, "{confinement:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guest_that_starts_no_command_is_killed() {
    for reads in [true, false] {
        let mut fixture = FakeGuestFixture::new();
        let began = Instant::now();
        let huge = "x".repeat(100_000);
        let command =
            Command::new(std::iter::once("true").chain(std::iter::repeat_n(huge.as_str(), 12)));
        let silence = async {
            if reads {
                fixture.guest.receive_forever().await;
            }
        };
        let done = tokio::select! {
            done = fixture.sandbox.exec(&command, ExecOptions::new()) => done,
            () = async { silence.await; std::future::pending().await } => unreachable!(),
        };
        match done {
            // The outcome reports that the end is unknown.
            Ok(exit) => {
                assert!(reads && exit.evidence.contains(&Evidence::NotConfirmedDead), "{exit:?}")
            }
            Err(error) => assert!(!reads && error.kind() == EngineErrorKind::Lost, "{error:?}"),
        }
        assert!(fixture.process.dies(), "{reads}");
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

/// The host enforces the deadlines.
#[tokio::test(start_paused = true)]
async fn guest_that_never_reports_the_exit_is_killed() {
    for cancelled in [false, true] {
        let mut fixture = FakeGuestFixture::new();
        let cancel = CancellationToken::new();
        let options =
            ExecOptions::new().with_wall(Duration::from_secs(7)).with_cancel(cancel.clone());
        if cancelled {
            cancel.cancel();
        }
        let exit = exec_with(&mut fixture, &vec![started()], options).await.unwrap();
        let reason = if cancelled { KillReason::Cancelled } else { KillReason::Wall };
        assert!(
            exit.evidence.iter().any(
                |fact| matches!(fact, Evidence::Killed { reason: found, .. } if *found == reason)
            ),
            "{exit:?}"
        );
        assert!(exit.evidence.contains(&Evidence::NotConfirmedDead), "{exit:?}");
        assert!(fixture.process.dies());
    }
}

/// The guest reports that all processes have ended and stays, or reports survivors and then
/// nothing.
#[tokio::test(start_paused = true)]
async fn guest_that_does_not_exit_as_reported_is_killed() {
    for (empty, after) in
        [(true, OnExit::Seal), (false, OnExit::Seal), (false, OnExit::KillBackground)]
    {
        let mut fixture = FakeGuestFixture::new();
        let response = vec![
            started(),
            exited(Exited { empty, free_bytes: 1, free_inodes: 1, ..Exited::default() }),
        ];
        let done = exec_with(&mut fixture, &response, ExecOptions::new().with_on_exit(after)).await;
        assert!(done.is_ok(), "{empty} {after:?}: {done:?}");
        assert!(fixture.process.dies(), "{empty} {after:?}");
    }
}

/// An endless stream of late responses must not starve the deadlines of a command.
#[tokio::test(start_paused = true)]
async fn endless_late_responses_end_the_command() {
    for has_started in [false, true] {
        let mut fixture = FakeGuestFixture::new();
        let command = Command::new(["true"]);
        let flood = async {
            let Some((dropped, _)) = fixture.guest.receive().await else { return };
            let Some((header, _)) = fixture.guest.receive().await else { return };
            if has_started {
                let (kind, payload) = started();
                fixture.guest.send(kind, header.id, &payload).await;
            }
            let response = frame(FrameKind::Stdout, dropped.id, &[]);
            fixture.guest.send_forever(&response.repeat(300)).await;
        };
        let options = ExecOptions::new().with_wall(Duration::from_secs(5));
        // A dropped request.
        let _dropped =
            tokio::time::timeout(Duration::ZERO, fixture.sandbox.read(&"x".try_into().unwrap(), 1))
                .await;
        let done = tokio::select! {
            done = fixture.sandbox.exec(&command, options) => done,
            () = async { flood.await; std::future::pending().await } => unreachable!(),
        };
        let error = done.unwrap_err();
        assert_eq!(
            (error.kind(), error.target_started()),
            (EngineErrorKind::Protocol, has_started),
            "{error:?}"
        );
    }
}

/// Without a cgroup, the guest reports the CPU time, and two numbers may have no sum.
#[tokio::test(start_paused = true)]
async fn overflowing_cpu_time_exceeds_the_limit() {
    let mut fixture = FakeGuestFixture::without(&[Layer::CpuCgroup]);
    let command = Command::new(["true"]);
    let usage = bytes(|w| {
        ProcUsage { user_us: u64::MAX, system_us: u64::MAX, processes: u32::MAX }.encode(w)
    });
    let guest = async {
        let Some((exec, _)) = fixture.guest.receive().await else { return };
        let (kind, payload) = started();
        fixture.guest.send(kind, exec.id, &payload).await;
        while let Some((header, _)) = fixture.guest.receive().await {
            match header.kind {
                FrameKind::Measure => fixture.guest.send(FrameKind::Usage, header.id, &usage).await,
                _ => {
                    let (kind, payload) = exited(Exited { wait_status: 9, ..Exited::default() });
                    fixture.guest.send(kind, exec.id, &payload).await;
                }
            }
        }
    };
    let exit = tokio::select! {
        done = fixture.sandbox.exec(&command, ExecOptions::new()) => done.unwrap(),
        () = async { guest.await; std::future::pending().await } => unreachable!(),
    };
    assert_eq!(exit.verdict(), Verdict::LimitExceeded { limit: Limit::Cpu }, "{exit:?}");
}
