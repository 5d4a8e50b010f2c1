use super::*;

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn identity(formed: bool) -> Identity {
    let members = BTreeMap::from([(id(1), Incarnation(0xa)), (id(2), Incarnation(u64::MAX))]);
    let formed = formed.then_some(FormedCluster { id: ClusterId(7), members });
    Identity {
        node: id(1),
        cluster: "c".to_owned(),
        incarnation: Incarnation(0xa),
        formed,
        log_begun: false,
        removed: false,
    }
}

/// Every file in a folder with its content.
fn contents(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_new_folder_is_made_and_remembers_its_identity() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    let mut dir = DataDir::open(&path, id(1), "c").unwrap();
    assert_eq!(dir.identity(), None);
    for formed in [false, true] {
        dir.write_identity(identity(formed)).unwrap();
        drop(dir);
        dir = DataDir::open(&path, id(1), "c").unwrap();
        assert_eq!(dir.identity(), Some(&identity(formed)));
    }
    assert_eq!(contents(&path).len(), 1);
}

#[test]
fn every_new_folder_on_the_way_is_made_durable() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b/c");
    fs::create_dir(parent.path().join("a")).unwrap();
    assert_eq!(missing_levels(&path), [&*path, &*parent.path().join("a/b")]);
    assert!(missing_levels(parent.path()).is_empty());
    let (relative, above) = (Path::new("no-such-folder/b"), Path::new("no-such-folder"));
    assert_eq!(missing_levels(relative), [relative, above]);
}

#[test]
fn a_folder_serves_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataDir::open(folder.path(), id(1), "c").unwrap();
    let second = DataDir::open(folder.path(), id(1), "c");
    assert!(matches!(second, Err(DataDirError::InUse(_))), "{second:?}");
    drop(first);
    DataDir::open(folder.path(), id(1), "c").unwrap();
}

#[test]
fn the_folder_of_another_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = DataDir::open(folder.path(), id(1), "c").unwrap();
    dir.write_identity(identity(true)).unwrap();
    drop(dir);
    let before = contents(folder.path());
    for (node, cluster) in [(2, "c"), (1, "d")] {
        let error = DataDir::open(folder.path(), id(node), cluster).unwrap_err().to_string();
        let (found, wanted) =
            ("node 1 of cluster \"c\"", format!("node {node} of cluster {cluster:?}"));
        assert!(error.contains(found) && error.contains(&wanted), "{error}");
    }
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_folder_with_other_files_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("lost+found")).unwrap();
    drop(DataDir::open(folder.path(), id(1), "c").unwrap());
    fs::remove_dir(folder.path().join("lost+found")).unwrap();

    fs::write(folder.path().join("letters.txt"), "dear").unwrap();
    let error = DataDir::open(folder.path(), id(1), "c").unwrap_err().to_string();
    assert!(error.contains("letters.txt"), "{error}");
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn a_first_write_that_a_crash_interrupted_leaves_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(IDENTITY_DRAFT), "{").unwrap();
    let mut dir = DataDir::open(folder.path(), id(1), "c").unwrap();
    assert_eq!(dir.identity(), None);
    dir.write_identity(identity(false)).unwrap();
}

#[test]
fn an_identity_that_cannot_be_understood_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    for (text, said) in [
        ("", "EOF"),
        (r#"{"format": 2, "owner": 1}"#, "its format is 2"),
        (r#"{"format": 1}"#, "missing field"),
        (r#"{"format": 1, "node": 1, "cluster": "c", "incarnation": "x"}"#, "no hexadecimal"),
        (r#"{"format": 1, "node": 0, "cluster": "c", "incarnation": "1"}"#, "zero"),
    ] {
        fs::write(folder.path().join(IDENTITY), text).unwrap();
        let error = DataDir::open(folder.path(), id(1), "c").unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(IDENTITY), "{error}");
        assert_eq!(contents(folder.path()), [(IDENTITY.to_owned(), text.into())].into());
    }
}

#[test]
fn a_path_that_is_no_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let error = DataDir::open(&path, id(1), "c").unwrap_err().to_string();
    assert!(error.contains("file") && error.contains("read"), "{error}");
}
