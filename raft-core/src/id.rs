//! Names of the things that take part in consensus.

use core::fmt;
use core::num::NonZeroU64;

/// A member of a cluster, a number that is never zero and never used for two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// The id of this number, or `None` for zero, which names nobody.
    #[must_use]
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $shown:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $shown, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(", $shown, ")"), self.0)
            }
        }
    };
}

number! {
    /// One Raft group. Many groups share a node, its log and its connections.
    GroupId, "{}"
}

number! {
    /// A cluster, fixed when it is created. Every connection and folder states it.
    ClusterId, "{:016x}"
}

number! {
    /// One life of a replica's disk. Drawn when a group is created or joined on a
    /// node; a replica that lost its disk comes back as another incarnation.
    Incarnation, "{:016x}"
}

number! {
    /// One run of a node's process, never used twice, so that an answer to a
    /// question asked before a restart is recognised as old.
    Boot, "{:016x}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_names_nobody() {
        assert_eq!(NodeId::new(0), None);
        assert_eq!(NodeId::new(7).map(NodeId::get), Some(7));
    }

    #[test]
    fn what_is_shown_tells_what_it_is() {
        let node = NodeId::new(7).unwrap();
        assert_eq!(format!("{node} {node:?}"), "7 n7");
        assert_eq!(format!("{} {:?}", GroupId(12), GroupId(12)), "12 GroupId(12)");
        let disk = Incarnation(0xabc);
        assert_eq!(format!("{disk} {disk:?}"), "0000000000000abc Incarnation(0000000000000abc)");
    }
}
