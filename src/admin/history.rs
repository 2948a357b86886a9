//! The last hour, for the page: how many questions came in and what happened, taken from the figures every ten seconds. Sans-IO: figures
//! are handed in. In memory only, and without names as the figures are.

use std::collections::VecDeque;
use std::time::Duration;

use super::protection::{self, GUARD, Protection, SYSTEM_DNS};
use super::snapshot::{Snapshot, UpstreamState};

/// Between two looks: fine enough for a bar of the page, rare enough to wake an idle machine for.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// An hour.
const MAX_POINTS: usize = 360;

/// More than a person reads, and some KiB.
const MAX_EVENTS: usize = 50;

/// See the module. The shape of `/history`.
#[derive(Debug, Default, serde::Serialize)]
pub(super) struct History {
    /// Oldest first, one for each [`INTERVAL`].
    points: VecDeque<Point>,
    /// Oldest first.
    events: VecDeque<Event>,
    /// When the last look was, in seconds since 1970.
    time: u64,
    #[serde(skip)]
    last: Option<Snapshot>,
}

/// Questions of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Point {
    /// When it ended, in seconds since 1970: a machine that slept has a hole in its hour.
    at: u64,
    /// From the cache.
    hits: u64,
    /// By asking an upstream.
    misses: u64,
    /// By rules of the user's and names that stay here.
    synthesized: u64,
    /// SERVFAIL.
    failed: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Event {
    /// Seconds since 1970.
    at: u64,
    /// What, in words.
    text: String,
}

