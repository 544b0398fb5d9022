//! TODO(storage)

pub(crate) mod storage;
