//! Starting and stopping what owns threads or files.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;

/// Why a component did not start or stop.
pub type ComponentError = Box<dyn Error + Send + Sync>;

/// A component that owns threads, sockets or files.
///
/// A component that was stopped is not started again.
#[async_trait]
pub trait Lifecycle: Send {
    /// What people call it.
    fn name(&self) -> &str;

    /// Starts it. A component whose start failed has released what it had taken, and
    /// is not stopped.
    async fn start(&mut self) -> Result<(), ComponentError>;

    /// Stops it and releases what it owns, also where it reports an error.
    async fn stop(&mut self) -> Result<(), ComponentError>;
}

/// The components of a node, in the order in which they start.
#[derive(Default)]
pub struct Lifecycles {
    components: Vec<Box<dyn Lifecycle>>,
    started: usize,
}

/// What a node was doing when components failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Starting. Errors of stopping what had already started are among the errors.
    Start,
    /// Running: a component failed, and all were stopped because of it.
    Run,
    /// Stopping.
    Stop,
}

/// Every failure of a phase.
#[derive(Debug)]
pub struct ContextLifecycleError {
    /// The phase.
    pub phase: Phase,
    /// The components that failed, in the order in which they did.
    pub errors: Vec<(String, ComponentError)>,
}

impl Lifecycles {
    /// No components.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, which starts after those before it and stops before them.
    ///
    /// # Panics
    /// Where some have started already.
    pub fn add(&mut self, component: impl Lifecycle + 'static) {
        assert_eq!(self.started, 0, "a component is added after others have started");
        self.components.push(Box::new(component));
    }

    /// Starts all, one after the other. Where one fails, those that had started are
    /// stopped again, the last one first.
    ///
    /// # Errors
    /// The failure, and those of stopping.
    pub async fn start(&mut self) -> Result<(), ContextLifecycleError> {
        while let Some(component) = self.components.get_mut(self.started) {
            if let Err(why) = component.start().await {
                let mut errors = vec![(component.name().to_owned(), why)];
                errors.extend(self.stop_started().await);
                return Err(ContextLifecycleError { phase: Phase::Start, errors });
            }
            self.started += 1;
        }
        Ok(())
    }

    /// Stops all that have started, the last one first, also after one has failed.
    ///
    /// # Errors
    /// All failures.
    pub async fn stop(&mut self) -> Result<(), ContextLifecycleError> {
        let errors = self.stop_started().await;
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ContextLifecycleError { phase: Phase::Stop, errors })
        }
    }

    async fn stop_started(&mut self) -> Vec<(String, ComponentError)> {
        let mut errors = Vec::new();
        while self.started > 0 {
            self.started -= 1;
            let component = &mut self.components[self.started];
            if let Err(why) = component.stop().await {
                errors.push((component.name().to_owned(), why));
            }
        }
        errors
    }
}

impl fmt::Debug for Lifecycles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.components.iter().map(|component| component.name()).collect();
        f.debug_struct("Lifecycles")
            .field("components", &names)
            .field("started", &self.started)
            .finish()
    }
}

impl fmt::Display for ContextLifecycleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            Phase::Start => write!(f, "the node did not start:")?,
            Phase::Run => write!(f, "the node stopped by itself:")?,
            Phase::Stop => write!(f, "the node did not stop cleanly:")?,
        }
        for (component, error) in &self.errors {
            // Many errors name their cause themselves; each is said once.
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(one) = cause {
                let more = one.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                cause = one.source();
            }
            let start = if self.errors.len() == 1 { " " } else { "\n  " };
            write!(f, "{start}{component}: {text}")?;
        }
        Ok(())
    }
}

impl Error for ContextLifecycleError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // All of them are part of the text, with their causes.
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Journal = Arc<Mutex<Vec<String>>>;

    struct Component {
        name: &'static str,
        journal: Journal,
        fails: &'static [&'static str],
    }

    impl Component {
        fn does(&self, what: &str) -> Result<(), ComponentError> {
            self.journal.lock().unwrap().push(format!("{what} {}", self.name));
            if self.fails.contains(&what) { Err(format!("cannot {what}").into()) } else { Ok(()) }
        }
    }

    #[async_trait]
    impl Lifecycle for Component {
        fn name(&self) -> &str {
            self.name
        }

        async fn start(&mut self) -> Result<(), ComponentError> {
            self.does("start")
        }

        async fn stop(&mut self) -> Result<(), ComponentError> {
            self.does("stop")
        }
    }

    fn node(components: &[(&'static str, &'static [&'static str])]) -> (Lifecycles, Journal) {
        let journal = Journal::default();
        let mut all = Lifecycles::new();
        for (name, fails) in components {
            all.add(Component { name, journal: Arc::clone(&journal), fails });
        }
        (all, journal)
    }

    #[tokio::test]
    async fn components_start_in_order_and_stop_in_reverse_once() {
        let (mut node, journal) = node(&[("log", &[]), ("api", &[])]);
        node.start().await.unwrap();
        node.stop().await.unwrap();
        node.stop().await.unwrap();
        assert_eq!(*journal.lock().unwrap(), ["start log", "start api", "stop api", "stop log"]);
    }

    #[tokio::test]
    async fn a_failed_start_stops_what_had_started_and_tells_everything() {
        let (mut node, journal) =
            node(&[("log", &["stop"]), ("store", &[]), ("api", &["start"]), ("never", &[])]);
        let error = node.start().await.unwrap_err();
        let journal = journal.lock().unwrap();
        assert_eq!(journal[2..], ["start api", "stop store", "stop log"]);
        assert_eq!(
            error.to_string(),
            "the node did not start:\n  api: cannot start\n  log: cannot stop"
        );
    }

    #[tokio::test]
    async fn every_failure_of_stopping_is_told() {
        let (mut node, _) = node(&[("log", &["stop"]), ("store", &[]), ("api", &["stop"])]);
        node.start().await.unwrap();
        let error = node.stop().await.unwrap_err();
        assert_eq!(error.phase, Phase::Stop);
        let names: Vec<&str> = error.errors.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, ["api", "log"]);
    }
}
