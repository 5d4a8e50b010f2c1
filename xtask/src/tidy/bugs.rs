//! Known bugs can still be put back in: their patches fit the code, and the direct tests that
//! they name are there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use crate::bugs::direct::DirectTest;
use crate::bugs::patch::{FOLDER, How, read_all};

/// Tries every patch of `tests/bugs`.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for bug in read_all(root)? {
        let place = format!("{FOLDER}/{}.patch", bug.name);
        if let Err(why) = bug.apply(root, How::Try) {
            findings.push(Finding::at(&place, format!("does not fit the code: {why:#}")));
        }
        let DirectTest { package, name } = &bug.test;
        if !has_test(&root.join(package).join("src"), name)? {
            findings.push(Finding::at(&place, format!("{package} has no test {name}")));
        }
    }
    Ok(findings)
}

/// Whether a function of this name, whatever its module, stands in a folder. That it fails with
/// the bug is what `cargo xtask sim --bugs --direct` finds out.
fn has_test(folder: &Path, name: &str) -> Result<bool> {
    let function = format!("fn {}() ", name.rsplit("::").next().unwrap_or(name));
    let files = fs::read_dir(folder).with_context(|| format!("cannot list {folder:?}"))?;
    for file in files {
        let path = file?.path();
        let found = match path.extension().is_some_and(|extension| extension == "rs") {
            true => fs::read_to_string(&path)?.contains(&function),
            false => path.is_dir() && has_test(&path, name)?,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
