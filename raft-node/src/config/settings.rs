//! The layers that values come from, before anything is checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{ConfigError, Source};

/// Every field there is.
pub(super) const FIELDS: [&str; 25] = [
    "node_id",
    "cluster",
    "data_dir",
    "listen_client",
    "listen_peer",
    "members",
    "join",
    "election_timeout_ms",
    "heartbeat_ms",
    "lease_drift_ms",
    "priority",
    "forward",
    "request_timeout_ms",
    "max_body_bytes",
    "snapshot_every_entries",
    "snapshot_every_bytes",
    "snapshot_every_ms",
    "snapshot_send_bytes_per_s",
    "snapshot_write_bytes_per_s",
    "keep_snapshots",
    "keep_entries",
    "segment_bytes",
    "min_free_bytes",
    "cache_bytes",
    "log",
];

/// Variables that are no field and yet ours: they are read by the command line.
const OTHER_VARIABLES: [&str; 2] = ["RAFT_CONFIG", "RAFT_ENDPOINTS"];

/// What was set, and by whom. Later layers replace earlier ones.
#[derive(Debug, Default)]
pub(super) struct Settings {
    values: BTreeMap<String, (Value, Source)>,
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    pub(super) fn add_file(&mut self, path: &Path) {
        match read(path) {
            Ok(fields) => {
                for (field, value) in fields {
                    let from = Source::File(path.to_owned());
                    if FIELDS.contains(&field.as_str()) {
                        self.values.insert(field, (value, from));
                    } else {
                        self.error(&field, from, "no such field");
                    }
                }
            }
            Err(why) => self.error("config", Source::File(path.to_owned()), why),
        }
    }

    pub(super) fn add_environment(&mut self, all: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in all {
            let Some(field) = name.strip_prefix("RAFT_").map(str::to_ascii_lowercase) else {
                continue;
            };
            if FIELDS.contains(&field.as_str()) {
                self.values.insert(field, (Value::String(value), Source::Environment(name)));
            } else if !OTHER_VARIABLES.contains(&name.as_str()) {
                self.warnings.push(format!("the environment variable {name} is not known here"));
            }
        }
    }

    pub(super) fn add_flags<'a>(&mut self, all: impl IntoIterator<Item = (&'a str, String)>) {
        for (field, value) in all {
            let flag = format!("--{}", field.replace('_', "-"));
            assert!(FIELDS.contains(&field), "{flag} stands for no field");
            self.values.insert(field.to_owned(), (Value::String(value), Source::Flag(flag)));
        }
    }

    /// The value of `field`, which `convert` makes; an error is noted, and `None` then.
    /// Where nobody set it, `default` is given.
    pub(super) fn take<T>(
        &mut self,
        field: &str,
        default: T,
        convert: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let Some((value, from)) = self.values.get(field) else { return Some(default) };
        match convert(value) {
            Ok(value) => Some(value),
            Err(why) => {
                let from = from.clone();
                self.error(field, from, why);
                None
            }
        }
    }

    /// Notes that the value of `field`, wherever it came from, is wrong.
    pub(super) fn wrong(&mut self, field: &str, why: impl Into<String>) {
        let from = self.values.get(field).map_or(Source::Default, |(_, from)| from.clone());
        self.error(field, from, why);
    }

    fn error(&mut self, field: &str, from: Source, why: impl Into<String>) {
        self.errors.push(ConfigError { field: field.to_owned(), from, why: why.into() });
    }
}

fn read(path: &Path) -> Result<Map<String, Value>, String> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_json = match extension {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        _ => return Err("the file's name must end in .yaml, .yml or .json".to_owned()),
    };
    let text =
        std::fs::read_to_string(path).map_err(|why| format!("the file cannot be read: {why}"))?;
    let value: Value = if is_json {
        serde_json::from_str(&text).map_err(|why| why.to_string())?
    } else {
        let yaml: serde_yaml::Value = serde_yaml::from_str(&text).map_err(|why| why.to_string())?;
        serde_json::to_value(yaml).map_err(|why| why.to_string())?
    };
    match value {
        Value::Object(fields) => Ok(fields),
        // A file in which every line is a comment.
        Value::Null => Ok(Map::new()),
        _ => Err("the file must hold fields with values".to_owned()),
    }
}
