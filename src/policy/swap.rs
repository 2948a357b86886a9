//! Something that queries read while another one takes its place, whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// See the module. Clones share it.
#[derive(Debug, Default)]
pub struct Swap<T> {
    current: Arc<RwLock<Arc<T>>>,
    generation: Arc<AtomicU64>,
}

impl<T> Clone for Swap<T> {
    fn clone(&self) -> Self {
        Self {
            current: Arc::clone(&self.current),
            generation: Arc::clone(&self.generation),
        }
    }
}

impl<T> Swap<T> {
    /// This counts from the next query on.
    pub fn publish(&self, new: T) {
        let new = Arc::new(new);
        // The old one is freed outside the lock: queries wait for a pointer's time.
        let old = std::mem::replace(&mut *self.current.write().unwrap_or_else(PoisonError::into_inner), new);
        drop(old);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often something was published. Answers that were looked at under an older number must be looked at again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What counts now; `None` if nothing was ever published, which is found out without the lock.
    pub fn current(&self) -> Option<RwLockReadGuard<'_, Arc<T>>> {
        (self.generation() > 0).then(|| self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}
