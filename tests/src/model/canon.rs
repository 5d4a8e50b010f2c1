//! One text for all states of a node that have the same future.
//!
//! The text is what `Debug` says of the node, every field of every part of the replica in it,
//! with these numbers put differently:
//!
//! - moments as how long ago they are on the node's clock, since only differences are ever
//!   looked at; how long ago beyond an election timeout a leader was heard does not matter;
//! - a deadline of an election only as whether it has come, since the model lets the clock
//!   jump to it;
//! - numbers of writes as how many writes they are ahead of the durable ones, since they are
//!   only compared with one another;
//! - not at all: what is left of the source of chance, the wait drawn from it, and when
//!   proposals were staged that are taken in by now.

use std::fmt::{self, Debug, Write};

/// The text of `what`, seen at `now`, with everything up to `durable` written.
pub(crate) fn text(what: &impl Debug, now: u64, durable: u64) -> String {
    let mut text = Text { text: String::new(), word: Word::Other, silent: false, now, durable };
    write!(text, "{what:?}").expect("a string takes everything");
    text.text
}

/// How long ago, in nanoseconds of the model, moments are told apart: longer than any world
/// lets a clock run while one replica leads.
const MOST_AGE: u64 = 64;

/// An election timeout of the model, in nanoseconds.
pub(crate) const TIMEOUT: u64 = 2;

/// What the latest word announced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Other,
    Moment,
    Heard,
    Deadline,
    Write,
}

struct Text {
    text: String,
    word: Word,
    /// Until the next field nothing is taken over.
    silent: bool,
    now: u64,
    durable: u64,
}

impl Text {
    fn moment(&self, at: u64) -> String {
        let (now, clip) = (self.now, |age: u64| age.min(MOST_AGE));
        match self.word {
            _ if at == 0 => "never".into(),
            Word::Deadline => if at <= now { "come" } else { "to come" }.into(),
            Word::Heard if at <= now => format!("-{}", (now - at).min(TIMEOUT)),
            _ if at <= now => format!("-{}", clip(now - at)),
            _ => format!("+{}", clip(at - now)),
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let number = piece.parse::<u64>();
        match (piece, number) {
            (", " | "," | " }", _) => {
                self.silent = false;
                self.word = Word::Other;
                self.text.push_str(piece);
            }
            _ if self.silent => {}
            ("wait" | "staged_at", _) => self.silent = true,
            ("heard" | "bound_until", _) => self.word = Word::Heard,
            ("deadline", _) => self.word = Word::Deadline,
            ("Random", _) => self.silent = true,
            ("Instant", _) if self.word == Word::Other => self.word = Word::Moment,
            ("WriteNumber", _) => self.word = Word::Write,
            (_, Ok(at)) if matches!(self.word, Word::Moment | Word::Heard | Word::Deadline) => {
                let moment = self.moment(at);
                self.text.push_str(&moment);
                self.word = Word::Other;
            }
            (_, Ok(write)) if self.word == Word::Write => {
                write!(self.text, "w{}", write.saturating_sub(self.durable))?;
                self.word = Word::Other;
            }
            _ => self.text.push_str(piece),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Instant, Random, WriteNumber};
    use std::time::Duration;

    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug")]
    struct Sample {
        index: u64,
        deadline: Instant,
        heard: Option<Instant>,
        sent: Vec<(u64, Instant)>,
        random: Random,
        wait: Duration,
        write: WriteNumber,
        term: u64,
    }

    fn sample(clock: u64, seed: u64, writes: u64) -> Sample {
        Sample {
            index: 7,
            deadline: Instant(clock + seed),
            heard: Some(Instant(clock - 2)),
            sent: vec![(1, Instant(clock - 5)), (2, Instant(clock))],
            random: Random::new(seed),
            wait: Duration::from_nanos(seed),
            write: WriteNumber(writes + 1),
            term: 3,
        }
    }

    #[test]
    fn what_has_the_same_future_has_the_same_text() {
        let one = text(&sample(1000, 2, 4), 1000, 4);
        assert_eq!(one, text(&sample(1007, 3, 9), 1007, 9));
        for shown in ["index: 7", "-5", "-2", "w1", "term: 3", "to come"] {
            assert!(one.contains(shown), "{shown} is missing in {one}");
        }
    }

    #[test]
    fn what_may_differ_later_has_another_text() {
        let one = text(&sample(1000, 2, 4), 1000, 4);
        let others = [
            text(&sample(1000, 2, 4), 1001, 4),
            text(&sample(1000, 2, 5), 1000, 4),
            text(&Sample { index: 8, ..sample(1000, 2, 4) }, 1000, 4),
            text(&Sample { deadline: Instant(1000), ..sample(1000, 2, 4) }, 1000, 4),
            text(&Sample { sent: Vec::new(), ..sample(1000, 2, 4) }, 1000, 4),
        ];
        assert!(others.iter().all(|other| *other != one), "{one} is one of {others:?}");
    }
}
