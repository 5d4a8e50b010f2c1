//! The clock of a node goes on while its machine is suspended.
//!
//! No test can suspend the machine it runs on. But Linux gives out spaces whose processes see
//! another boot time and the same monotonic time, and a process that moves into one sees what
//! it would see after a suspension: one clock has gone on, the other has not.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("SKIPPED: only Linux has time namespaces");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use raft_node::shell::Clock;
    use suspension::{SUSPENDED, Suspension};

    let suspension = match Suspension::prepare() {
        Ok(suspension) => suspension,
        Err(why) => {
            eprintln!("SKIPPED, nothing is proved: no time namespace: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let (clock, monotonic) = (Clock::start(), std::time::Instant::now());
    let before = clock.now();
    if let Err(why) = suspension.suspend() {
        eprintln!("SKIPPED, nothing is proved: cannot enter a time namespace: {why}");
        return ExitCode::SUCCESS;
    }
    let (passed, ran) = (clock.now().since(before), monotonic.elapsed());
    assert!(ran < SUSPENDED, "the monotonic clock stood still, and shows {ran:?}");
    assert!(passed >= SUSPENDED, "the node's clock shows {passed:?} and {SUSPENDED:?} passed");
    println!("after {SUSPENDED:?} of suspension: {passed:?} by the node's clock");
    ExitCode::SUCCESS
}

#[cfg(target_os = "linux")]
mod suspension {
    use std::fs::File;
    use std::io::{self, BufRead as _, BufReader};
    use std::os::fd::AsFd as _;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    /// For how long the machine seems to have been suspended.
    pub(crate) const SUSPENDED: Duration = Duration::from_secs(36_000);

    /// A process in a space whose boot time is ahead.
    pub(crate) struct Suspension(Child);

    impl Suspension {
        pub(crate) fn prepare() -> io::Result<Self> {
            // It says that it is there, and ends with its input.
            let boottime = SUSPENDED.as_secs().to_string();
            let mut child = Command::new("unshare")
                .args(["--time", "--boottime", &boottime, "sh", "-c", "echo there; read _"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line)?;
            let suspension = Self(child);
            match line.trim() {
                "there" => Ok(suspension),
                _ => Err(io::Error::other("unshare cannot make one; it needs to be root")),
            }
        }

        /// Moves this process there.
        pub(crate) fn suspend(&self) -> io::Result<()> {
            let space = File::open(format!("/proc/{}/ns/time", self.0.id()))?;
            let time = Some(LinkNameSpaceType::Time);
            Ok(move_into_link_name_space(space.as_fd(), time)?)
        }
    }

    impl Drop for Suspension {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }
}
