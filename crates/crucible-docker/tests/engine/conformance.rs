//! The engine suite on containers of the daemon's own runtime, and on gVisor's.

use crucible_conformance::engine_conformance;

use super::support::{builder, gvisor, made};

engine_conformance!(docker, || made(builder()), or skip);

engine_conformance!(in_gvisor, || made(gvisor()), or skip);
