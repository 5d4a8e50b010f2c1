use std::sync::Arc;

use super::*;
use crate::disk::{RealDisk, Space};
use crate::sim_disk::SimDisk;

#[test]
fn the_real_disk_keeps_every_rule() {
    let root = tempfile::tempdir().unwrap();
    disk(&RealDisk, root.path(), || {}).unwrap();
}

#[test]
fn the_simulated_disk_keeps_every_rule_whatever_a_crash_takes_away() {
    for seed in 0..20 {
        let simulated = SimDisk::new(seed);
        disk(&simulated, Path::new("here"), || simulated.crash_power()).unwrap();
    }
}

/// A disk that breaks one rule.
#[derive(Clone, Debug)]
struct Faulty {
    disk: SimDisk,
    breaks: Rule,
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn DiskFile>,
    breaks: Rule,
}

impl Faulty {
    fn wrap(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile { file: file?, breaks: self.breaks }))
    }
}

impl Disk for Faulty {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        match self.breaks {
            // It makes the last one only.
            Rule::MakesFolders if dir.ends_with("a/b/c") => Err(ErrorKind::NotFound.into()),
            _ => self.disk.create_dir_all(dir),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = self.disk.list(dir)?;
        if self.breaks == Rule::ListsFiles {
            names.reverse();
        }
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(path);
        let takes = self.breaks == Rule::NamesAreTakenOnce && file.is_err();
        self.wrap(if takes { self.disk.open(path) } else { file })
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.breaks == Rule::HandlesShare {
            // A file of its own, with the content as it is now.
            let now = content(&*self.disk.open(path)?)?;
            self.disk.remove(path)?;
            let file = self.disk.create(path)?;
            file.write_at(0, &now)?;
            return self.wrap(Ok(file));
        }
        self.wrap(self.disk.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.breaks {
            Rule::RenameReplaces if self.disk.open(to).is_ok() => self.disk.remove(from),
            Rule::HandlesOutliveNames if self.disk.open(to).is_err() => {
                let now = content(&*self.disk.open(from)?)?;
                self.disk.remove(from)?;
                self.disk.create(to)?.write_at(0, &now)
            }
            _ => self.disk.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.breaks == Rule::SyncedSurvives { Ok(()) } else { self.disk.sync_dir(dir) }
    }

    fn draw(&self) -> u32 {
        if self.breaks == Rule::DrawsDiffer { 4 } else { self.disk.draw() }
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let free_bytes = if self.breaks == Rule::SpaceFits { 11 } else { 10 };
        Ok(Space { free_bytes, total_bytes: 10 })
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self.breaks {
            // No more than a page at a time.
            Rule::ReadsWhatWasWritten => {
                let page = into.len().min(4096);
                self.file.read_at(offset, &mut into[..page])
            }
            _ => self.file.read_at(offset, into),
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }

    fn write_through(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.breaks {
            Rule::WritesThrough => self.file.write_at(offset - offset % 4096, data),
            _ => self.file.write_through(offset, data),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        match self.breaks {
            Rule::CutsAndExtends if bytes > self.file.len()? => Ok(()),
            _ => self.file.set_len(bytes),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn every_rule_is_missed_where_it_is_broken() {
    let rules = CHECKS.map(|(rule, _)| rule).into_iter().chain([Rule::SyncedSurvives]);
    for breaks in rules {
        // A crash of this seed takes away what was not synced.
        let faulty = Faulty { disk: SimDisk::new(2), breaks };
        let outcome = disk(&faulty, Path::new("here"), || faulty.disk.crash_power());
        let broken = outcome.expect_err("a broken rule is noticed");
        assert_eq!(broken.rule, breaks, "{broken}");
        assert!(broken.to_string().contains(&breaks.to_string()), "{broken}");
    }
}

#[test]
fn a_sync_of_a_file_that_does_nothing_is_noticed() {
    let lying = SimDisk::new(1);
    lying.set_sync_does_nothing(true);
    let broken = disk(&lying, Path::new("here"), || lying.crash_power()).unwrap_err();
    assert_eq!(broken.rule, Rule::SyncedSurvives);
}
