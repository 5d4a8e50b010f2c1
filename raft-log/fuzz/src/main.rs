//! Makes the inputs that the fuzz targets of `raft-log` begin with.
//!
//! `cargo run --manifest-path raft-log/fuzz/Cargo.toml --bin raft-log-fuzz` writes them into
//! `raft-log/fuzz/corpus/TARGET`, beside those that a fuzzer has found. The targets stand in
//! `raft-log/tests/targets`, where ordinary tests run them too.
//!
//! Deliberately absent: a fuzzer. That is libFuzzer, by way of `cargo xtask fuzz`.

#[path = "../../tests/targets/mod.rs"]
mod targets;

use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    for target in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}
