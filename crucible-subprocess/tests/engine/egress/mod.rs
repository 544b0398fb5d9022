//! Tests of allow-lists with servers on the loopback. Each refusal has an allowed control.

mod bounds;
mod counted;
mod policy;
mod reach;
mod refused;
mod support;
