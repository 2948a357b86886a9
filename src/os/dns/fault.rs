//! Where a test may have the work stop dead, as a power cut does. In the program itself it never stops.

use std::io;

/// Counts the points that are passed; nothing outside tests.
#[derive(Debug, Default)]
pub struct Fault {
    #[cfg(test)]
    left: std::cell::Cell<Option<u32>>,
}

impl Fault {
    /// Stops at the point of this number, and at every later one.
    #[cfg(test)]
    pub(super) fn after(points: u32) -> Self {
        Self {
            left: std::cell::Cell::new(Some(points)),
        }
    }

    /// Something is on the disk, or was done; what follows is not yet.
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "for tests")
    )]
    pub(super) fn point(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = self.left.get() {
            if left == 0 {
                return Err(io::Error::other(STOPPED));
            }
            self.left.set(Some(left - 1));
        }
        Ok(())
    }

    /// Whether it stopped: then nothing more is done, not even what undoes.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "for tests"))]
    pub(super) fn has_stopped(&self) -> bool {
        #[cfg(test)]
        return self.left.get() == Some(0);
        #[cfg(not(test))]
        false
    }
}

#[cfg(test)]
const STOPPED: &str = "stopped by the test";
