//! Known bugs can still be put back in: their patches fit the code.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::bugs::patch::{FOLDER, How, read_all};

/// Tries every patch of `tests/bugs`.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for bug in read_all(root)? {
        if let Err(why) = bug.apply(root, How::Try) {
            let place = format!("{FOLDER}/{}.patch", bug.name);
            findings.push(Finding::at(&place, format!("does not fit the code: {why:#}")));
        }
    }
    Ok(findings)
}
