//! Tests of every decoder of the protocol with arbitrary input.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports a failure")]

mod arbitrary;
mod bounds;
mod round_trip;
mod values;
