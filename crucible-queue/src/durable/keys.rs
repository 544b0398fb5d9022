//! The keys of a queue in a store. All of them begin with `q`, so that a storage can use the same
//! store.

use bytes::Bytes;
use crucible_core::EvaluationId;

/// The key of the layout version.
pub(super) const FORMAT: &[u8] = b"q.format";

/// The prefix of ticket keys. The id of the evaluation follows.
pub(super) const TICKETS: &[u8] = b"qt";

/// Returns the key of a ticket.
pub(super) fn ticket(evaluation: EvaluationId) -> Bytes {
    [TICKETS, &evaluation.to_bytes()].concat().into()
}

/// Returns the evaluation of a ticket key; `None` if the key is invalid.
pub(super) fn evaluation(key: &[u8]) -> Option<EvaluationId> {
    Some(EvaluationId::from_bytes(key.strip_prefix(TICKETS)?.try_into().ok()?))
}
