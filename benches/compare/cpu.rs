//! What a process has used, from /proc: CPU to the nanosecond, memory to the page, and what the host took from us.

use std::fs;

/// Nanoseconds that all threads of the process have run.
pub(crate) fn used_ns(pid: u32) -> Result<u64, String> {
    let mut sum = 0;
    for thread in threads(pid)? {
        // A thread that has just ended takes its share along.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) else {
            continue;
        };
        sum += text
            .split(' ')
            .next()
            .and_then(|ran| ran.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}

/// The ids of a process's threads.
pub(crate) fn threads(pid: u32) -> Result<Vec<u32>, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| "has ended".to_owned())?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// Octets of memory that the process has in use.
pub(crate) fn resident(pid: u32) -> Result<u64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| "has ended".to_owned())?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib * 1024)
        .ok_or_else(|| "no VmRSS".to_owned())
}

/// Ticks of all cores, and how many of them the hypervisor gave to others.
#[derive(Clone, Copy)]
pub(crate) struct Ticks {
    all: u64,
    stolen: u64,
}

/// The ticks up to now.
pub(crate) fn ticks() -> Ticks {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|number| number.parse().ok())
        .collect();
    Ticks {
        all: numbers.iter().sum(),
        stolen: numbers.get(7).copied().unwrap_or(0),
    }
}

impl Ticks {
    /// The part that was stolen since then, in percent.
    pub(crate) fn stolen_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 / all as f64 * 100.0
    }
}
