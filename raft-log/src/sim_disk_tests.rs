use super::*;

fn dir() -> &'static Path {
    Path::new("d")
}

fn file(disk: &SimDisk, name: &str) -> Arc<dyn DiskFile> {
    disk.create_dir_all(dir()).unwrap();
    disk.create(&dir().join(name)).unwrap()
}

/// What a file of 1500 synced ones holds after twos were written over it and the
/// power failed.
fn after_a_crash(seed: u64) -> Vec<u8> {
    let disk = SimDisk::new(seed);
    let f = file(&disk, "f");
    f.write_at(0, &[1; 1500]).unwrap();
    f.sync().unwrap();
    disk.sync_dir(dir()).unwrap();
    f.write_at(0, &[2; 1500]).unwrap();
    disk.crash_power();
    assert!(f.read_at(0, &mut [0]).is_err(), "the handle is dead");
    disk.content(&dir().join("f"))
}

#[test]
fn an_unsynced_write_survives_is_lost_or_is_torn() {
    let mut seen = [0; 3];
    for seed in 0..100 {
        let left = after_a_crash(seed);
        assert_eq!(left.len(), 1500);
        let twos = left.iter().filter(|byte| **byte == 2).count();
        seen[if twos == 0 { 0 } else { 1 + usize::from(twos == 1500) }] += 1;
        if seed % 2 == 1 {
            let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
            assert!(left.chunks(512).all(whole), "seed {seed} tears sectors");
        }
        assert_eq!(left, after_a_crash(seed), "the same seed ends the same way");
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn names_are_durable_once_the_folder_is_synced() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        file(&disk, "synced").sync().unwrap();
        disk.sync_dir(dir()).unwrap();
        file(&disk, "unsynced").sync().unwrap();
        disk.crash_power();
        let names = disk.list(dir()).unwrap();
        assert_eq!(names[0], "synced");
        lost += u32::from(names.len() == 1);
    }
    assert!(lost > 10 && lost < 40, "lost {lost} of 50");
}

#[test]
fn a_new_name_is_kept_or_lost_as_a_whole_until_the_folder_is_synced() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        file(&disk, "old").sync().unwrap();
        disk.sync_dir(dir()).unwrap();
        disk.rename(&dir().join("old"), &dir().join("new")).unwrap();
        assert_eq!(disk.list(dir()).unwrap(), ["new"]);
        if seed < 10 {
            disk.sync_dir(dir()).unwrap();
        }
        disk.crash_power();
        let names = disk.list(dir()).unwrap();
        assert!(names == ["new"] || (seed >= 10 && names == ["old"]), "seed {seed}: {names:?}");
        lost += u32::from(names == ["old"]);
    }
    assert!(lost > 10 && lost < 30, "lost {lost} of 40");
}

#[test]
fn a_process_that_dies_loses_nothing_and_makes_nothing_durable() {
    let disk = SimDisk::new(2);
    let path = dir().join("f");
    let f = file(&disk, "f");
    disk.sync_dir(dir()).unwrap();
    for round in 0..64 {
        f.write_at(round, b"x").unwrap();
    }
    disk.crash_process();
    assert!(f.len().is_err(), "the handle is dead");
    assert_eq!(disk.content(&path), vec![b'x'; 64]);
    disk.crash_power();
    assert_ne!(disk.content(&path), vec![b'x'; 64]);
}

#[test]
fn what_a_failed_sync_dropped_no_later_one_brings_back() {
    let disk = SimDisk::new(1);
    let f = file(&disk, "f");
    disk.sync_dir(dir()).unwrap();
    f.write_at(0, b"dropped").unwrap();
    disk.fail_next_syncs(1);
    assert!(f.sync().is_err());
    f.sync().unwrap();
    assert_eq!(disk.content(&dir().join("f")), b"dropped", "it can still be read");
    disk.crash_power();
    assert_eq!(disk.content(&dir().join("f")), b"");
}

