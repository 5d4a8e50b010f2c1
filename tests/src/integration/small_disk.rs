//! Disks that can be filled: file systems in memory, mounted for this process and those it
//! starts, and for nobody else.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Set for a process that has its own view of what is mounted.
const MARK: &str = "INTEGRATION_OWN_MOUNTS";

/// Gives this process its own view of what is mounted, where the system allows that, by
/// starting it again in one. What it mounts is gone with it, however it ends.
pub fn enter_own_mounts() {
    if env::var_os(MARK).is_some() {
        return;
    }
    let root = rustix::process::geteuid().is_root();
    let words: &[&str] = if root { &["--mount"] } else { &["--mount", "--map-root-user"] };
    let allowed = Command::new("unshare").args(words).arg("true").output();
    let (true, Ok(this)) = (allowed.is_ok_and(|done| done.status.success()), env::current_exe())
    else {
        return;
    };
    let mut again = Command::new("unshare");
    again.args(words).arg(this).args(env::args_os().skip(1)).env(MARK, "1");
    // It only returns where it failed; then the scenarios that need it say so.
    let why = again.exec();
    eprintln!("cannot run unshare: {why}");
}

/// A disk of a certain size, mounted on a folder.
#[derive(Debug)]
pub(super) struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts a new one on the folder `dir`, which is made.
    ///
    /// # Errors
    /// Where this system does not allow it.
    pub(super) fn mount(dir: &Path, mebibytes: u32) -> Result<Self> {
        ensure!(env::var_os(MARK).is_some(), "no mounts of its own are allowed here (unshare)");
        fs::create_dir_all(dir)?;
        let size = format!("size={mebibytes}m");
        let words = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(OsStr::new);
        let done = Command::new("mount").args(words).arg(dir).output().context("cannot mount")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "a tmpfs cannot be mounted: {}", said.trim());
        Ok(Self { dir: dir.to_owned() })
    }

    /// Takes all the room there is, as somebody else might.
    pub(super) fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler())?;
        for step in [1 << 20, 1 << 12] {
            let zeros = vec![0; step];
            loop {
                match file.write_all(&zeros) {
                    Ok(()) => {}
                    Err(why) if why.kind() == io::ErrorKind::StorageFull => break,
                    Err(why) => return Err(why).context("cannot fill a disk"),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) fn make_room(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("cannot make room on a disk")
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("of-somebody-else")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where that fails, it goes with this process.
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).output();
    }
}
