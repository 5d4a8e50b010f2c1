//! One run as a picture: a page that needs nothing but itself.

mod data;

use serde_json::{Value, json};

use super::invariant::Check;
use super::recording::Recording;
use super::report::Failure;
use super::world::BEGINS;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// In the order in which they stand in the page.
const SCRIPTS: [&str; 8] = [
    include_str!("run.js"),
    include_str!("view.js"),
    include_str!("lanes.js"),
    include_str!("arrows.js"),
    include_str!("hits.js"),
    include_str!("story.js"),
    include_str!("panel.js"),
    include_str!("controls.js"),
];

/// What the page says of the run as a whole.
#[derive(Clone, Debug)]
pub struct Heading<'a> {
    /// The seed.
    pub seed: u64,
    /// What runs it again.
    pub command: &'a str,
    /// What did not hold, if anything.
    pub failure: Option<&'a Failure>,
}

impl Recording {
    /// A page with the whole run.
    #[must_use]
    pub fn page(&self, heading: &Heading<'_>) -> String {
        let Heading { seed, command, failure } = heading;
        let mut run = data::of(self);
        run["seed"] = json!(seed.to_string());
        run["command"] = json!(command);
        run["failure"] = failure.map_or(Value::Null, told);
        // Nothing in the data may end the element that holds it.
        let run = run.to_string().replace("</", "<\\/");
        let scripts = SCRIPTS.concat();
        let parts = [("/* STYLE */", STYLE), ("/* RUN */", &run), ("/* SCRIPTS */", &scripts)];
        let mut page = PAGE.to_owned();
        for (place, part) in parts {
            page = page.replacen(place, part, 1);
        }
        page
    }
}

fn told(failure: &Failure) -> Value {
    let check = Check::of(&failure.what);
    let name = check.map_or("assertion", Check::name);
    let what = failure.what.strip_prefix(name).unwrap_or(&failure.what);
    json!({
        "at": failure.extent.length.as_micros() as u64,
        "check": name,
        "means": check.map_or("", Check::means),
        "what": what.trim_start_matches([':', ' ']),
        "begins_ns": BEGINS.0,
    })
}

#[cfg(test)]
mod browser_tests;
