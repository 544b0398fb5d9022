//! Cases on blobs.

use bytes::Bytes;
use crucible_core::Digest;

use super::support::Subject;

fn contents() -> Vec<Bytes> {
    let large: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    vec![Bytes::new(), Bytes::from_static(b"\0"), Bytes::from_static(b"abc"), large.into()]
}

/// A blob is read back by the hash of its bytes.
pub async fn blob_is_read_back_by_its_hash(storage: Subject) {
    for content in contents() {
        let digest = storage.put_blob(content.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&content));
        assert_eq!(storage.blob(digest).await.unwrap(), Some(content));
    }
}

/// Equal bytes are one blob with one name. A second write leaves the first intact.
pub async fn equal_bytes_are_one_blob(storage: Subject) {
    for content in contents() {
        let first = storage.put_blob(content.clone()).await.unwrap();
        let again = storage.put_blob(Bytes::copy_from_slice(&content)).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(storage.blob(first).await.unwrap(), Some(content));
    }
    let different = storage.put_blob(Bytes::from_static(b"abd")).await.unwrap();
    assert_ne!(different, Digest::of(b"abc"));
}

/// An unknown blob is `None`.
pub async fn unknown_blob_is_none(storage: Subject) {
    assert_eq!(storage.blob(Digest::of(b"never kept")).await.unwrap(), None);
    assert_eq!(storage.blob(Digest::ZERO).await.unwrap(), None);
    storage.put_blob(Bytes::from_static(b"kept")).await.unwrap();
    assert_eq!(storage.blob(Digest::of(b"never kept")).await.unwrap(), None);
}
