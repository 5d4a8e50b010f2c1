//! Starts that must be refused, with a message that says why.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::cluster::Finds;
use super::node::{Node, free_ports};

const END_LIMIT: Duration = Duration::from_secs(10);

/// Starts that collide with a running node or make no sense.
pub(super) fn refused_while_running(stage: &mut Stage) -> Result<()> {
    let cluster = &stage.cluster;
    let new_folder = cluster.folder.join("data-new");
    let free: Vec<_> = free_ports(2, stage.seed ^ 1)?
        .into_iter()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect();
    let (free, taken) = ([free[0], free[1]], cluster.nodes[0].listens());
    let folder = cluster.data(0);

    let config = cluster.write_config("second-process", 0, &folder, free, Finds::Forms)?;
    refused(stage, &config, &["data-1"])?;
    let config = cluster.write_config(
        "client-port-in-use",
        0,
        &new_folder,
        [taken[0], free[1]],
        Finds::Forms,
    )?;
    refused(stage, &config, &[&taken[0].to_string()])?;
    let config = cluster.write_config(
        "peer-port-in-use",
        0,
        &new_folder,
        [free[0], taken[1]],
        Finds::Forms,
    )?;
    refused(stage, &config, &[&taken[1].to_string()])?;

    let config = cluster.write_config("unknown-field", 0, &new_folder, free, Finds::Forms)?;
    let text = fs::read_to_string(&config)?;
    fs::write(&config, text.clone() + "heartbeats_ms: 7\n")?;
    refused(stage, &config, &["heartbeats_ms"])?;
    fs::write(&config, text.replace("node_id: 1", "node_id: 7"))?;
    refused(stage, &config, &["node_id", "7"])?;
    fs::write(&config, "members: [")?;
    refused(stage, &config, &["unknown-field.yaml"])?;
    refused(stage, &cluster.folder.join("absent.yaml"), &["absent.yaml"])?;

    let file = cluster.folder.join("a-file");
    fs::write(&file, "no folder")?;
    let config = cluster.write_config("data-in-a-file", 0, &file, free, Finds::Forms)?;
    refused(stage, &config, &["a-file"])?;
    stage.cluster.wait_until_equal().context("the running nodes were disturbed")?;
    Ok(())
}

/// A node never uses what another one wrote.
pub(super) fn refused_folder(stage: &mut Stage) -> Result<()> {
    stage.cluster.nodes[0].terminate(END_LIMIT)?;
    stage.cluster.nodes[1].terminate(END_LIMIT)?;
    let (folder, listens) = (stage.cluster.data(0), stage.cluster.nodes[1].listens());
    let config =
        stage.cluster.write_config("folder-of-another", 1, &folder, listens, Finds::Forms)?;
    refused(stage, &config, &["data-1"])?;
    stage.cluster.nodes[0].start()?;
    stage.cluster.nodes[1].start()?;
    stage.cluster.leader().context("the folder was harmed")?;
    Ok(())
}

/// Starts a node that must end by itself, with failure and these words.
fn refused(stage: &Stage, config: &Path, words: &[&str]) -> Result<()> {
    let name = config.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut node = Node::new(0, [nobody; 2], &stage.cluster.binary, config.to_owned());
    let before = node.last_log_lines(usize::MAX).len();
    node.start()?;
    let status = node.wait_for_end(END_LIMIT).with_context(|| format!("{name} was not refused"))?;
    let said = node.last_log_lines(usize::MAX)[before..].join("\n");
    ensure!(status.code().is_some_and(|code| code != 0), "{name}: {status}; it said: {said}");
    for word in words {
        ensure!(said.contains(word), "{name} was refused without naming {word:?}: {said}");
    }
    ensure!(!said.contains("panicked"), "{name} was refused by a panic: {said}");
    println!("   {name}: {}", said.lines().last().unwrap_or_default());
    Ok(())
}
