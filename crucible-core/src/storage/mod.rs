//! TODO(storage)

pub(crate) mod ext;
pub(crate) mod storage;
