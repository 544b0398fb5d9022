//! When evaluations were submitted, roughly.
//!
//! Pages come in the order of ids, and an id is made about when its evaluation is submitted. So it is enough to know, for
//! each ten minutes, the first and the last id of what was submitted then: a query for a time walks the ids between, and
//! nothing is written for each evaluation.

use bytes::Bytes;
use crucible_core::{EvaluationId, Timestamp};
use crucible_kv::{Range, Transaction, seal, unseal};

use super::error::Failure;
use super::keys;
use super::reading::View;

/// How many buckets are read at once.
const AT_ONCE: usize = 1024;

/// What was submitted in ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    count: u64,
    first: EvaluationId,
    last: EvaluationId,
}

impl Bucket {
    fn encode(self, key: &[u8]) -> Bytes {
        let mut value = self.count.to_be_bytes().to_vec();
        value.extend_from_slice(&self.first.to_bytes());
        value.extend_from_slice(&self.last.to_bytes());
        seal(key, &value)
    }

    /// A bucket that cannot be read stays for ever and may have any id, so that it hides nothing.
    fn decode(key: &[u8], value: &Bytes) -> Self {
        let decoded = unseal(key, value).and_then(|value| {
            let (count, ids) = value.split_first_chunk()?;
            let (first, last) = ids.split_first_chunk()?;
            Some(Self {
                count: u64::from_be_bytes(*count),
                first: EvaluationId::from_bytes(*first),
                last: EvaluationId::from_bytes(last.try_into().ok()?),
            })
        });
        decoded.unwrap_or(Self {
            count: u64::MAX,
            first: EvaluationId::from_bytes([u8::MIN; 16]),
            last: EvaluationId::from_bytes([u8::MAX; 16]),
        })
    }
}

/// Takes note of an evaluation that was submitted at this moment.
pub(super) fn add(map: &mut Transaction<'_>, id: EvaluationId, at: Timestamp) -> Result<(), Failure> {
    let key = keys::bucket(at);
    let bucket = match map.get(&key)? {
        None => Bucket { count: 1, first: id, last: id },
        Some(value) => {
            let Bucket { count, first, last } = Bucket::decode(&key, &value);
            Bucket { count: count.saturating_add(1), first: first.min(id), last: last.max(id) }
        }
    };
    let value = bucket.encode(&key);
    map.put(key, value);
    Ok(())
}

/// Takes note that an evaluation is gone that was submitted at this moment. The others keep their bounds, which may be wider
/// than they must be now, until none is left.
pub(super) fn remove(map: &mut Transaction<'_>, at: Timestamp) -> Result<(), Failure> {
    let key = keys::bucket(at);
    let Some(value) = map.get(&key)? else { return Ok(()) };
    let mut bucket = Bucket::decode(&key, &value);
    if bucket.count < u64::MAX {
        bucket.count -= 1;
    }
    if bucket.count == 0 {
        map.delete(key);
    } else {
        let value = bucket.encode(&key);
        map.put(key, value);
    }
    Ok(())
}

/// Between which ids everything is that was submitted from one moment on and before another; `None` if there is nothing.
pub(super) fn bounds(
    view: &View<'_>,
    from: Option<Timestamp>,
    before: Option<Timestamp>,
) -> Result<Option<(EvaluationId, EvaluationId)>, Failure> {
    let last = before.map(keys::bucket);
    let mut range = Range::prefix(keys::BUCKETS);
    if let Some(before_first) = from.and_then(keys::bucket_before) {
        range = range.after(before_first);
    }
    let mut bounds: Option<(EvaluationId, EvaluationId)> = None;
    loop {
        let found = view.map.scan(&range, AT_ONCE)?;
        for (key, value) in &found {
            if last.as_ref().is_some_and(|last| key > last) {
                return Ok(bounds);
            }
            let Bucket { first, last, .. } = Bucket::decode(key, value);
            let (least, most) = bounds.unwrap_or((first, last));
            bounds = Some((least.min(first), most.max(last)));
        }
        match found.last() {
            Some((key, _)) if found.len() == AT_ONCE => range = range.after(key.clone()),
            _ => return Ok(bounds),
        }
    }
}
