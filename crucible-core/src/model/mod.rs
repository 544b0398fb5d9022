//! The data model: evaluations and their parts.
//!
//! Types in this module have a wire form, and depend on no other module of this crate.

mod collect;
mod command;
mod digest;
mod error_report;
mod evaluation;
mod id;
mod input_file;
mod language;
mod layer;
mod limits;
mod network;
mod path;
mod priority;
mod problem;
mod retry;
mod secret;
mod signal;
mod time;
pub(crate) mod wire_bytes;

pub use collect::Collect;
pub(crate) use collect::PathPatterns;
pub use command::{Command, EnvValue};
pub use digest::{Digest, DigestStream, ParseDigestError};
pub use error_report::{BoxError, ErrorReport, error_chain};
pub use evaluation::{Evaluation, Program};
pub use id::{ClaimId, EvaluationId, ParseIdError, WorkerId};
pub use input_file::InputFile;
pub use language::{Compile, Language, Languages};
pub use layer::{Isolation, Layer, ParseLayerError};
pub use limits::{Limit, Limits, ParseLimitError};
pub use network::{Endpoint, Network, ParseEndpointError};
pub use path::{SandboxPath, SandboxPathError};
pub use priority::Priority;
pub use problem::{InvalidInput, Problem};
pub use retry::Retry;
pub use secret::Secret;
pub use signal::{ParseSignalError, Signal};
pub use time::Timestamp;
pub(crate) use time::duration_us;
