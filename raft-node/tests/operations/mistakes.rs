//! The mistakes, each as a person makes it.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::nodes::{Place, Running, Stage, free_address, members, serve, wait};

/// A mistake by its title on the page, and how it is made.
type Mistake = (&'static str, fn(&Stage));

/// Every mistake.
pub(crate) const MISTAKES: [Mistake; 10] = [
    ("Wrong port", wrong_port),
    ("Firewall", firewall),
    ("Clock jump, suspended machine, paused process", standstill),
    ("Disk full", disk_full),
    ("Permissions", permissions),
    ("Two nodes with one data folder", shared_folder),
    ("Mixed clusters", mixed_clusters),
    ("Wrong cluster file", wrong_members),
    ("Old data", old_data),
    ("No quorum", no_quorum),
];

const WAITS: &str =
    "INFO a new cluster starts once all its members are up: waiting for node 2 (<reason>)";
const LEADS: &str = "INFO group 1: leader in term <term>, node <id> leads";
const CONNECTED: &str = "INFO node <id> is connected at <address>";

/// The address of node 2 leads to another port, each time another one.
fn wrong_port(stage: &Stage) {
    let other = Place::new(3);
    let _other = stage.start(&other, "other", &members(&[&other]));
    stage.wait_for(LEADS);
    let program = TcpListener::bind("127.0.0.1:0").unwrap();
    let somewhere = program.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in program.incoming() {
            // Who calls may be gone already.
            let _ = stream.unwrap().write_all(b"220 mail.example ESMTP\r\n");
        }
    });
    for (case, (peer, refused)) in [
        (other.client.clone(), false),
        (somewhere, false),
        (free_address(), false),
        (other.peer.clone(), true),
    ]
    .into_iter()
    .enumerate()
    {
        let one = Place::new(1);
        let two = Place { id: 2, client: free_address(), peer };
        let data = format!("one-{case}");
        let mut node = stage.start(&one, &data, &members(&[&one, &two]));
        if refused {
            assert_eq!(node.code(), Some(5));
        } else {
            stage.wait_for_times(case + 1, WAITS);
        }
    }
    let taken = Place { client: other.client, ..Place::new(1) };
    assert_eq!(stage.start(&taken, "taken", &taken.listed()).code(), Some(5));
    assert!(!stage.path("taken").exists());
}

/// Nobody refuses, and nobody answers: first while the cluster is formed, then later.
fn firewall(stage: &Stage) {
    let one = Place::new(1);
    // The system completes connections to a listener that nobody accepts from.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = silent.local_addr().unwrap().to_string();
    let two = Place { id: 2, client: free_address(), peer };
    let node = stage.start(&one, "one", &members(&[&one, &two]));
    stage.wait_for(WAITS);
    node.kill();

    let (one, two) = (Place::new(1), Place::new(2));
    let pair = members(&[&one, &two]);
    let _one = stage.start(&one, "a", &pair);
    let second = stage.start(&two, "b", &pair);
    stage.wait_for_times(2, CONNECTED);
    second.kill();
    let _silent = wait("the port stays taken", || TcpListener::bind(&two.peer).ok());
    stage.wait_for("WARN node 2 is not reachable: <address> did not answer within <rest>");
    drop(_silent);
    let _second = stage.start(&two, "b", &pair);
    stage.wait_for_times(4, CONNECTED);
}

/// The process is paused for longer than it takes to elect another leader.
fn standstill(stage: &Stage) {
    let one = Place::new(1);
    let node = stage.start(&one, "one", &one.listed());
    stage.wait_for(LEADS);
    node.signal("STOP");
    // Wherever in the second between two looks this begins, half a second is lost.
    thread::sleep(Duration::from_millis(1500));
    node.signal("CONT");
    stage.wait_for("WARN this process stood still for <rest>");
}

