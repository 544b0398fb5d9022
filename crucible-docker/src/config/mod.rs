//! Settings of an engine.

mod device_request;
mod pull_policy;
mod runtime;
mod settings;

pub use device_request::{DeviceRequest, Devices};
pub use pull_policy::{Credentials, PullPolicy, PullProgress};
pub use runtime::Runtime;

pub(crate) use pull_policy::PullWatcher;
pub(crate) use settings::Settings;
