//! Who ends when a container's memory runs out.

use super::support::{builder, made, outcome, shell, with_daemon};

/// A program that fills memory which counts as nobody's own, such as memfd_create(2)'s, is as small as the guest. By its score it is the
/// program that goes: the guest tells of it, while the daemon does not hear of each container that ran out of its memory.
#[test]
fn a_program_goes_before_the_guest() {
    with_daemon(async {
        let engine = made(builder()).await.unwrap();
        let scores =
            outcome(&engine, &shell("cat /proc/self/oom_score_adj /proc/1/oom_score_adj")).await;
        assert_eq!(scores.stdout.to_text(), "500\n0\n");
        // Nor does one program leave its score to the guest, or to the next.
        let raised = "echo 900 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj /proc/1/oom_score_adj";
        let scores = outcome(&engine, &shell(raised)).await;
        assert_eq!(scores.stdout.to_text().lines().last(), Some("0"));
        engine.close().await;
    });
}