#[test]
fn writes_fail_on_demand_and_a_stopped_disk_does_nothing_more() {
    let disk = SimDisk::new(1);
    let f = file(&disk, "f");
    disk.fail_next_writes(1, io::ErrorKind::StorageFull);
    assert_eq!(f.write_at(0, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    f.write_at(0, b"x").unwrap();
    disk.stop_at(2);
    f.write_at(1, b"y").unwrap();
    assert!(f.write_at(2, b"z").is_err() && disk.is_stopped());
    assert!(f.len().is_err() && disk.list(dir()).is_err());
    disk.crash_process();
    assert!(disk.content(&dir().join("f")).starts_with(b"xy"));
}

#[test]
fn a_torn_copy_has_everything_but_a_part_of_the_last_write() {
    let disk = SimDisk::new(1);
    let f = file(&disk, "f");
    let g = file(&disk, "g");
    f.write_at(0, &[1; 10]).unwrap();
    g.write_at(0, &[1; 4]).unwrap();
    f.write_at(5, &[2; 10]).unwrap();
    assert_eq!(disk.last_write(), Some(vec![2; 10]));
    let left = |torn| {
        let copy = disk.torn_copy(torn);
        copy.crash_power();
        assert_eq!(copy.content(&dir().join("g")), [1; 4]);
        copy.content(&dir().join("f"))
    };
    assert_eq!(left(Torn::First(0)), [1; 10]);
    assert_eq!(left(Torn::First(7)), [&[1; 5][..], &[2; 7]].concat());
    assert_eq!(left(Torn::Last(2)), [&[1; 10][..], &[0; 3], &[2; 2]].concat());
    assert_eq!(left(Torn::First(10)), [&[1; 5][..], &[2; 10]].concat());
    f.sync().unwrap();
    assert_eq!(disk.last_write(), None);
}

#[test]
fn a_single_change_can_be_made_to_fail_and_those_after_it_go_well() {
    let disk = SimDisk::new(1);
    let f = file(&disk, "f");
    f.sync().unwrap();
    disk.sync_dir(dir()).unwrap();
    disk.fail_at(2, io::ErrorKind::StorageFull);
    f.write_at(0, &[1; 10]).unwrap();
    assert!(disk.is_to_fail());
    let error = f.sync().unwrap_err();
    assert_eq!((error.kind(), disk.is_to_fail()), (io::ErrorKind::StorageFull, false));
    f.sync().unwrap();
    disk.crash_power();
    assert_eq!(disk.content(&dir().join("f")), [0; 0], "a second sync mends nothing");
}

#[test]
fn a_file_is_set_back_to_what_it_held_under_its_last_name() {
    let disk = SimDisk::new(1);
    let f = file(&disk, "f");
    f.write_at(0, &[1; 4]).unwrap();
    f.sync().unwrap();
    let (old, new) = (dir().join("f"), dir().join("g"));
    disk.rename(&old, &new).unwrap();
    f.write_at(0, &[2; 6]).unwrap();
    f.sync().unwrap();
    disk.set_back(&new, 2..6);
    assert_eq!(disk.content(&new), [2, 2, 1, 1, 0, 0], "it was four bytes long");
    disk.mend();
    assert_eq!(disk.content(&new), [2; 6]);
}

#[test]
fn damage_is_undone_where_nothing_was_written_since() {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("d")).unwrap();
    let path = Path::new("d/f");
    let file = disk.create(path).unwrap();
    file.write_at(0, b"abcdefgh").unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    assert!(!disk.is_damaged());
    disk.zero(path, 1, 2);
    disk.flip_bit(path, 5, 0);
    disk.misplace(path, 6, b"x");
    assert!(disk.is_damaged());
    assert_eq!(disk.content(path), b"a\0\0degxh");
    file.write_at(2, b"C").unwrap();
    disk.mend();
    assert!(!disk.is_damaged());
    assert_eq!(disk.content(path), b"abCdefgh");
    assert_eq!(disk.durable_copy().content(path), b"abcdefgh");
    disk.zero(path, 0, 1);
    disk.accept_damage();
    disk.mend();
    assert!(!disk.is_damaged());
    assert_eq!(disk.content(path), b"\0bCdefgh", "what was accepted stays");
}

#[test]
fn reads_fail_or_are_misdirected_as_often_as_asked_for() {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new("d")).unwrap();
    let file = disk.create(Path::new("d/f")).unwrap();
    let content: Vec<u8> = (0..=255).collect();
    file.write_at(0, &content).unwrap();
    let mut byte = [0];
    disk.fail_reads_after(1, 1);
    file.read_at(7, &mut byte).unwrap();
    file.read_at(7, &mut byte).unwrap_err();
    file.read_at(7, &mut byte).unwrap();
    assert_eq!(byte, [7]);
    disk.misdirect_next_reads(1);
    file.read_at(7, &mut byte).unwrap();
    assert_eq!(byte[0] % 8, 0, "from elsewhere");
    file.read_at(7, &mut byte).unwrap();
    assert_eq!(byte, [7]);
    assert_eq!(disk.counts().spoiled_reads(), 2);
}
