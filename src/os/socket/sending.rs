//! What becomes of a batch of replies of which some cannot be sent. Pure: the calls are handed in.

use std::io;

/// How a batch of replies went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Taken by the system.
    pub sent: usize,
    /// Lost: its buffer stayed full, or it refused the one datagram (no route, a firewall, source port 0).
    pub failed: usize,
}

/// Sends `count` messages. `send(k)` tries those from `k` on and says how many were taken, or why the very message
/// `k` was not; `wait` waits a little for room. One message that cannot be sent never holds up the rest, and a full
/// buffer is waited for once: whoever asks fills it again sooner than we could drain it.
pub(super) fn send_all(
    count: usize,
    mut send: impl FnMut(usize) -> io::Result<usize>,
    mut wait: impl FnMut() -> bool,
) -> Sent {
    let mut outcome = Sent::default();
    let mut may_wait = true;
    let mut next = 0;
    while next < count {
        match send(next) {
            // Nothing taken and no error cannot be; taking it for a failure keeps the loop finite.
            Ok(0) => {
                outcome.failed += 1;
                next += 1;
            }
            Ok(taken) => {
                let taken = taken.min(count - next);
                outcome.sent += taken;
                next += taken;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !may_wait || !wait() {
                    outcome.failed += count - next;
                    return outcome;
                }
                may_wait = false;
            }
            Err(_) => {
                outcome.failed += 1;
                next += 1;
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::ErrorKind::{ConnectionRefused, Interrupted, PermissionDenied, WouldBlock};

    fn check(count: usize, script: &[Result<usize, io::ErrorKind>], expected: (usize, usize), starts: &[usize]) {
        let mut script = script.iter();
        let mut seen = Vec::new();
        let sent = send_all(
            count,
            |from| {
                seen.push(from);
                script
                    .next()
                    .expect("asked more often than foreseen")
                    .map_err(io::Error::from)
            },
            || true,
        );
        assert_eq!((sent.sent, sent.failed), expected);
        assert_eq!(seen, starts);
        assert!(script.next().is_none(), "asked less often than foreseen");
    }

    #[test]
    fn all_at_once() {
        check(0, &[], (0, 0), &[]);
        check(32, &[Ok(32)], (32, 0), &[0]);
    }

    #[test]
    fn a_failure_in_the_middle_costs_one_message() {
        check(5, &[Ok(2), Err(ConnectionRefused), Ok(2)], (4, 1), &[0, 2, 3]);
        check(
            3,
            &[Err(PermissionDenied), Err(PermissionDenied), Ok(1)],
            (1, 2),
            &[0, 1, 2],
        );
        check(2, &[Ok(0), Ok(1)], (1, 1), &[0, 1]);
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        check(2, &[Err(Interrupted), Ok(2)], (2, 0), &[0, 0]);
    }

    #[test]
    fn a_full_buffer_is_waited_for_once() {
        check(4, &[Ok(1), Err(WouldBlock), Ok(3)], (4, 0), &[0, 1, 1]);
        check(
            4,
            &[Ok(1), Err(WouldBlock), Ok(1), Err(WouldBlock)],
            (2, 2),
            &[0, 1, 1, 2],
        );
        let sent = send_all(3, |_| Err(WouldBlock.into()), || false);
        assert_eq!(sent, Sent { sent: 0, failed: 3 });
    }
}
