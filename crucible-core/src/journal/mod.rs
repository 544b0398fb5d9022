//! Journals: hash-chained events, the record that follows from them, and their verification.

mod canonical;
mod event;
mod record;
mod record_state;
mod verify;

pub(crate) use canonical::canonical_json;
pub use event::{Event, EventKind, RequeueReason};
pub use record::{Record, TransitionError};
pub use record_state::{ParseRecordStateError, RecordState};
pub use verify::{VerifyError, verify, verify_against};
