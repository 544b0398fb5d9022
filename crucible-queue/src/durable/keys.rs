//! Where everything has its place in the map. All keys of a queue begin with `q`, so that a storage can live in the same map.

use bytes::Bytes;
use crucible_core::EvaluationId;

/// The version of the layout.
pub(super) const FORMAT: &[u8] = b"q.format";

/// What the keys of tickets begin with; their evaluation's id follows.
pub(super) const TICKETS: &[u8] = b"qt";

pub(super) fn ticket(evaluation: EvaluationId) -> Bytes {
    [TICKETS, &evaluation.to_bytes()].concat().into()
}

/// Whose ticket a key is of.
pub(super) fn evaluation(key: &[u8]) -> Option<EvaluationId> {
    Some(EvaluationId::from_bytes(key.strip_prefix(TICKETS)?.try_into().ok()?))
}
