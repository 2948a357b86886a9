//! What this process takes of the machine, as Linux says it (proc_pid_stat(5)). The file is opened once and read again and again, because the
//! sandbox shuts the folder.
#![allow(unsafe_code, reason = "std does not know what a page or a tick is")]

use std::fs::File;
use std::io;
use std::time::Duration;

use super::clock;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Time of processors, in seconds, the kernel's for it included.
    pub cpu_seconds: f64,
    /// Memory that it has in octets, in RAM.
    pub resident_bytes: u64,
    /// Addresses that it has, whether anything is there or not.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// When it began to be looked at, in seconds since 1970.
    pub since: u64,
}

/// Reads it.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "none is made there"))]
pub struct Meter {
    stat: File,
    since: u64,
}

impl Meter {
    /// To be called at the start, before the sandbox.
    ///
    /// # Errors
    /// The system's own; `Unsupported` elsewhere than on Linux.
    pub fn open() -> io::Result<Self> {
        if cfg!(not(target_os = "linux")) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self {
            stat: File::open("/proc/self/stat")?,
            since: clock::seconds_since_1970(),
        })
    }

    /// What it is now; none if the kernel does not say.
    #[cfg(target_os = "linux")]
    pub fn read(&self) -> Option<Usage> {
        use std::os::unix::fs::FileExt;
        let mut line = [0; 1024];
        let len = self.stat.read_at(&mut line, 0).ok()?;
        // SAFETY: both take a number, read no memory of ours, and always succeed for these two.
        let (tick, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
        let (tick, page) = (u64::try_from(tick).ok()?, u64::try_from(page).ok()?);
        let usage = parse(std::str::from_utf8(&line[..len]).ok()?, tick, page)?;
        Some(Usage {
            since: self.since,
            ..usage
        })
    }

    /// Nobody says it here.
    #[cfg(not(target_os = "linux"))]
    pub fn read(&self) -> Option<Usage> {
        None
    }
}

/// `tick` is how many there are in a second, `page` its octets.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "Linux' file"))]
fn parse(line: &str, tick: u64, page: u64) -> Option<Usage> {
    // The second field is the program's name in parentheses, and may hold blanks and parentheses.
    let (_, fields) = line.rsplit_once(") ")?;
    let fields: Vec<_> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| -> Option<u64> { fields.get(number - FIRST_FIELD)?.parse().ok() };
    let ticks = field(14)?.checked_add(field(15)?)?;
    Some(Usage {
        cpu_seconds: Duration::from_millis(ticks.checked_mul(1000)? / tick).as_secs_f64(),
        resident_bytes: field(24)?.checked_mul(page)?,
        virtual_bytes: field(23)?,
        threads: field(20)?,
        since: 0,
    })
}

/// The state, behind the name.
const FIRST_FIELD: usize = 3;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let line = "7 (ta) c e nda) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 4 0 8000 123456789 2500 18446744073709551615 1 1\n";
        let usage = parse(line, 100, 4096).unwrap();
        assert_eq!((usage.cpu_seconds, usage.threads), (2.0, 4));
        assert_eq!((usage.virtual_bytes, usage.resident_bytes), (123_456_789, 2500 * 4096));
        for broken in [
            "",
            "7 (x) S 1",
            "7 (x) S 1 7 7 0 -1 4194560 900 0 0 0 -1 50 0 0 20 0 4 0 8000 1 2",
        ] {
            assert_eq!(parse(broken, 100, 4096), None, "{broken}");
        }
    }

    #[test]
    fn a_file_that_stays_open_says_what_is_now() {
        let meter = Meter::open().unwrap();
        let before = meter.read().unwrap();
        assert!(
            before.threads >= 1 && before.resident_bytes > 100_000 && before.since > 1_700_000_000,
            "{before:?}"
        );
        let memory = vec![1_u8; 64 << 20];
        let after = meter.read().unwrap();
        assert!(
            after.resident_bytes > before.resident_bytes + (32 << 20),
            "{before:?} {after:?}"
        );
        assert_eq!(memory[77], 1);
    }
}
