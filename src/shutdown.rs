//! One stop signal, one tracker of running tasks, one grace period.
//!
//! Tasks are spawned through [`Shutdown::spawn`]; a panic in one is caught and counted, so that it costs one query and
//! not the machine's DNS. Threads watch [`Shutdown::stopped`] or are woken by their own socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

use crate::stats::Counter;

/// A handle on the program's one stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
    panics: Arc<Counter>,
}

impl Shutdown {
    /// A stop that nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to stop. May be called many times.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Whether [`Shutdown::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when [`Shutdown::stop`] is called. Cancel-safe.
    pub fn stopped(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// Runs a task that [`Shutdown::drained`] waits for. Needs a tokio runtime around it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let panics = Arc::clone(&self.panics);
        self.tracker.spawn(CountPanic {
            task: Box::pin(task),
            panics,
        })
    }

    /// How many tasks ended in a panic: always a bug of ours, shown in the stats.
    pub fn panics(&self) -> u64 {
        self.panics.value()
    }

    /// Waits until every task has ended, `grace` at the longest; says whether all did.
    pub async fn drained(&self, grace: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

/// Counts a panic of the task and lets it unwind into tokio, which ends that task alone.
struct CountPanic<F: ?Sized> {
    task: std::pin::Pin<Box<F>>,
    panics: Arc<Counter>,
}

impl<F: Future<Output = ()> + ?Sized> Future for CountPanic<F> {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        struct OnUnwind<'a>(&'a Counter);
        impl Drop for OnUnwind<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.increment();
                }
            }
        }
        let this = self.get_mut();
        let _counts = OnUnwind(&this.panics);
        this.task.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_ends_what_waits_for_it() {
        let shutdown = Shutdown::new();
        let waiter = shutdown.clone();
        shutdown.spawn(async move { waiter.stopped().await });
        assert!(!shutdown.is_stopping());
        shutdown.stop();
        assert!(shutdown.drained(Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn grace_is_bounded() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        assert!(!shutdown.drained(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_costs_one_task() {
        let shutdown = Shutdown::new();
        let task = shutdown.spawn(async { panic!("one bad query") });
        assert!(task.await.is_err());
        assert_eq!(shutdown.panics(), 1);
        assert!(shutdown.drained(Duration::from_secs(1)).await);
    }
}
