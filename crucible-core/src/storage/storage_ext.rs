//! Convenience methods for every storage.

use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::StorageError;
use super::page::{CorruptRecord, RecordPage};
use super::query::RecordQuery;
use super::storage_trait::Storage;
use crate::journal::Record;

/// A stored record, or the reason why the storage cannot read it.
pub type RecordOrCorrupt = Result<Record, CorruptRecord>;

/// Methods that every [`Storage`] has, built from the trait's own methods.
pub trait StorageExt: Storage {
    /// Returns all records that match a query, as a stream over the pages of [`Storage::records`].
    ///
    /// [`RecordQuery::limit`] sets the size of a page, not the length of the stream.
    ///
    /// # Behavior
    /// - The stream has the order of the query, corrupt records included.
    /// - The stream reads the next page when the items of the page before are consumed.
    /// - After an error the stream ends.
    ///
    /// # Cancel safety
    /// Dropping the stream has no effect on the storage.
    ///
    /// # Errors
    /// An item is an error if [`Storage::records`] fails.
    fn records_stream(
        &self,
        query: RecordQuery,
    ) -> BoxStream<'_, Result<RecordOrCorrupt, StorageError>> {
        let pages = stream::try_unfold(Some(query), move |query| async move {
            let Some(query) = query else { return Ok(None) };
            let mut page = self.records(&query).await?;
            let next = page.next.take().map(|next| query.clone().with_after(next));
            let items = in_order(page, query.newest_first).into_iter().map(Ok);
            Ok(Some((stream::iter(items), next)))
        });
        pages.try_flatten().boxed()
    }
}

impl<T: Storage + ?Sized> StorageExt for T {}

/// Returns the readable and the corrupt records of a page, in the order of their ids.
fn in_order(page: RecordPage, newest_first: bool) -> Vec<RecordOrCorrupt> {
    let mut items: Vec<RecordOrCorrupt> = page.records.into_iter().map(Ok).collect();
    if !page.corrupt.is_empty() {
        items.extend(page.corrupt.into_iter().map(Err));
        items.sort_by_key(|item| match item {
            Ok(record) => record.id,
            Err(corrupt) => corrupt.evaluation,
        });
        if newest_first {
            items.reverse();
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Event, EventKind};
    use crate::model::{Digest, Evaluation, EvaluationId, Timestamp};

    fn record(id: EvaluationId) -> Record {
        let kind = EventKind::Submitted { evaluation: Evaluation::command(["true"]).into() };
        let event = Event::sealed(id, 1, Timestamp::now(), kind, Digest::ZERO);
        Record::fold([&event]).unwrap().unwrap()
    }

    #[test]
    fn corrupt_records_keep_their_place_in_the_order() {
        let ids = [(); 3].map(|()| EvaluationId::new());
        let page = |first: usize, last: usize| {
            RecordPage::new(vec![record(ids[first]), record(ids[last])], None)
                .with_corrupt(vec![CorruptRecord::new(ids[1], "a flipped bit")])
        };
        let found = |items: Vec<RecordOrCorrupt>| -> Vec<Result<EvaluationId, EvaluationId>> {
            let ids = items
                .into_iter()
                .map(|item| item.map(|record| record.id).map_err(|corrupt| corrupt.evaluation));
            ids.collect()
        };
        let [first, second, third] = ids;
        let oldest_first = found(in_order(page(0, 2), false));
        assert_eq!(oldest_first, [Ok(first), Err(second), Ok(third)]);
        let newest_first = found(in_order(page(2, 0), true));
        assert_eq!(newest_first, [Ok(third), Err(second), Ok(first)]);
    }
}
