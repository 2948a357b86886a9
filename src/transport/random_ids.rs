//! Random message IDs from the OS generator, drawn in bulk: a system call for each would cost as much as the query.

use ring::rand::{SecureRandom, SystemRandom};

/// A pool of random octets, filled again when it is used up.
#[derive(Debug)]
pub(super) struct RandomIds {
    generator: SystemRandom,
    pool: [u8; POOL_LEN],
    used: usize,
}

impl RandomIds {
    /// The next ID, `None` if the OS gives no random numbers.
    pub(super) fn draw(&mut self) -> Option<u16> {
        if self.used == POOL_LEN {
            self.generator.fill(&mut self.pool).ok()?;
            self.used = 0;
        }
        let id = u16::from_be_bytes([self.pool[self.used], self.pool[self.used + 1]]);
        self.used += 2;
        Some(id)
    }
}

impl Default for RandomIds {
    /// An empty pool.
    fn default() -> Self {
        Self {
            generator: SystemRandom::new(),
            pool: [0; POOL_LEN],
            used: POOL_LEN,
        }
    }
}

/// A random number that nothing secret hangs on; 0 if the OS gives none.
pub(super) fn jitter() -> u8 {
    let mut octet = [0];
    let _ = SystemRandom::new().fill(&mut octet);
    octet[0]
}

/// Octets drawn at once: what `getrandom` gives without being interrupted. Even.
const POOL_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5625_3_ids_do_not_repeat_over_pools() {
        let mut ids = RandomIds::default();
        let mut drawn: Vec<u16> = (0..1_000).map(|_| ids.draw().unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        // 1,000 of 65,536: about 7.6 collisions are expected; a pool that repeated would leave 128.
        assert!(drawn.len() > 950, "{}", drawn.len());
    }
}
