use super::*;

fn load(
    file: Option<(&str, &str)>,
    env: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Loaded, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let path = file.map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
    NodeConfig::load(path.as_deref(), env, flags)
}

fn wrong(loaded: Result<Loaded, ConfigErrors>) -> Vec<String> {
    loaded.unwrap_err().0.into_iter().map(|error| error.field).collect()
}

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

#[test]
fn nothing_set_is_a_single_node() {
    let config = NodeConfig::default();
    assert_eq!((config.node_id, config.cluster.as_str()), (id(1), "raft"));
    let me = &config.members[&id(1)];
    assert_eq!((me.peer.as_str(), me.client.as_str()), ("127.0.0.1:2380", "127.0.0.1:2379"));
    assert_eq!(config.members.len(), 1);
    assert_eq!(config.max_body_bytes, 1_572_864);
}

#[test]
fn flags_come_before_the_environment_before_the_file() {
    let file = "node_id: 1\ncluster: from-file\nheartbeat_ms: 50\nrequest_timeout_ms: 10\n";
    let env = [("RAFT_CLUSTER", "from-env"), ("RAFT_HEARTBEAT_MS", "60"), ("HOME", "/")];
    let loaded = load(Some(("n.yaml", file)), &env, &[("heartbeat_ms", "70")]).unwrap();
    assert_eq!(loaded.config.cluster, "from-env");
    assert_eq!(loaded.config.heartbeat, Duration::from_millis(70));
    assert_eq!(loaded.config.request_timeout, Duration::from_millis(10));
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn members_may_be_listed_in_yaml_json_or_text() {
    let yaml = "node_id: 2\nmembers:\n  - {id: 1, peer: 'a:1', client: 'a:2', name: first}\n  - {id: 2, peer: '[::1]:1', client: '[::1]:2'}\n";
    let listed = load(Some(("n.yml", yaml)), &[], &[]).unwrap().config.members;
    assert_eq!(listed[&id(1)].name.as_deref(), Some("first"));

    let json = r#"{"members": [{"id": 1, "peer": "a:1", "client": "a:2"}]}"#;
    assert_eq!(load(Some(("n.json", json)), &[], &[]).unwrap().config.members.len(), 1);

    let text = "1=a:1/a:2, 2=[::1]:1/[::1]:2";
    let parsed = load(None, &[("RAFT_MEMBERS", text)], &[]).unwrap().config.members;
    assert_eq!(parsed[&id(2)], listed[&id(2)]);
}

#[test]
fn a_node_that_joins_needs_no_members_and_takes_none() {
    let joins = |join| load(None, &[("RAFT_JOIN", join)], &[("node_id", "4")]);
    let config = joins("a:1, [::1]:2").unwrap().config;
    assert_eq!((config.join, config.members.len()), (vec!["a:1".into(), "[::1]:2".into()], 0));
    let file = "node_id: 4\njoin: ['a:1', 'b:2']\n";
    let config = load(Some(("n.yaml", file)), &[], &[]).unwrap().config;
    assert_eq!(config.join, ["a:1", "b:2"]);
    assert_eq!(config.own_address().peer, "127.0.0.1:2380");
    for bad in ["", "a", "a:1,b"] {
        assert_eq!(wrong(joins(bad)), ["join"], "{bad:?}");
    }
    let both = [("join", "a:1"), ("members", "1=a:1/a:2")];
    assert_eq!(wrong(load(None, &[], &both)), ["join"]);
}

#[test]
fn an_address_is_the_same_after_a_membership_has_held_it() {
    let name = Some("the \"first\"".to_owned());
    let address = MemberAddress { peer: "a:1".to_owned(), client: "a:2".to_owned(), name };
    assert_eq!(MemberAddress::from_data(&address.to_data()), Some(address));
    for other in ["", "{}", "[1]", "\"a:1\""] {
        assert_eq!(MemberAddress::from_data(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let file = "node_id: 0\ncluster: ''\nlisten_peer: nowhere\nheartbeats: 3\n";
    let env = [("RAFT_SEGMENT_BYTES", "big")];
    let loaded = load(Some(("n.yaml", file)), &env, &[("log", "raft=loud"), ("members", "1=a:1")]);
    let text = loaded.as_ref().unwrap_err().to_string();
    assert!(text.contains("segment_bytes (from RAFT_SEGMENT_BYTES): "), "{text}");
    assert!(text.contains("members (from --members): "), "{text}");
    assert_eq!(
        wrong(loaded),
        ["heartbeats", "node_id", "cluster", "listen_peer", "members", "segment_bytes", "log"]
    );
}

#[test]
fn fields_that_do_not_fit_together_are_refused() {
    assert_eq!(wrong(load(None, &[], &[("heartbeat_ms", "500")])), ["heartbeat_ms"]);
    assert_eq!(wrong(load(None, &[], &[("lease_drift_ms", "1000")])), ["lease_drift_ms"]);
    assert_eq!(wrong(load(None, &[], &[("priority", "11")])), ["priority"]);
    assert_eq!(wrong(load(None, &[], &[("forward", "maybe")])), ["forward"]);
    assert!(!load(None, &[], &[("forward", "false")]).unwrap().config.forward);
    assert_eq!(wrong(load(None, &[], &[("listen_peer", "127.0.0.1:2379")])), ["listen_peer"]);
    assert_eq!(wrong(load(None, &[], &[("members", "2=a:1/a:2")])), ["node_id"]);
    assert_eq!(wrong(load(None, &[], &[("segment_bytes", "2000000")])), ["segment_bytes"]);
}

#[test]
fn what_does_not_fit_together_is_said_beside_what_is_wrong_alone() {
    let flags = [
        ("log", "loud"),
        ("heartbeat_ms", "500"),
        ("listen_peer", "127.0.0.1:2379"),
        ("members", "2=a:1/a:2"),
        ("segment_bytes", "2000000"),
    ];
    let fields = ["log", "node_id", "listen_peer", "heartbeat_ms", "segment_bytes"];
    assert_eq!(wrong(load(None, &[], &flags)), fields);
}

#[test]
fn a_body_of_sixteen_mebibytes_is_the_largest_that_can_be_allowed() {
    let largest = load(None, &[], &[("max_body_bytes", "16777216")]).unwrap();
    assert_eq!(largest.config.max_body_bytes, 16 << 20);
    let error = load(None, &[], &[("max_body_bytes", "16777217")]).unwrap_err().to_string();
    assert!(error.contains("16777217 is not from 1 to 16777216"), "{error}");
}

#[test]
fn members_that_cannot_be_are_refused_with_their_names() {
    for (members, said) in [
        ("", "not id=peer-address/client-address"),
        ("0=a:1/a:2", "never zero"),
        ("1=a:1/a:2,1=b:1/b:2", "the id 1 is there twice"),
        ("1=a:1/a:2,2=a:1/b:2", "the address a:1 is used for peers of member 1 and"),
        ("1=a:1/a:1", "the address a:1 is used"),
        ("1=a/a:2", "there is no port"),
        ("1=a:0/a:2", "the port is zero"),
        ("1=a:70000/a:2", "no number up to 65535"),
        ("1=::1:5/a:2", "must be in brackets"),
        ("1=a b:1/a:2", "neither a name nor an address"),
    ] {
        let error = load(None, &[("RAFT_MEMBERS", members)], &[]).unwrap_err().to_string();
        assert!(error.contains(said), "{members:?}: {error}");
    }
    let file = "members: [{id: 1, peer: 'a:1', client: 'a:2', weight: 3}]";
    let error = load(Some(("n.yaml", file)), &[], &[]).unwrap_err().to_string();
    assert!(error.contains("weight"), "{error}");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for (name, text, said) in [
        ("n.toml", "", "must end in"),
        ("n.yaml", "a: [", "config (in "),
        ("n.yaml", "- 1", "fields with values"),
        ("n.json", "{", "config (in "),
    ] {
        let error = load(Some((name, text)), &[], &[]).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(name), "{error}");
    }
    let missing = NodeConfig::load(Some(Path::new("absent.yaml")), [], []).unwrap_err();
    assert!(missing.to_string().contains("absent.yaml"), "{missing}");
    assert!(load(Some(("n.yaml", "# nothing\n")), &[], &[]).is_ok());
}

#[test]
fn an_unknown_variable_is_warned_about() {
    let env = [("RAFT_HARTBEAT_MS", "1"), ("RAFT_CONFIG", "x"), ("RAFT_LOG", "debug")];
    let loaded = load(None, &env, &[]).unwrap();
    assert_eq!(loaded.config.log, "debug");
    let [warning] = &loaded.warnings[..] else { panic!("{:?}", loaded.warnings) };
    assert!(warning.contains("RAFT_HARTBEAT_MS"), "{warning}");
}

#[test]
fn what_must_be_free_is_derived_from_the_disk_unless_it_is_configured() {
    assert_eq!(load(None, &[], &[]).unwrap().config.min_free_bytes, None);
    let set = load(None, &[("RAFT_MIN_FREE_BYTES", "0")], &[]).unwrap();
    assert_eq!(set.config.min_free_bytes, Some(0));
    assert_eq!(wrong(load(None, &[], &[("min_free_bytes", "much")])), ["min_free_bytes"]);
}
