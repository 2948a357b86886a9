//! Whether the promise holds at this moment, part by part, and what to type where it does not. Pure: of one [`Snapshot`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::snapshot::{GuardFigures, Snapshot, SystemFigures, UpstreamFigures, UpstreamState};

/// Whether query names stay off the way, and names are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// The worst of the parts.
    pub state: State,
    /// In one line.
    pub text: Cow<'static, str>,
    /// Each of them, in the order of the road.
    pub parts: Vec<Part>,
}

/// One part of the promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// One of [`PARTS`].
    pub name: Cow<'static, str>,
    /// How it is.
    pub state: State,
    /// What is so, in words.
    pub text: String,
    /// A command that mends it, or tells more.
    pub help: Option<Cow<'static, str>>,
}

/// From good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Good,
    /// Nobody says; it may be good.
    Unknown,
    /// Something can go past, or is not as it should be.
    Gap,
    /// It does not hold.
    Bad,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Good, Self::Unknown, Self::Gap, Self::Bad];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Gap => "gap",
            Self::Bad => "bad",
        }
    }
}

/// The names of all parts. The last two are there while something is the matter with them.
pub const PARTS: [&str; 6] = [SYSTEM_DNS, GUARD, UPSTREAM, CLEAR_TEXT, CLOCK, CONFIGURATION];

/// What a person is told to type.
pub mod help {
    /// Has this host's programs ask tacenda.
    pub const SYSTEM_SET: &str = "sudo tacenda system set";
    /// Says whom they ask.
    pub const SYSTEM_STATUS: &str = "tacenda system status";
    /// Has the packet rules put in force.
    pub const GUARD_ON: &str = "sudo tacenda guard on";
    /// Says how they stand.
    pub const GUARD_STATUS: &str = "tacenda guard status";
    /// Opens a window for a sign-in page.
    pub const PORTAL_OPEN: &str = "sudo tacenda portal open";
    /// Says what is known of one.
    pub const PORTAL_STATUS: &str = "tacenda portal status";
    /// Says what is wrong with the configuration.
    pub const CHECK: &str = "tacenda check";
    /// Says what is wrong with whatever it is.
    pub const DOCTOR: &str = "tacenda doctor";

    /// What [`super::Part::help`] may be in the figures: who answers in tacenda's place must not be able to have a person type something else.
    pub const ALL: [&str; 8] = [
        SYSTEM_SET,
        SYSTEM_STATUS,
        GUARD_ON,
        GUARD_STATUS,
        PORTAL_OPEN,
        PORTAL_STATUS,
        CHECK,
        DOCTOR,
    ];
}

/// Whom this host's programs ask.
pub const SYSTEM_DNS: &str = "system-dns";
/// The packet rules.
pub const GUARD: &str = "guard";
const UPSTREAM: &str = "upstream";
const CLEAR_TEXT: &str = "clear-text";
const CLOCK: &str = "clock";
const CONFIGURATION: &str = "configuration";

/// What these figures say of the promise.
pub fn of(snapshot: &Snapshot) -> Protection {
    let mut parts = vec![
        system(snapshot.system.as_ref()),
        guard(snapshot.guard.as_ref()),
        upstream(snapshot),
        clear_text(snapshot),
    ];
    if snapshot.clock != "ok" {
        let text = "this host's clock is wrong: certificates are judged by the day of the release";
        parts.push(part(CLOCK, State::Gap, text, None));
    }
    if let Some(problem) = &snapshot.config.problem {
        parts.push(Part::gap(
            CONFIGURATION,
            format!("a change was refused, the one before is in force: {problem}"),
            help::CHECK,
        ));
    }
    Protection::of(parts)
}

impl Protection {
    /// Of these parts.
    pub fn of(parts: Vec<Part>) -> Self {
        let state = parts.iter().map(|part| part.state).max().unwrap_or(State::Unknown);
        let text = match state {
            State::Good => "protected",
            State::Unknown => "not known whether all of it holds",
            State::Gap if parts.iter().any(|part| part.state == State::Unknown) => {
                "there is a gap, and not all of it is known"
            }
            State::Gap => "protected, with a gap",
            State::Bad => "NOT protected",
        };
        Self {
            state,
            text: text.into(),
            parts,
        }
    }
}

