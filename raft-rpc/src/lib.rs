//! raft-rpc
