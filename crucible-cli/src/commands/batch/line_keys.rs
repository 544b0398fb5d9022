//! The idempotency keys of a batch's lines, by which a restarted batch finds its evaluations.

use std::collections::HashMap;

use crucible::model::{Digest, Retry};
use crucible::{Evaluation, Network};

/// The longest key that is kept as it is: an idempotency key has at most 256 bytes.
const MAX_KEY_BYTES: usize = 200;

/// The number of times that each line without a key occurred.
#[derive(Debug, Default)]
pub(super) struct LineKeys(HashMap<Digest, u64>);

impl LineKeys {
    /// Gives an evaluation the key of its line. Without one, the key is the digest of its content
    /// and a count of the equal lines before it.
    ///
    /// A program without a network has no effect outside its sandbox, so it may run twice: an
    /// interrupted batch leaves it for the next time.
    pub(super) fn assign(&mut self, key: &serde_json::Value, evaluation: Evaluation) -> Evaluation {
        let key = if key.is_null() {
            let content = serde_json::to_string(&evaluation).unwrap_or_default();
            let digest = Digest::of(content.as_bytes());
            let count = self.0.entry(digest).or_default();
            *count += 1;
            format!("line {digest} {count}")
        } else {
            idempotency_key(key)
        };
        let may_repeat = matches!(evaluation.network, Network::None);
        let evaluation = evaluation.with_idempotency_key(key);
        if may_repeat {
            evaluation.with_retry(Retry::default().with_idempotent())
        } else {
            evaluation
        }
    }
}

/// Returns the key of a line as JSON, or the hash of a long key.
fn idempotency_key(key: &serde_json::Value) -> String {
    let text = key.to_string();
    if text.len() <= MAX_KEY_BYTES {
        text
    } else {
        format!("\"sha256:{}\"", Digest::of(text.as_bytes()))
    }
}