impl Part {
    /// One that is as it should be.
    pub fn good(name: &'static str, text: impl Into<String>) -> Self {
        part(name, State::Good, text, None)
    }

    /// One that lets something past, and what closes it.
    pub fn gap(name: &'static str, text: impl Into<String>, help: &'static str) -> Self {
        part(name, State::Gap, text, Some(help))
    }

    /// One of which this much is known.
    pub fn unknown(name: &'static str, text: impl Into<String>) -> Self {
        part(name, State::Unknown, text, None)
    }

    /// One that does not hold.
    pub fn bad(name: &'static str, text: impl Into<String>, help: &'static str) -> Self {
        part(name, State::Bad, text, Some(help))
    }
}

fn part(name: &'static str, state: State, text: impl Into<String>, help: Option<&'static str>) -> Part {
    Part {
        name: name.into(),
        state,
        text: text.into(),
        help: help.map(Cow::from),
    }
}

fn system(figures: Option<&SystemFigures>) -> Part {
    let Some(figures) = figures else {
        let text = "nobody here says whether programs ask tacenda";
        return part(SYSTEM_DNS, State::Unknown, text, Some(help::SYSTEM_STATUS));
    };
    match (&figures.by, &figures.problem) {
        (None, Some(problem)) => part(
            SYSTEM_DNS,
            State::Unknown,
            format!("whom programs on this host ask cannot be told: {problem}"),
            Some(help::SYSTEM_STATUS),
        ),
        (None, None) if figures.by_hand => Part::gap(
            SYSTEM_DNS,
            "this host's settings name tacenda, and nobody keeps them so",
            help::SYSTEM_SET,
        ),
        (None, None) => Part::bad(SYSTEM_DNS, "programs on this host do not ask tacenda", help::SYSTEM_SET),
        (Some(by), Some(problem)) => Part::bad(SYSTEM_DNS, format!("set by {by}, but: {problem}"), help::SYSTEM_SET),
        (Some(_), None) if !figures.here => {
            let asked = figures.listen.as_deref().unwrap_or("another address");
            let text = format!("programs on this host ask {asked}, and this tacenda listens elsewhere");
            Part::bad(SYSTEM_DNS, text, help::SYSTEM_STATUS)
        }
        (Some(by), None) if !figures.stands => Part::bad(
            SYSTEM_DNS,
            format!("set by {by}, and just changed by another program"),
            help::SYSTEM_STATUS,
        ),
        (Some(by), None) => Part::good(SYSTEM_DNS, format!("programs on this host ask tacenda, by {by}")),
    }
}

fn guard(figures: Option<&GuardFigures>) -> Part {
    let Some(figures) = figures else {
        return Part::gap(
            GUARD,
            "nobody keeps a leak guard: programs that bring a server of their own go past tacenda",
            help::GUARD_ON,
        );
    };
    match (figures.mode, &figures.problem) {
        (Some(_), Some(problem)) if figures.stands => {
            let text = format!("the leak guard holds, but: {problem}");
            Part::gap(GUARD, text, help::GUARD_STATUS)
        }
        (_, Some(problem)) => Part::bad(GUARD, format!("the leak guard: {problem}"), help::GUARD_STATUS),
        (Some(mode), None) => Part::good(
            GUARD,
            format!("no program's DNS leaves in clear text, but for what you exempt (guard: {mode})"),
        ),
        (None, None) => Part::gap(
            GUARD,
            "the leak guard is off: programs that bring a server of their own go past tacenda",
            help::GUARD_ON,
        ),
    }
}

