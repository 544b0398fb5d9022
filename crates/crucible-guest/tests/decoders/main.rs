//! Every decoder of the protocol, given anything: it says what the bytes mean or that they mean nothing, and no more.

#![expect(clippy::unwrap_used, reason = "in a test it is how a failure is reported")]

mod arbitrary;
mod bounds;
mod round_trip;
mod values;
