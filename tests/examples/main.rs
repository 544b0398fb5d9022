//! The examples, run as the programs that they are: what they print, where, and with which exit status they end.

#![cfg(all(feature = "subprocess", feature = "memory"))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what helps a test may stop at the first surprise, as the test itself may"
)]

mod batch;
mod batch_interrupts;
mod damage;
mod evaluate;
mod evaluate_files;
mod evaluate_usage;
mod history;
mod session_and_embed;
mod support;
mod terminal;
