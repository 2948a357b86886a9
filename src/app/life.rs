//! Signs of life for the service manager's watchdog: given only while every receiving thread goes round, by a task of the runtime, which
//! therefore works too. A daemon that hangs is silent, and is started anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::os::notify::Notifier;
use crate::serve::Pulse;

/// Never ends by itself. A look is taken twice within `watchdog`.
pub(super) async fn feed(notifier: Arc<Notifier>, mut pulse: Pulse, watchdog: Duration) {
    let every = watchdog / 2;
    let mut looks = interval_at(Instant::now() + every, every);
    // After a machine that slept, one look and not one for each that was missed: threads had no time to go round in between.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_well = true;
    loop {
        looks.tick().await;
        let is_well = pulse.goes_on();
        if is_well && notifier.alive().is_err() && was_well {
            tracing::warn!("the service manager cannot be told that all is well");
        }
        if was_well && !is_well {
            tracing::error!(
                "a receiving thread hangs: the service manager gets no sign of life, and may start tacenda anew"
            );
        }
        was_well = is_well;
    }
}
