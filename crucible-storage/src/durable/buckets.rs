//! When evaluations were submitted, roughly.
//!
//! Pages come in the order of ids, and an id is made about when its evaluation is submitted. So it is enough to know, for
//! each second and each ten minutes, the first and the last id of what was submitted then: a query for a time walks the ids
//! between, and nothing is written for each evaluation. The longer spans are for queries of months, the shorter for their ends.

use std::ops::{Bound, RangeInclusive};

use bytes::Bytes;
use crucible_core::{EvaluationId, Timestamp};
use crucible_kv::{KvError, Range, Reader, Transaction, seal, unseal};

use super::keys;

/// How many buckets are read at once.
const AT_ONCE: usize = 1024;

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// Tells it apart in keys.
    byte: u8,
    micros: u64,
}

const SHORT: Span = Span { byte: 1, micros: 1_000_000 };
const LONG: Span = Span { byte: 2, micros: 600 * SHORT.micros };

impl Span {
    fn number(self, at: Timestamp) -> u64 {
        at.as_micros() / self.micros
    }

    fn key(self, at: Timestamp) -> Bytes {
        keys::bucket(self.byte, self.number(at))
    }
}

/// What was submitted in a span.
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
pub(super) fn add(
    map: &mut Transaction<'_>,
    id: EvaluationId,
    at: Timestamp,
) -> Result<(), KvError> {
    for span in [SHORT, LONG] {
        let key = span.key(at);
        let bucket = match map.get(&key)? {
            None => Bucket { count: 1, first: id, last: id },
            Some(value) => {
                let Bucket { count, first, last } = Bucket::decode(&key, &value);
                Bucket { count: count.saturating_add(1), first: first.min(id), last: last.max(id) }
            }
        };
        let value = bucket.encode(&key);
        map.put(key, value);
    }
    Ok(())
}

/// Takes note that an evaluation is gone that was submitted at this moment. The others keep their bounds, which may be wider
/// than they must be now, until none is left.
pub(super) fn remove(map: &mut Transaction<'_>, at: Timestamp) -> Result<(), KvError> {
    for span in [SHORT, LONG] {
        let key = span.key(at);
        let Some(value) = map.get(&key)? else { continue };
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
    }
    Ok(())
}

/// The first and the last of some ids.
type Bounds = Option<(EvaluationId, EvaluationId)>;

/// Between which ids everything is that was submitted from one moment on and before another; `None` if there is nothing.
pub(super) fn bounds(
    map: Reader<'_>,
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
    // The ends by short spans, and all between by long ones.
    let head_end = head.saturating_mul(ratio).saturating_add(ratio - 1).min(SHORT.number(last));
    widen(map, &mut bounds, SHORT, SHORT.number(first)..=head_end)?;
    if head < tail {
        widen(map, &mut bounds, LONG, head + 1..=tail - 1)?;
        widen(map, &mut bounds, SHORT, tail.saturating_mul(ratio)..=SHORT.number(last))?;
    }
    Ok(bounds)
}

/// Widens bounds by what is in some buckets.
fn widen(
    map: Reader<'_>,
    bounds: &mut Bounds,
    span: Span,
    numbers: RangeInclusive<u64>,
) -> Result<(), KvError> {
    let key = |number| keys::bucket(span.byte, number);
    let (first, last) = (key(*numbers.start()), key(*numbers.end()));
    let mut range = Range::between(Bound::Included(first), Bound::Included(last));
    loop {
        let found = map.scan(&range, AT_ONCE)?;
        for (key, value) in &found {
            let Bucket { first, last, .. } = Bucket::decode(key, value);
            let (least, most) = bounds.unwrap_or((first, last));
            *bounds = Some((least.min(first), most.max(last)));
        }
        match found.last() {
            Some((key, _)) if found.len() == AT_ONCE => range = range.after(key.clone()),
            _ => return Ok(()),
        }
    }
}
