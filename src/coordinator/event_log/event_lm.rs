//! The identification of an LM in an event.

use crate::lm::LmStatus;
use serde::Serialize;

/// One model at one address with one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct EventLm {
    pub(super) model: String,
    /// Absent for a simulated LM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) address: String,
    /// The name of the variable that holds its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_variable: Option<String>,
}

impl From<&LmStatus> for EventLm {
    fn from(status: &LmStatus) -> EventLm {
        EventLm {
            model: status.model.clone(),
            address: status.address.clone(),
            key_variable: status.key_variable.clone(),
        }
    }
}