impl History {
    /// Takes the figures of this moment.
    pub(super) fn take(&mut self, now: Snapshot) {
        let at = now.time;
        self.time = at;
        if let Some(last) = self.last.take() {
            push(&mut self.points, Point::between(&last, &now), MAX_POINTS);
            for text in events(&last, &now) {
                push(&mut self.events, Event { at, text }, MAX_EVENTS);
            }
        }
        self.last = Some(now);
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T, max: usize) {
    if queue.len() == max {
        queue.pop_front();
    }
    queue.push_back(value);
}

impl Point {
    fn between(last: &Snapshot, now: &Snapshot) -> Self {
        let grown = |count: fn(&Snapshot) -> u64| count(now).saturating_sub(count(last));
        Self {
            at: now.time,
            hits: grown(|figures| figures.queries.udp.hit + figures.queries.tcp.hit),
            misses: grown(|figures| figures.queries.udp.miss + figures.queries.tcp.miss),
            synthesized: grown(|figures| figures.queries.udp.synthesized + figures.queries.tcp.synthesized),
            failed: grown(|figures| figures.responses.get("SERVFAIL").copied().unwrap_or(0)),
        }
    }
}

/// What happened between two moments, in words.
fn events(last: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut events = Vec::new();
    if now.network_changes > last.network_changes {
        events.push("the network changed, or the machine slept".to_owned());
    }
    events.extend(of_upstreams(last, now));
    let (before, after) = (&last.config, &now.config);
    if after.reloads > before.reloads {
        events.push("another configuration is in force".to_owned());
    }
    if after.failed_reloads > before.failed_reloads {
        events.push(match &after.problem {
            Some(problem) => format!("a change of the configuration was refused: {problem}"),
            None => "a change of the configuration was refused".to_owned(),
        });
    }
    events.extend(of_helpers(last, now));
    if now.panics > last.panics {
        events.push("a task of tacenda's ended by a bug: please tell its makers".to_owned());
    }
    events
}

/// They are in the log too: why names fail is looked for there first.
fn of_upstreams(last: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut events = Vec::new();
    for upstream in &now.upstreams {
        let before = last.upstreams.iter().find(|before| before.name == upstream.name);
        let (name, state) = (&upstream.name, upstream.state);
        match (before.map(|before| before.state), state) {
            (Some(before), now) if before == now => {}
            (None, _) => events.push(format!("{name} is a new upstream")),
            (_, UpstreamState::Up) => {
                tracing::info!(upstream = name, "it answers");
                events.push(format!("{name} answers"));
            }
            (_, UpstreamState::Down) => {
                let error = upstream.last_error.as_deref();
                tracing::warn!(upstream = name, error, "it does not answer");
                events.push(match error {
                    Some(error) => format!("{name} does not answer: {error}"),
                    None => format!("{name} does not answer"),
                });
            }
            (_, UpstreamState::Unknown) => {}
        }
    }
    events
}

fn of_helpers(last: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut events = Vec::new();
    let (before, after) = (protection::of(last), protection::of(now));
    let of = |protection: &Protection, name| protection.parts.iter().find(|part| part.name == name).cloned();
    for name in [SYSTEM_DNS, GUARD] {
        let part = of(&after, name);
        if part != of(&before, name) {
            events.extend(part.map(|part| part.text.to_string()));
        }
    }
    let repaired = |figures: &Snapshot| figures.guard.as_ref().map_or(0, |guard| guard.repaired);
    if last.guard.is_some() && repaired(now) > repaired(last) {
        events.push("another program changed the leak guard, and it was put in force again".to_owned());
    }
    if last.portal.state != now.portal.state {
        events.push(
            match now.portal.state {
                "portal" => "this network wants you to sign in",
                "window" => "a window for a sign-in page is open",
                "suspect" => "no upstream works",
                _ => "upstreams work, no sign-in page is in the way",
            }
            .to_owned(),
        );
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples::fresh;
    use crate::admin::snapshot::{GuardFigures, SystemFigures};

    #[test]
    fn points_are_what_came_in_between_and_an_hour_of_them() {
        let mut history = History::default();
        let mut figures = fresh();
        history.take(figures.clone());
        assert_eq!(history.points, []);
        for _ in 0..MAX_POINTS + 5 {
            figures.queries.udp.hit += 3;
            figures.queries.tcp.hit += 1;
            figures.queries.udp.miss += 2;
            *figures.responses.get_mut("SERVFAIL").unwrap() += 1;
            history.take(figures.clone());
        }
        assert_eq!(history.points.len(), MAX_POINTS);
        let expected = Point {
            at: 0,
            hits: 4,
            misses: 2,
            synthesized: 0,
            failed: 1,
        };
        assert!(history.points.iter().all(|point| *point == expected));
        // Figures that begin anew give no gigantic bar.
        history.take(fresh());
        assert_eq!(history.points.back(), Some(&Point::default()));
    }

    #[test]
    fn what_changed_is_told_once() {
        let mut history = History::default();
        let mut figures = fresh();
        history.take(figures.clone());
        let mut happens = |change: fn(&mut Snapshot)| {
            change(&mut figures);
            let before = history.events.len();
            history.take(figures.clone());
            history.take(figures.clone());
            let new: Vec<_> = history
                .events
                .iter()
                .skip(before)
                .map(|event| event.text.clone())
                .collect();
            new.join("; ")
        };
        assert_eq!(happens(|_| {}), "");
        assert_eq!(
            happens(|figures| figures.upstreams[0].state = UpstreamState::Up),
            "quad9 answers"
        );
        let down = happens(|figures| {
            figures.upstreams[0].state = UpstreamState::Down;
            figures.upstreams[0].last_error = Some("timed out".into());
            figures.portal.state = "suspect";
        });
        assert_eq!(down, "quad9 does not answer: timed out; no upstream works");
        assert!(happens(|figures| figures.network_changes += 2).contains("network changed"));
        assert!(happens(|figures| figures.config.reloads += 1).contains("in force"));
        let refused = happens(|figures| {
            figures.config.failed_reloads += 1;
            figures.config.problem = Some("t.toml:1:1: x".into());
        });
        assert_eq!(refused, "a change of the configuration was refused: t.toml:1:1: x");
        let guard = happens(|figures| {
            figures.guard = Some(GuardFigures {
                mode: Some("redirect"),
                ..GuardFigures::default()
            });
        });
        assert_eq!(
            guard,
            "no program's DNS leaves in clear text, but for what you exempt (guard: redirect)"
        );
        assert!(happens(|figures| figures.guard.as_mut().unwrap().repaired += 1).contains("put in force again"));
        assert!(happens(|figures| figures.guard = None).contains("nobody keeps a leak guard"));
        let set = happens(|figures| {
            figures.system = Some(SystemFigures {
                by: Some("openresolv".into()),
                here: true,
                stands: true,
                ..SystemFigures::default()
            });
        });
        assert_eq!(set, "programs on this host ask tacenda, by openresolv");
        let lost = happens(|figures| figures.system.as_mut().unwrap().stands = false);
        assert_eq!(lost, "set by openresolv, and just changed by another program");
        assert!(happens(|figures| figures.portal.state = "portal").contains("sign in"));
        assert!(happens(|figures| figures.panics += 1).contains("bug"));
    }

    #[test]
    fn events_are_no_more_than_a_person_reads() {
        let mut history = History::default();
        let mut figures = fresh();
        for at in 0..200 {
            figures.network_changes += 1;
            figures.time = at;
            history.take(figures.clone());
        }
        assert_eq!(history.events.len(), MAX_EVENTS);
        assert_eq!(history.events.back().map(|event| event.at), Some(199));
    }
}
