//! Which node has which ports and files.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Where the cluster lives, below the root of the workspace.
pub(crate) const FOLDER: &str = "target/cluster";

/// Ports grow by this much from the second node on: 2379, 22379, 32379, ...
const STRIDE: u16 = 10_000;
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// The node after this one would need a port above 65,535.
const MOST_NODES: usize = 6;

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its files are, below the root of the workspace.
    pub(crate) folder: &'static str,
    pub(crate) id: u64,
    pub(crate) client_port: u16,
    pub(crate) peer_port: u16,
}

impl Place {
    pub(crate) fn client(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub(crate) fn peer(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    pub(crate) fn data(&self) -> String {
        format!("{}/node-{}", self.folder, self.id)
    }

    pub(crate) fn log(&self) -> String {
        format!("{}/node-{}.log", self.folder, self.id)
    }

    pub(crate) fn config(&self) -> String {
        format!("{}/node-{}.yaml", self.folder, self.id)
    }
}

/// The nodes of a cluster of `count`.
pub(crate) fn places(count: usize) -> Result<Vec<Place>> {
    if !(1..=MOST_NODES).contains(&count) {
        bail!("--nodes {count}: between 1 and {MOST_NODES} nodes find ports on one machine");
    }
    let mut places = Vec::new();
    for id in 1..=u16::try_from(count)? {
        // 2379, then 22379: the second digit sets them apart from the first.
        let offset = if id == 1 { 0 } else { id * STRIDE };
        places.push(Place {
            folder: FOLDER,
            id: id.into(),
            client_port: CLIENT_PORT + offset,
            peer_port: PEER_PORT + offset,
        });
    }
    Ok(places)
}

/// An error that names the first port somebody else uses.
pub(crate) fn check_ports(places: &[Place]) -> Result<()> {
    for place in places {
        for (port, whom) in [(place.client_port, "clients"), (place.peer_port, "peers")] {
            let bound = TcpListener::bind(("127.0.0.1", port));
            let used = matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse);
            if used {
                bail!(
                    "port {port} (for the {whom} of node {}) is in use; is another cluster running?",
                    place.id
                );
            }
            bound.with_context(|| format!("cannot listen on port {port}"))?;
        }
    }
    Ok(())
}

/// Writes the configuration of every node below `root`; whether there was a cluster
/// of this size already, whose data goes on being used.
pub(crate) fn write_configs(root: &Path, places: &[Place]) -> Result<bool> {
    let below = places.first().map_or(FOLDER, |place| place.folder);
    let folder = root.join(below);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let existing = (1..=MOST_NODES).filter(|id| folder.join(format!("node-{id}")).is_dir()).count();
    if existing != 0 && existing != places.len() {
        bail!(
            "{below} holds the data of {existing} nodes: use --nodes {existing} to go on with \
             them, or --fresh to remove them"
        );
    }
    for place in places {
        let path = root.join(place.config());
        fs::write(&path, config(place, places))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(existing != 0)
}

fn config(place: &Place, places: &[Place]) -> String {
    let mut text = format!(
        "# Written by `cargo xtask`; paths are relative to the root of the workspace.\n\
         node_id: {}\n\
         cluster: local\n\
         data_dir: {}\n\
         listen_client: {}\n\
         listen_peer: {}\n\
         members:\n",
        place.id,
        place.data(),
        place.client(),
        place.peer(),
    );
    for other in places {
        let (id, peer, client) = (other.id, other.peer(), other.client());
        writeln!(text, "  - {{ id: {id}, peer: \"{peer}\", client: \"{client}\" }}")
            .expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_ones_people_know() -> Result<()> {
        let clients: Vec<_> = places(4)?.iter().map(|place| place.client_port).collect();
        assert_eq!(clients, [2379, 22379, 32379, 42379]);
        assert_eq!(places(6)?[5].peer(), "127.0.0.1:62380");
        assert!(places(0).is_err() && places(7).is_err());
        Ok(())
    }

    #[test]
    fn a_port_in_use_is_named() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let place = Place { folder: FOLDER, id: 3, client_port: port, peer_port: port };
        let error = check_ports(&[place]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("port {port} (for the clients of node 3)")), "{error}");
        drop(listener);
        check_ports(&[place])
    }

    #[test]
    fn a_configuration_names_every_member() -> Result<()> {
        let places = places(2)?;
        let text = config(&places[1], &places);
        assert!(text.contains("\nnode_id: 2\n"), "{text}");
        assert!(text.contains("\nlisten_client: 127.0.0.1:22379\n"), "{text}");
        let member = "  - { id: 1, peer: \"127.0.0.1:2380\", client: \"127.0.0.1:2379\" }\n";
        assert!(text.contains(member), "{text}");
        Ok(())
    }

    #[test]
    fn data_of_a_cluster_of_another_size_is_not_touched() -> Result<()> {
        let root = tempfile::tempdir()?;
        assert!(!write_configs(root.path(), &places(3)?)?);
        for place in places(3)? {
            fs::create_dir_all(root.path().join(place.data()))?;
        }
        assert!(write_configs(root.path(), &places(3)?)?);
        let error = write_configs(root.path(), &places(5)?).unwrap_err().to_string();
        assert!(error.contains("--nodes 3") && error.contains("--fresh"), "{error}");
        assert!(!root.path().join(FOLDER).join("node-5.yaml").exists());
        Ok(())
    }
}
