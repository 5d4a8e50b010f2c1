//! What may happen in a state.

use super::bounds::Budget;

/// One thing that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) what: What,
    /// The node it happens to.
    pub(crate) n: u8,
    /// The disk takes its time with what is written.
    pub(crate) late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// This message arrives; it may come again where it is a duplicate.
    Receive {
        message: u32,
        again: bool,
    },
    Complete,
    Stand,
    Lapse,
    Tick,
    Pass,
    Skew,
    Beat(u8),
    Propose,
    Change(u8),
    Transfer(u8),
    Read,
    Trim,
    Crash,
    Damage(u8),
}

impl What {
    pub(crate) const fn budget(self) -> Option<Budget> {
        Some(match self {
            Self::Receive { again: false, .. } | Self::Complete => return None,
            Self::Receive { again: true, .. } => Budget::Duplicate,
            Self::Stand => Budget::Stand,
            Self::Lapse => Budget::Lapse,
            Self::Tick => Budget::Tick,
            Self::Pass => Budget::Pass,
            Self::Skew => Budget::Skew,
            Self::Beat(_) => Budget::Beat,
            Self::Propose => Budget::Propose,
            Self::Change(_) => Budget::Change,
            Self::Transfer(_) => Budget::Transfer,
            Self::Read => Budget::Read,
            Self::Trim => Budget::Trim,
            Self::Crash => Budget::Crash,
            Self::Damage(_) => Budget::Damage,
        })
    }

    /// Whether the disk may be given something by it.
    pub(crate) const fn may_write(self) -> bool {
        matches!(
            self,
            Self::Receive { again: false, .. }
                | Self::Stand
                | Self::Tick
                | Self::Propose
                | Self::Change(_)
                | Self::Transfer(_)
        )
    }
}
