//! The few options the commands take.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

/// What follows the command's name. Options are taken out one by one; whatever is
/// left at the end was not understood.
#[derive(Debug)]
pub(crate) struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    pub(crate) const fn new(words: Vec<String>) -> Self {
        Self { words }
    }

    /// Whether `name` was given.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    /// The value of `--name VALUE` or `--name=VALUE`.
    pub(crate) fn value<T>(&mut self, name: &str) -> Result<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        let assigned =
            |word: &str| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let Some(at) = self.words.iter().position(|word| word == name || assigned(word)) else {
            return Ok(None);
        };
        let word = self.words.remove(at);
        let text = match word.split_once('=') {
            Some((_, text)) => text.to_owned(),
            None if at < self.words.len() => self.words.remove(at),
            None => bail!("{name} needs a value"),
        };
        let value = text.parse().map_err(|error| anyhow!("{error}"));
        value.with_context(|| format!("{name} {text:?}")).map(Some)
    }

    /// The first word that is no option, once the options are taken out.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self.words.iter().position(|word| !word.starts_with("--"))?;
        Some(self.words.remove(at))
    }

    /// An error if anything was not understood.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => bail!("{word:?} was not understood; see `cargo xtask help`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::new(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn options_may_come_in_any_order_and_both_forms() -> Result<()> {
        for words in [["--fresh", "--nodes", "5"].as_slice(), &["--nodes=5", "--fresh"]] {
            let mut given = arguments(words);
            assert_eq!(given.value::<u64>("--nodes")?, Some(5));
            assert_eq!(given.value::<u64>("--rounds")?, None);
            assert!(given.flag("--fresh"));
            given.finish()?;
        }
        let mut given = arguments(&["--nodes", "5", "name", "--x"]);
        given.value::<u64>("--nodes")?;
        assert_eq!((given.word().as_deref(), given.word()), (Some("name"), None));
        Ok(())
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let error = |words| {
            let mut given = arguments(words);
            let value = given.value::<u64>("--nodes");
            format!("{:#}", value.and_then(|_| given.finish()).unwrap_err())
        };
        assert_eq!(error(&["--nodes"]), "--nodes needs a value");
        assert_eq!(error(&["--nodes=x"]), "--nodes \"x\": invalid digit found in string");
        assert_eq!(error(&["--nodesx"]), "\"--nodesx\" was not understood; see `cargo xtask help`");
    }
}