/// A disk on which less is free than must be. `cargo xtask integration` fills a real one.
fn disk_full(stage: &Stage) {
    let one = Place::new(1);
    let mut line = serve(&one, &stage.path("data"), &one.listed());
    line.extend(["--min-free-bytes".to_owned(), (1_u64 << 60).to_string()]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_raft-node"));
    command.args(line);
    let node = stage.run(command);
    stage.wait_for(LEADS);
    stage.wait_for("WARN the disk is full: <rest>");
    let answer = write(&one);
    assert!(answer.starts_with("HTTP/1.1 507 "), "{answer}");
    let told =
        [r#""outcome":"refused""#, "make room there", &stage.path("data").display().to_string()]
            .map(|part| answer.contains(part));
    assert_eq!(told, [true; 3], "{answer}");
    stage.read(&one);
    node.kill();
    let _node = stage.start(&one, "data", &one.listed());
    stage.wait_for_times(2, LEADS);
    let answer = write(&one);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

fn write(place: &Place) -> String {
    let body = r#"{"k": "k", "v": "v"}"#;
    let request = format!(
        "POST /v1/data HTTP/1.1\r\nhost: n\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(&place.client).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer
}

/// The folder is another user's. Root, who may do everything, gives that up first.
fn permissions(stage: &Stage) {
    let one = Place::new(1);
    let data = stage.path("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    let binary = env!("CARGO_BIN_EXE_raft-node");
    let root = fs::write(data.join("probe"), "").is_ok();
    let mut command = if root {
        fs::remove_file(data.join("probe")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override", "--inh-caps", "-all", binary]);
        command
    } else {
        Command::new(binary)
    };
    command.args(serve(&one, &data, &one.listed()));
    assert_eq!(stage.run(command).code(), Some(5));
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

fn shared_folder(stage: &Stage) {
    let (one, too) = (Place::new(1), Place::new(1));
    let _one = stage.start(&one, "data", &one.listed());
    stage.wait_for(LEADS);
    assert_eq!(stage.start(&too, "data", &too.listed()).code(), Some(5));
    stage.read(&one);
    stage.wait_for("404 there is no key \"k\"");
}

/// First by their names, while they are formed; then two of one name that were formed.
fn mixed_clusters(stage: &Stage) {
    let (one, two) = (Place::new(1), Place::new(2));
    let pair = members(&[&one, &two]);
    let _other = stage.start_with(&two, "other", &pair, &["--cluster", "green"]);
    // Whichever asks the other one first ends.
    let _node = stage.start_with(&one, "node", &pair, &["--cluster", "blue"]);
    stage.wait_for("raft-node: node <id> at <address> is of cluster <rest>");

    let (one, two) = (Place::new(1), Place::new(2));
    let pair = members(&[&one, &two]);
    for (time, data) in [["a-1", "a-2"], ["b-1", "b-2"]].into_iter().enumerate() {
        let _both = [stage.start(&one, data[0], &pair), stage.start(&two, data[1], &pair)];
        stage.wait_for_times(2 * (time + 1), CONNECTED);
    }
    let _one = stage.start(&one, "a-1", &pair);
    let _two = stage.start(&two, "b-2", &pair);
    stage.wait_for("WARN node <id> is not reachable: <address> refuses: <reason>");
}

fn wrong_members(stage: &Stage) {
    let (one, two, three) = (Place::new(1), Place::new(2), Place::new(3));
    let (pair, all) = (members(&[&one, &two]), members(&[&one, &two, &three]));
    assert_eq!(stage.start(&three, "three", &pair).code(), Some(2));

    let _one = stage.start(&one, "one", &pair);
    // Whichever asks the other one first ends.
    let _two = stage.start(&two, "two", &all);
    stage.wait_for("raft-node: node <id> at <address> knows the members <rest>");

    let alone = Place::new(1);
    formed(stage, &alone, "alone").kill();
    let grown = members(&[&alone, &two]);
    let _alone = stage.start(&alone, "alone", &grown);
    stage.wait_for_times(2, LEADS);
}

fn old_data(stage: &Stage) {
    let (one, two) = (Place::new(1), Place::new(2));
    formed(stage, &one, "data").kill();
    assert_eq!(stage.start(&two, "data", &two.listed()).code(), Some(5));

    let identity = stage.path("data/identity.json");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert_eq!(stage.start(&one, "data", &one.listed()).code(), Some(5));
    fs::write(&identity, text).unwrap();
    fs::remove_dir_all(stage.path("data/log")).unwrap();
    assert_eq!(stage.start(&one, "data", &one.listed()).code(), Some(5));

    fs::create_dir(stage.path("letters")).unwrap();
    fs::write(stage.path("letters/dear"), "").unwrap();
    assert_eq!(stage.start(&one, "letters", &one.listed()).code(), Some(5));

    let (one, two) = (Place::new(1), Place::new(2));
    let pair = members(&[&one, &two]);
    let first = stage.start(&one, "first", &pair);
    let second = stage.start(&two, "second", &pair);
    stage.wait_for_times(2, CONNECTED);
    second.kill();
    fs::remove_dir_all(stage.path("second")).unwrap();
    assert_eq!(stage.start(&two, "second", &pair).code(), Some(5));
    let three = Place::new(3);
    let all = members(&[&one, &two, &three]);
    assert_eq!(stage.start(&three, "third", &all).code(), Some(5));
    first.kill();
    set_back(stage);
}

const FORGOT: &str = "ERROR group 1: this node has forgotten what it promised: <rest>";

/// A node goes on, and is then started on a copy of its folder from before. Should another lead
/// by then, which knows nothing of what was promised, it is tried once more.
fn set_back(stage: &Stage) {
    let places = [Place::new(1), Place::new(2), Place::new(3)];
    let all = members(&places.each_ref());
    let start = |place: &Place| stage.start(place, &format!("copied-{}", place.id), &all);
    let mut running = places.each_ref().map(|place| Some(start(place)));
    let takes = |place: &Place| {
        let answers = TcpStream::connect(&place.client).is_ok();
        answers && write(place).starts_with("HTTP/1.1 200 ")
    };
    let all_take = || wait("a node takes no writes", || places.iter().all(takes).then_some(()));
    all_take();
    for _ in 0..10 {
        let leader = stage.leader();
        let at = |id: u64| id as usize - 1;
        let follower = &places[at(leader % 3 + 1)];
        let (folder, copy) = (stage.path(&format!("copied-{}", follower.id)), stage.path("copy"));
        running[at(follower.id)].take().unwrap().kill();
        copy_folder(&folder, &copy);
        running[at(follower.id)] = Some(start(follower));
        all_take();
        // It answers once it has applied what was written.
        stage.read(follower);
        running[at(follower.id)].take().unwrap().kill();
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(&copy, &folder).unwrap();
        running[at(follower.id)] = Some(start(follower));
        if stage.hears(FORGOT, Duration::from_secs(4)) {
            return;
        }
    }
    panic!("nobody has noticed");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// One of two is away, and comes back.
fn no_quorum(stage: &Stage) {
    let (one, two) = (Place::new(1), Place::new(2));
    let pair = members(&[&one, &two]);
    let _one = stage.start(&one, "one", &pair);
    let second = stage.start(&two, "two", &pair);
    stage.wait_for_times(2, CONNECTED);
    stage.wait_for(LEADS);
    second.kill();
    stage.wait_for("WARN no leader for <seconds> s: no quorum, <rest>");
    stage.read(&one);
    let _second = stage.start(&two, "two", &pair);
    stage.wait_for("INFO there is a leader again <rest>");
}

/// A node of a cluster of its own that has begun its log.
fn formed(stage: &Stage, place: &Place, data: &str) -> Running {
    let node = stage.start(place, data, &place.listed());
    stage.wait_for(LEADS);
    node
}
