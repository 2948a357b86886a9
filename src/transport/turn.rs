//! Who writes for others lets them speak first: what they have to say then goes out in one write.

use std::future::poll_fn;
use std::task::{Context, Poll};

/// Whether a task has let those go first that were ready when it was.
#[derive(Debug, Default)]
pub(super) struct Turn {
    has_waited: bool,
}

impl Turn {
    /// Ready the second time, and from then on every second time. tokio puts a task that wakes itself behind all that are ready; one that is
    /// woken by another runs before them.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            context.waker().wake_by_ref();
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// Ends when the tasks that are ready on this thread now have run, unless another thread that is idle takes this one over. Cancel-safe.
pub(super) async fn behind_the_others() {
    let mut turn = Turn::default();
    poll_fn(|context| turn.poll(context)).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn those_who_are_ready_go_first() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let say = |word| {
            let said = Arc::clone(&said);
            async move { said.lock().unwrap().push(word) }
        };
        let (writer, others) = (say("writer"), [say("first"), say("second")]);
        let writer = tokio::spawn(async {
            behind_the_others().await;
            writer.await;
        });
        for other in others {
            tokio::spawn(other);
        }
        writer.await.unwrap();
        assert_eq!(*said.lock().unwrap(), ["first", "second", "writer"]);
    }
}
