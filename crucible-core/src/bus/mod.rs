//! TODO(bus)

pub(crate) mod bus;
pub(crate) mod local_bus;
