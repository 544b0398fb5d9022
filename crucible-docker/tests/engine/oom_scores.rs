//! The OOM scores of guest and program: which of them the kernel kills when memory runs out.

use super::support::{build_engine, builder, outcome, shell, with_daemon};
use crucible_core::Layer;

/// Memory without an owner, such as memfd_create(2)'s, makes a program as small as the guest. The
/// score makes the kernel kill the program. The guest must survive, because it reports the kill:
/// the daemon does not report each container that runs out of memory.
///
/// The guest has its own score before the program starts, so that the order is certain. With
/// Landlock the program inherits its score from the guest, and without Landlock it sets the score
/// itself.
#[test]
fn program_has_a_higher_oom_score_than_the_guest() {
    with_daemon(async {
        for engine in [builder(), builder().waive(Layer::Landlock)] {
            let engine = build_engine(engine).await.unwrap();
            let scores = shell("cat /proc/self/oom_score_adj /proc/1/oom_score_adj");
            let scores = outcome(&engine, &scores).await;
            assert_eq!(scores.stdout.to_text(), "500\n0\n");
            // A program that changes its score affects neither the guest nor the next program.
            let change = shell(
                "echo 900 >/proc/self/oom_score_adj; \
                 cat /proc/self/oom_score_adj /proc/1/oom_score_adj",
            );
            let changed = outcome(&engine, &change).await;
            assert_eq!(changed.stdout.to_text().lines().last(), Some("0"));
            let next = outcome(&engine, &shell("cat /proc/self/oom_score_adj")).await;
            assert_eq!(next.stdout.to_text(), "500\n");
            engine.close().await;
        }
    });
}
