//! A small state machine that keeps every rule, and the same with each of them broken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::Timekeeping;

type Sums = BTreeMap<u8, u64>;

/// What is on the disk of a place.
type Place = Arc<Mutex<(Index, Sums)>>;

/// Adds numbers up under keys, and answers each command with the sum.
struct Ledger {
    applied: Index,
    sums: Arc<Mutex<Sums>>,
    told: GroupTime,
    place: Place,
    breaks: Option<Rule>,
}

#[derive(Default)]
struct Ledgers {
    place: Place,
    breaks: Option<Rule>,
    survives: bool,
}

impl Fixture for Ledgers {
    type Machine = Ledger;

    fn new_place(&mut self) {
        self.place = Place::default();
    }

    fn open(&mut self) -> io::Result<Ledger> {
        let (mut applied, sums) =
            if self.survives { self.place.lock().unwrap().clone() } else { Default::default() };
        if self.breaks == Some(Rule::BeginsEmpty) {
            applied = applied.next();
        }
        let (sums, place) = (Arc::new(Mutex::new(sums)), Arc::clone(&self.place));
        Ok(Ledger { applied, sums, told: GroupTime(0), place, breaks: self.breaks })
    }

    fn command(&self, number: u64) -> Bytes {
        Bytes::copy_from_slice(&[(number % 3 + number / 1000) as u8, number as u8])
    }

    fn state(&self, machine: &mut Ledger) -> io::Result<Vec<u8>> {
        Ok(format!("{:?}", machine.sums.lock().unwrap()).into_bytes())
    }

    fn survival(&self) -> Survival {
        if self.survives { Survival::Flushed } else { Survival::Nothing }
    }
}

impl Ledger {
    fn breaks(&self, rule: Rule) -> bool {
        self.breaks == Some(rule)
    }

    fn now(&self) -> (Index, Sums) {
        (self.applied, self.sums.lock().unwrap().clone())
    }
}

fn encode(sums: &Sums) -> Vec<u8> {
    sums.iter().flat_map(|(key, sum)| [&[*key][..], &sum.to_le_bytes()].concat()).collect()
}

/// An image that is made when it is read.
struct Late(Arc<Mutex<Sums>>, Option<io::Cursor<Vec<u8>>>);

impl Read for Late {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let sums = &self.0;
        self.1.get_or_insert_with(|| io::Cursor::new(encode(&sums.lock().unwrap()))).read(into)
    }
}

impl StateMachine for Ledger {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        if commands.is_empty() && self.breaks(Rule::AnswersEachCommand) {
            return Ok(Vec::new());
        }
        let batch = if self.breaks(Rule::IsDeterministic) { commands.len() as u64 } else { 1 };
        let mut sums = self.sums.lock().unwrap();
        let mut answers = Vec::new();
        for command in commands {
            let sum = sums.entry(command.payload[0]).or_default();
            *sum += u64::from(command.payload[1]) * batch;
            answers.push(Bytes::from(sum.to_string()));
        }
        drop(sums);
        self.applied = up_to;
        if self.breaks(Rule::FlushedSurvives) {
            self.place.lock().unwrap().0 = up_to;
        }
        Ok(answers)
    }

    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        if time < self.told && self.breaks(Rule::TakesTheTime) {
            return Ok(());
        }
        (self.told, self.applied) = (self.told.max(time), index);
        Ok(())
    }

    fn timekeeping(&self) -> Timekeeping {
        Timekeeping { reached: self.told, ..Timekeeping::default() }
    }

    fn flush(&mut self) -> io::Result<Index> {
        *self.place.lock().unwrap() = self.now();
        let reached = self.applied;
        Ok(if self.breaks(Rule::FlushesReach) { reached.next() } else { reached })
    }

    fn begin_flush(&mut self) -> io::Result<Flush> {
        let (place, now) = (Arc::clone(&self.place), self.now());
        if self.breaks(Rule::DroppedFlushesDoNoHarm) {
            place.lock().unwrap().0 = now.0;
        }
        Ok(Flush::Job(Box::new(move || {
            let index = now.0;
            *place.lock().unwrap() = now;
            Ok(index)
        })))
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        let mut image = Late(Arc::clone(&self.sums), None);
        if !self.breaks(Rule::ImagesStay) {
            image.1 = Some(io::Cursor::new(encode(&self.now().1)));
        }
        Ok(Box::new(image))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        if self.breaks(Rule::BadImagesChangeNothing) {
            self.sums.lock().unwrap().clear();
        }
        let mut bytes = Vec::new();
        image.read_to_end(&mut bytes)?;
        let pairs = bytes.chunks(9).map(|pair| {
            (pair[0], u64::from_le_bytes(pair[1..].try_into().expect("nine bytes each")))
        });
        let mut sums = self.sums.lock().unwrap();
        if !self.breaks(Rule::ImagesRestore) {
            sums.clear();
        }
        sums.extend(pairs);
        drop(sums);
        self.applied = index;
        if !self.breaks(Rule::RestoredSurvives) {
            *self.place.lock().unwrap() = self.now();
        }
        Ok(())
    }
}

#[test]
fn a_state_machine_that_keeps_every_rule_passes() {
    for survives in [false, true] {
        state_machine(&mut Ledgers { survives, ..Ledgers::default() }).unwrap();
    }
}

#[test]
fn every_rule_is_missed_where_it_is_broken() {
    let rules = [
        Rule::BeginsEmpty,
        Rule::AnswersEachCommand,
        Rule::IsDeterministic,
        Rule::TakesTheTime,
        Rule::ImagesStay,
        Rule::ImagesRestore,
        Rule::BadImagesChangeNothing,
        Rule::FlushesReach,
        Rule::FlushedSurvives,
        Rule::DroppedFlushesDoNoHarm,
        Rule::RestoredSurvives,
    ];
    for rule in rules {
        let mut ledgers = Ledgers { breaks: Some(rule), survives: true, ..Ledgers::default() };
        let broken = state_machine(&mut ledgers).expect_err("a broken rule is noticed");
        assert_eq!(broken.rule, rule, "{broken}");
        assert!(broken.to_string().contains(&rule.to_string()), "{broken}");
    }
}

#[test]
fn commands_that_do_nothing_are_no_check_and_are_noticed() {
    struct Idle(Ledgers);
    impl Fixture for Idle {
        type Machine = Ledger;
        fn new_place(&mut self) {
            self.0.new_place();
        }
        fn open(&mut self) -> io::Result<Ledger> {
            self.0.open()
        }
        fn command(&self, _: u64) -> Bytes {
            Bytes::from_static(&[0, 0])
        }
        fn state(&self, _: &mut Ledger) -> io::Result<Vec<u8>> {
            Ok(Vec::new())
        }
        fn survival(&self) -> Survival {
            self.0.survival()
        }
    }
    let broken = state_machine(&mut Idle(Ledgers::default())).unwrap_err();
    assert!(broken.how.contains("other commands are needed"), "{broken}");
}