/// Of those that are asked for all names: a route's says nothing of the others.
fn upstream(snapshot: &Snapshot) -> Part {
    let is_up = |one: &&UpstreamFigures| one.state == UpstreamState::Up;
    let is_down = |one: &UpstreamFigures| one.state == UpstreamState::Down;
    if snapshot.portal.state == "portal" {
        let text = "this network wants you to sign in before it lets anything through";
        return Part::bad(UPSTREAM, text, help::PORTAL_OPEN);
    }
    if let Some(up) = snapshot.public_upstreams().find(is_up) {
        let over = if up.transport == "doh" { "HTTPS" } else { "TLS" };
        return Part::good(
            UPSTREAM,
            format!("{} answers over {over}, its certificate checked", up.name),
        );
    }
    if snapshot.public_upstreams().all(is_down) || snapshot.portal.state == "suspect" {
        let text = "no upstream answers: names fail until one does, and none goes out in clear text";
        return Part::bad(UPSTREAM, text, help::DOCTOR);
    }
    let was_asked = snapshot.public_upstreams().any(|one| one.queries > 0);
    let text = if was_asked {
        "no upstream has answered yet"
    } else {
        "no upstream was asked yet"
    };
    part(UPSTREAM, State::Unknown, text, None)
}

fn clear_text(snapshot: &Snapshot) -> Part {
    let (route, portal) = (snapshot.clear_packets.route, snapshot.clear_packets.portal);
    if snapshot.portal.state == "window" {
        return Part::gap(
            CLEAR_TEXT,
            "a window for a sign-in page is open: its names go out in clear text",
            help::PORTAL_STATUS,
        );
    }
    let text = match (route, portal) {
        (0, 0) => "tacenda sent no question in clear text since its start".to_owned(),
        (route, 0) => format!("{route} questions in clear text since the start, all by your routes"),
        (0, portal) => format!("{portal} questions in clear text since the start, all for a sign-in page you allowed"),
        (route, portal) => format!(
            "{route} questions in clear text by your routes since the start, {portal} for a sign-in page you allowed"
        ),
    };
    Part::good(CLEAR_TEXT, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples::{fresh, snapshot};

    fn states(snapshot: &Snapshot) -> Vec<(&'static str, State)> {
        let parts = of(snapshot).parts;
        parts.iter().map(|part| (name_of(part), part.state)).collect()
    }

    type Break = fn(&mut Snapshot);

    fn name_of(part: &Part) -> &'static str {
        match &part.name {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => panic!("{name}"),
        }
    }

    /// All is well.
    fn well() -> Snapshot {
        let mut well = fresh();
        well.upstreams[0].state = UpstreamState::Up;
        well.system = Some(SystemFigures {
            by: Some("systemd-resolved".into()),
            listen: Some("127.0.0.1".into()),
            here: true,
            stands: true,
            ..SystemFigures::default()
        });
        well.guard = Some(GuardFigures {
            mode: Some("redirect"),
            ..GuardFigures::default()
        });
        well
    }

    #[test]
    fn the_worst_part_is_said_first() {
        let mut figures = well();
        assert_eq!((of(&figures).state, &*of(&figures).text), (State::Good, "protected"));
        figures.upstreams[0].state = UpstreamState::Unknown;
        assert_eq!(of(&figures).state, State::Unknown);
        figures.guard = None;
        assert_eq!(
            (of(&figures).state, &*of(&figures).text),
            (State::Gap, "there is a gap, and not all of it is known")
        );
        figures.upstreams[0].state = UpstreamState::Up;
        assert_eq!(
            (of(&figures).state, &*of(&figures).text),
            (State::Gap, "protected, with a gap")
        );
        figures.system = Some(SystemFigures::default());
        assert_eq!((of(&figures).state, &*of(&figures).text), (State::Bad, "NOT protected"));
    }

    #[test]
    fn nothing_is_claimed_that_nobody_says() {
        let expected = [
            ("system-dns", State::Unknown),
            ("guard", State::Gap),
            ("upstream", State::Unknown),
            ("clear-text", State::Good),
        ];
        assert_eq!(states(&fresh()), expected);
    }

    #[test]
    fn each_part_that_does_not_hold_says_what_to_type() {
        fn helper(figures: &mut Snapshot) -> &mut SystemFigures {
            figures.system.as_mut().unwrap()
        }
        fn keeper(figures: &mut Snapshot) -> &mut GuardFigures {
            figures.guard.as_mut().unwrap()
        }
        let breaks: [(&str, State, Break); 13] = [
            ("system-dns", State::Bad, |figures| {
                helper(figures).by = None;
            }),
            ("system-dns", State::Bad, |figures| {
                helper(figures).stands = false;
            }),
            ("system-dns", State::Bad, |figures| {
                helper(figures).problem = Some("read-only".into());
            }),
            ("system-dns", State::Bad, |figures| {
                helper(figures).here = false;
            }),
            ("system-dns", State::Gap, |figures| {
                helper(figures).by = None;
                helper(figures).by_hand = true;
            }),
            ("system-dns", State::Unknown, |figures| {
                helper(figures).by = None;
                helper(figures).problem = Some("the journal cannot be read".into());
            }),
            ("upstream", State::Bad, |figures| {
                // Though a route's answers.
                let mut route = figures.upstreams[0].clone();
                (route.road, route.transport) = ("route", "udp");
                figures.upstreams.push(route);
                figures.upstreams[0].state = UpstreamState::Down;
            }),
            ("guard", State::Gap, |figures| {
                keeper(figures).mode = None;
            }),
            ("guard", State::Bad, |figures| {
                keeper(figures).problem = Some("no nft".into());
            }),
            ("upstream", State::Bad, |figures| {
                figures.upstreams[0].state = UpstreamState::Down;
            }),
            ("upstream", State::Bad, |figures| {
                figures.upstreams[0].state = UpstreamState::Unknown;
                figures.portal.state = "portal";
            }),
            ("clear-text", State::Gap, |figures| {
                figures.portal.state = "window";
            }),
            ("configuration", State::Gap, |figures| {
                figures.config.problem = Some("t.toml:1:1: x".into());
            }),
        ];
        for (name, state, break_it) in breaks {
            let mut figures = well();
            break_it(&mut figures);
            let protection = of(&figures);
            let worst: Vec<_> = protection
                .parts
                .iter()
                .filter(|part| part.state != State::Good)
                .collect();
            assert_eq!(worst.len(), 1, "{worst:?}");
            assert_eq!((name_of(worst[0]), worst[0].state), (name, state));
            assert!(
                worst[0].help.as_ref().is_some_and(|help| help.contains("tacenda ")),
                "{worst:?}"
            );
        }
    }

    #[test]
    fn rules_that_stand_are_no_worse_for_a_configuration_that_cannot_be_read() {
        let mut figures = well();
        let keeper = figures.guard.as_mut().unwrap();
        (keeper.problem, keeper.stands) = (Some("the configuration cannot be used".into()), true);
        let part = &of(&figures).parts[1];
        assert_eq!((part.state, name_of(part)), (State::Gap, "guard"));
        assert!(
            part.text.starts_with("the leak guard holds, but: the configuration"),
            "{part:?}"
        );
        figures.guard.as_mut().unwrap().mode = None;
        assert_eq!(of(&figures).parts[1].state, State::Bad, "there are none");
    }

    #[test]
    fn routes_in_clear_text_are_counted_and_no_gap() {
        let mut figures = well();
        figures.clear_packets.route = 12;
        let protection = of(&figures);
        assert_eq!(protection.state, State::Good);
        assert!(
            protection.parts[3]
                .text
                .contains("12 questions in clear text since the start, all by your routes")
        );
        assert_eq!(states(&snapshot()).last(), Some(&("configuration", State::Gap)));
    }

    #[test]
    fn an_upstream_that_was_only_asked_is_not_called_good() {
        let mut figures = well();
        figures.upstreams[0].state = UpstreamState::Unknown;
        figures.upstreams[0].queries = 1;
        let protection = of(&figures);
        assert_eq!(
            protection.parts[2],
            Part::unknown(UPSTREAM, "no upstream has answered yet")
        );
        figures.portal.state = "suspect";
        assert_eq!(of(&figures).parts[2].state, State::Bad);
    }
}
