//! The engine on this machine's kernel: as root all of it, as an ordinary user what such a user can have.

#![expect(clippy::unwrap_used, reason = "in a test it is how a failure is reported")]

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
