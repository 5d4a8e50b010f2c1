//! Who may import whom.

use serde_json::Value;

use super::Finding;

/// The arrows between the packages of the workspace; no other exists, not even for
/// tests. This is the table of ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 9] = [
    ("raft-core", &[]),
    ("raft-election", &["raft-core"]),
    ("raft-replication", &["raft-core"]),
    ("raft-state", &["raft-core", "raft-election", "raft-replication"]),
    ("raft-log", &["raft-core"]),
    ("raft-rpc", &["raft-core"]),
    ("raft-node", PRODUCT),
    ("tests", PRODUCT),
    ("xtask", &[]),
];

const PRODUCT: &[&str] = &[
    "raft-core",
    "raft-election",
    "raft-replication",
    "raft-state",
    "raft-log",
    "raft-rpc",
    "raft-node",
];

/// What the packages that do no input and output may use from elsewhere.
const PURE: [&str; 4] = ["raft-core", "raft-election", "raft-replication", "raft-state"];
const PURE_MAY_USE: [&str; 2] = ["bytes", "thiserror"];

/// Reads what `cargo metadata --no-deps` says.
pub(crate) fn check(metadata: &Value) -> Vec<Finding> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let members: Vec<String> = packages.iter().map(name).collect();
    let mut findings = Vec::new();
    if members.is_empty() {
        findings.push(Finding::at("workspace", "cargo names no packages".to_owned()));
    }
    for package in packages {
        let from = name(package);
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == from) else {
            let what = "this package is not in the table of who may import whom";
            findings.push(Finding::at(&from, what.to_owned()));
            continue;
        };
        for dependency in package["dependencies"].as_array().map_or(&[][..], Vec::as_slice) {
            let (to, kind) = (name(dependency), dependency["kind"].as_str().unwrap_or("normal"));
            if members.contains(&to) && !allowed.contains(&to.as_str()) {
                let what = format!("must not depend on {to} ({kind} dependency)");
                findings.push(Finding::at(&from, what));
            }
            let outside = !members.contains(&to) && !PURE_MAY_USE.contains(&to.as_str());
            if outside && kind == "normal" && PURE.contains(&from.as_str()) {
                let what = format!("does no input and output, and has no use for {to}");
                findings.push(Finding::at(&from, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let metadata = json!({"packages": [
            {"name": from, "dependencies": [{"name": to, "kind": kind}]},
            {"name": "raft-core", "dependencies": []},
            {"name": "raft-election", "dependencies": []},
            {"name": "raft-state", "dependencies": []},
        ]});
        check(&metadata).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_of_the_table_are_allowed() {
        assert_eq!(findings("raft-replication", "raft-core", None), [""; 0]);
        assert_eq!(findings("tests", "raft-state", Some("dev")), [""; 0]);
        assert_eq!(findings("raft-log", "tempfile", Some("dev")), [""; 0]);
    }

    #[test]
    fn other_arrows_are_not_for_whatever_purpose() {
        let expected = "raft-replication: must not depend on raft-election (normal dependency)";
        assert_eq!(findings("raft-replication", "raft-election", None), [expected]);
        let expected = "raft-log: must not depend on raft-state (dev dependency)";
        assert_eq!(findings("raft-log", "raft-state", Some("dev")), [expected]);
        let expected = "xtask: must not depend on raft-core (build dependency)";
        assert_eq!(findings("xtask", "raft-core", Some("build")), [expected]);
    }

    #[test]
    fn pure_packages_use_little_from_elsewhere() {
        assert_eq!(findings("raft-core", "bytes", None), [""; 0]);
        let expected = "raft-core: does no input and output, and has no use for tracing";
        assert_eq!(findings("raft-core", "tracing", None), [expected]);
    }

    #[test]
    fn a_package_nobody_placed_is_found() {
        let expected = "raft-extra: this package is not in the table of who may import whom";
        assert_eq!(findings("raft-extra", "raft-core", None), [expected]);
        assert_eq!(check(&json!({})).len(), 1);
    }
}
