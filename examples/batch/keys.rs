//! What the lines of a batch are known by when it is started again.

use std::collections::HashMap;

use crucible::{Digest, Evaluation, Network, Retry};

/// The longest key that is kept as it is: an idempotency key has at most 256 bytes.
const KEY_MAX: usize = 200;

/// What a batch's line is known by, as an idempotency key: the key as JSON, or where it is long its hash.
fn idempotency_key(key: &serde_json::Value) -> String {
    let text = key.to_string();
    if text.len() <= KEY_MAX { text } else { format!("\"sha256:{}\"", Digest::of(text.as_bytes())) }
}

/// How often each line without a key has come.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<Digest, u64>);

impl Keys {
    /// Gives an evaluation the key of its line; without one, that of its content and its place among those with the same.
    ///
    /// A program without a network can do nothing that its sandbox does not end, so that it may be run twice: a batch that is
    /// interrupted leaves it for the next time.
    pub(crate) fn mark(&mut self, key: &serde_json::Value, evaluation: Evaluation) -> Evaluation {
        let key = if key.is_null() {
            let content =
                Digest::of(serde_json::to_string(&evaluation).unwrap_or_default().as_bytes());
            let count = self.0.entry(content).or_default();
            *count += 1;
            format!("line {content} {count}")
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
