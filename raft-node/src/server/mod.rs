//! A whole node: what it owns, in which order it starts, and how it joins a cluster.

pub mod lifecycle;

pub mod data_dir;

pub mod formation;
