//! Where a run's workers are: in this process, in other processes, or both.

use std::num::NonZeroUsize;

/// The workers that can take a run's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// Only this process has workers.
    InProcess {
        /// LM calls that they have in flight at most.
        in_flight: NonZeroUsize,
    },
    /// Only other processes have workers.
    Elsewhere,
    /// This process has workers, and others may have more.
    Both {
        /// LM calls that the workers of this process have in flight at most.
        in_flight: NonZeroUsize,
    },
}

impl Workers {
    /// Whether this process has workers.
    pub fn are_here(self) -> bool {
        self.in_flight_here() > 0
    }

    /// Whether other processes may have workers.
    pub fn may_be_elsewhere(self) -> bool {
        match self {
            Workers::InProcess { .. } => false,
            Workers::Elsewhere | Workers::Both { .. } => true,
        }
    }

    /// LM calls that the workers of this process have in flight at most.
    pub fn in_flight_here(self) -> usize {
        match self {
            Workers::InProcess { in_flight } | Workers::Both { in_flight } => in_flight.get(),
            Workers::Elsewhere => 0,
        }
    }
}
