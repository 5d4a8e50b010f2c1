//! raft-log
