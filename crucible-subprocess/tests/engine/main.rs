//! Tests of the engine on this machine's kernel: with every layer as root, with fewer as an
//! ordinary user.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod cancellation;
mod cgroups;
mod conformance;
mod descriptors;
mod doctor;
mod egress;
mod groups;
mod languages;
mod layers;
mod leftovers;
mod neighbours;
mod ordinary;
mod output;
mod ready_interpreters;
mod ready_sandboxes;
mod restart;
mod root_fs;
mod runs;
mod slots;
mod small_memory;
mod support;
mod switched_off;
mod unprivileged_target;
mod violations;
mod waivers;
