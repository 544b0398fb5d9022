//! An approximate index of submission times.
//!
//! Pages are ordered by id, and an id is created at about the time of its submission. The index
//! therefore only contains the first and the last id of each second and of each ten minutes. A
//! query for a time range visits the ids in between. The long buckets serve queries over months,
//! and the short ones serve the ends of the range.

use std::ops::{Bound, RangeInclusive};

use bytes::Bytes;
use crucible_core::{EvaluationId, Timestamp};
use crucible_kv::{KvError, Range, StoreReader, Transaction, add_checksum, verify_checksum};

use super::keys;

/// The duration of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BucketSpan {
    /// The byte in the keys of these buckets.
    byte: u8,
    micros: u64,
}

const SHORT: BucketSpan = BucketSpan { byte: 1, micros: 1_000_000 };
const LONG: BucketSpan = BucketSpan { byte: 2, micros: 600 * SHORT.micros };

impl BucketSpan {
    /// Returns the number of the bucket of a time.
    fn number(self, at: Timestamp) -> u64 {
        at.as_micros() / self.micros
    }

    fn key(self, at: Timestamp) -> Bytes {
        keys::time_bucket(self.byte, self.number(at))
    }
}

/// The evaluations that were submitted within a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TimeBucket {
    count: u64,
    first: EvaluationId,
    last: EvaluationId,
}

impl TimeBucket {
    fn encode(self, key: &[u8]) -> Bytes {
        let mut value = self.count.to_be_bytes().to_vec();
        value.extend_from_slice(&self.first.to_bytes());
        value.extend_from_slice(&self.last.to_bytes());
        add_checksum(key, &value)
    }

    /// Decodes a bucket. A corrupt bucket covers all ids, so that it hides no evaluation, and is
    /// never deleted.
    fn decode(key: &[u8], value: &Bytes) -> Self {
        let decoded = verify_checksum(key, value).and_then(|value| {
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

/// Adds an evaluation that was submitted at a time.
pub(super) fn add(
    map: &mut Transaction<'_>,
    id: EvaluationId,
    at: Timestamp,
) -> Result<(), KvError> {
    for span in [SHORT, LONG] {
        let key = span.key(at);
        let bucket = match map.get(&key)? {
            None => TimeBucket { count: 1, first: id, last: id },
            Some(value) => {
                let TimeBucket { count, first, last } = TimeBucket::decode(&key, &value);
                TimeBucket {
                    count: count.saturating_add(1),
                    first: first.min(id),
                    last: last.max(id),
                }
            }
        };
        let value = bucket.encode(&key);
        map.put(key, value);
    }
    Ok(())
}

/// Removes an evaluation that was submitted at a time. The bounds of its buckets stay, possibly
/// wider than necessary, until the buckets are empty.
pub(super) fn remove(map: &mut Transaction<'_>, at: Timestamp) -> Result<(), KvError> {
    for span in [SHORT, LONG] {
        let key = span.key(at);
        let Some(value) = map.get(&key)? else { continue };
        let mut bucket = TimeBucket::decode(&key, &value);
        if bucket.count < u64::MAX {
            bucket.count -= 1;
        }
        if bucket.count == 0 {
            map.delete(key);
        } else {
            let value = bucket.encode(&key);
            map.put(key, value);
        }
    }
    Ok(())
}

/// The first and the last id of a set.
type Bounds = Option<(EvaluationId, EvaluationId)>;

/// Returns bounds for the ids of all evaluations that were submitted in a time range; `None` if
/// there are none.
pub(super) fn bounds(
    map: StoreReader<'_>,
    from: Option<Timestamp>,
    before: Option<Timestamp>,
) -> Result<Bounds, KvError> {
    let mut bounds = None;
    let (first, last) = (
        from.unwrap_or(Timestamp::from_micros(0)),
        before.unwrap_or(Timestamp::from_micros(u64::MAX)),
    );
    let (head, tail) = (LONG.number(first), LONG.number(last));
    let ratio = LONG.micros / SHORT.micros;
    // Use short buckets at both ends, and long buckets in between.
    let head_end = head.saturating_mul(ratio).saturating_add(ratio - 1).min(SHORT.number(last));
    widen(map, &mut bounds, SHORT, SHORT.number(first)..=head_end)?;
    if head < tail {
        widen(map, &mut bounds, LONG, head + 1..=tail - 1)?;
        widen(map, &mut bounds, SHORT, tail.saturating_mul(ratio)..=SHORT.number(last))?;
    }
    Ok(bounds)
}

/// Widens bounds by the ids of some buckets.
fn widen(
    map: StoreReader<'_>,
    bounds: &mut Bounds,
    span: BucketSpan,
    numbers: RangeInclusive<u64>,
) -> Result<(), KvError> {
    let key = |number| keys::time_bucket(span.byte, number);
    let (first, last) = (key(*numbers.start()), key(*numbers.end()));
    let range = Range::between(Bound::Included(first), Bound::Included(last));
    map.for_each(range, |key, value| {
        let TimeBucket { first, last, .. } = TimeBucket::decode(&key, &value);
        let (min, max) = bounds.unwrap_or((first, last));
        *bounds = Some((min.min(first), max.max(last)));
    })
}
