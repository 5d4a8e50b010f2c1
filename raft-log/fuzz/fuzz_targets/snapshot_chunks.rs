//! See `raft-log/tests/targets/snapshot_chunks.rs`.

#![no_main]

#[path = "../../tests/targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::run("snapshot_chunks", data));
