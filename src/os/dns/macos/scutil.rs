//! `scutil`, Apple's own tool for the dynamic store.

use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::os::command::run;

/// What we ask of it. Every call ends within seconds.
pub trait Scutil {
    /// Runs it with these arguments and hands it commands. That one of them did not work is no failure of its own.
    ///
    /// # Errors
    /// In words.
    fn run(&self, arguments: &[&str], commands: &str) -> Result<String, String>;

    /// Which start of the machine this is.
    fn boot_id(&self) -> String;

    /// Has programs forget what they were told before. Best effort.
    fn flush(&self);

    /// Waits for a tenth of a second: macOS does not tell a program like us when it has taken a change in.
    fn pause(&self);
}

/// See [`Scutil::pause`].
const PAUSE: Duration = Duration::from_millis(100);

/// The real one.
#[derive(Debug)]
pub struct Tool {
    runtime: Runtime,
}

impl Tool {
    /// Starts nothing.
    ///
    /// # Errors
    /// When the system gives no event queue.
    pub fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime })
    }

    fn say(&self, words: &[&str], input: &str) -> Result<String, String> {
        let said = self.runtime.block_on(run(words, input.as_bytes()))?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}

impl Scutil for Tool {
    fn run(&self, arguments: &[&str], commands: &str) -> Result<String, String> {
        let words = [&["scutil"], arguments].concat();
        self.say(&words, commands)
    }

    fn boot_id(&self) -> String {
        let said = self.say(&["sysctl", "-n", "kern.bootsessionuuid"], "");
        said.unwrap_or_default().trim().to_owned()
    }

    fn flush(&self) {
        let _ = self.say(&["dscacheutil", "-flushcache"], "");
    }

    fn pause(&self) {
        self.runtime.block_on(async { tokio::time::sleep(PAUSE).await });
    }
}
