//! Priorities of evaluations.

use serde::{Deserialize, Serialize};

/// The priority of an evaluation. A [`Queue`](crate::Queue) ages tickets, so that low priorities do
/// not starve.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// For background work.
    Low,
    /// The default.
    #[default]
    Normal,
    /// For interactive work.
    High,
}

impl Priority {
    /// All priorities, from the lowest.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];
}
