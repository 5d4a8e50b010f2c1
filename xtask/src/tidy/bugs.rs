//! Known bugs can still be put back in: their patches fit the code, and the direct tests that
//! they name are there.

use std::fs;
use std::path::Path;

use anyhow::Result;

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
        if !has_test(&root.join(package).join("src"), name) {
            findings.push(Finding::at(&place, format!("{package} has no test {name}")));
        }
    }
    Ok(findings)
}

/// Whether a test stands in a folder, in a file of its module. That it fails with the bug is
/// what `cargo xtask sim --bugs --direct` finds out.
fn has_test(folder: &Path, name: &str) -> bool {
    let (module, function) = name.rsplit_once("::").unwrap_or(("", name));
    let function = format!("fn {function}() ");
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    files.map(|file| file.path()).any(|path| {
        path.is_dir() && has_test(&path, name)
            || belongs_to(&path, module)
                && fs::read_to_string(&path).is_ok_and(|text| text.contains(&function))
    })
}

/// Whether a file is called as the innermost module is: `wal::tests::errors` stands in
/// `error_tests.rs`, and `wal::tests` in `wal_tests.rs` or in `wal.rs`.
fn belongs_to(file: &Path, module: &str) -> bool {
    let plain = |name: &str| name.trim_end_matches("_tests").trim_end_matches('s').to_owned();
    let innermost = module.rsplit("::").find(|name| *name != "tests").unwrap_or(module);
    file.file_stem().is_some_and(|stem| plain(&stem.to_string_lossy()) == plain(innermost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_looked_for_in_the_files_of_its_module() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("log"))?;
        fs::write(folder.path().join("log/error_tests.rs"), "#[test]\nfn it_fails() {}\n")?;
        assert!(has_test(folder.path(), "log::tests::errors::it_fails"));
        assert!(!has_test(folder.path(), "log::tests::errors::it_passes"));
        assert!(!has_test(folder.path(), "log::tests::it_fails"), "it has moved");
        assert!(!has_test(&folder.path().join("nowhere"), "log::tests::errors::it_fails"));
        assert!(belongs_to(Path::new("src/wal.rs"), "wal::tests"));
        Ok(())
    }
}
