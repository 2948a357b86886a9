//! The window for a sign-in page: a road that is there for some minutes, with a cache that goes with it.

use std::sync::Arc;

use super::Road;
use crate::policy::portal::Gate;
use crate::policy::swap::Swap;

/// What is done for a sign-in page now. Clones share it, over configurations too.
#[derive(Clone, Debug, Default)]
pub struct Portal {
    gate: Swap<Gate>,
    road: Swap<Option<Arc<Road>>>,
}

impl Portal {
    /// From the next query on this is done, and the names of `gate` go by `road`. Answers that came by another road, or by one before, are
    /// not given for them.
    pub fn publish(&self, gate: Gate, road: Option<Arc<Road>>) {
        if road.is_some() {
            self.road.publish(road);
            self.gate.publish(gate);
        } else {
            // In this order, so that a name never finds the road gone.
            self.gate.publish(gate);
            self.road.publish(None);
        }
    }

    /// The rules.
    pub fn gate(&self) -> Swap<Gate> {
        self.gate.clone()
    }

    /// The road of the open window.
    pub fn road(&self) -> Option<Arc<Road>> {
        self.road.current().and_then(|road| road.as_ref().clone())
    }
}
