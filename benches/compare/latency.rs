//! Times of single queries, kept whole: a histogram's buckets would hide the very tail that is looked for.

use std::time::Duration;

/// Times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    times: Vec<u64>,
    sorted: bool,
}

impl Latencies {
    pub(crate) fn add(&mut self, time: Duration) {
        self.times.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.sorted = false;
    }

    /// The time that this part of all (0 to 1) did not exceed, in milliseconds.
    pub(crate) fn quantile_ms(&mut self, part: f64) -> f64 {
        if !self.sorted {
            self.times.sort_unstable();
            self.sorted = true;
        }
        if self.times.is_empty() {
            return f64::NAN;
        }
        let rank = (part * self.times.len() as f64).ceil().max(1.0);
        // Between 1 and the length: nothing is cut off.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank within the vector"
        )]
        let index = (rank as usize).min(self.times.len()) - 1;
        self.times[index] as f64 / 1e6
    }

    pub(crate) fn max_ms(&mut self) -> f64 {
        self.quantile_ms(1.0)
    }
}
