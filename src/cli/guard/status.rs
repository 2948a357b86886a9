//! `tacenda guard status`: whether it holds.

use std::time::Duration;

use serde_json::json;

use super::{Exit, Failure, Output};
use crate::admin::protection::{GUARD, Part, help};
use crate::config::units::TimeSpan;
use crate::os::guard::report::Report;
use crate::os::guard::ruleset::Mode;
use crate::os::guard::wish::{Moment, Store};
use crate::os::guard::{Error, Guard};
use crate::os::process::is_root;

/// Everything that is printed; `None` for what only root may know.
#[derive(Debug, Default)]
struct Status {
    is_wanted: Option<bool>,
    left: Option<Duration>,
    /// What stands, or what is said of it.
    standing: Option<Report>,
    is_kept: bool,
}

pub(super) fn run(as_json: bool, mut output: Output<'_>) -> Result<Exit, Failure> {
    let status = look()?;
    if as_json {
        output.write_json(&status.to_json())?;
    } else {
        output.write(status.to_text())?;
    }
    Ok(if status.is_as_wanted() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// How the guard stands, for `tacenda doctor`. `tried` says what is missing where questions are to be led to tacenda.
pub(in crate::cli) fn part(tried: impl FnOnce() -> Option<String>) -> Part {
    match look() {
        Ok(status) => {
            let mut part = status.part();
            let is_leading = status.mode() == Some(Mode::Redirect.as_str()) && status.problem().is_none();
            if let Some(missing) = is_leading.then(tried).flatten() {
                part.text = format!("{}; {missing}", part.text);
            }
            part
        }
        Err(failure) => Part::unknown(GUARD, failure.message),
    }
}

/// Whether it is on; none for who may not know.
pub(in crate::cli) fn is_on() -> Option<bool> {
    let status = look().ok()?;
    Some(status.standing.as_ref()?.mode.is_some())
}

fn look() -> Result<Status, Failure> {
    let store = Store::of_this_host();
    let said = Report::read().unwrap_or_default();
    let mut status = Status {
        // Root knows; others believe whoever keeps it, while he says something.
        is_kept: if is_root() { store.is_kept() } else { said.is_some() },
        ..Status::default()
    };
    match store.load() {
        Ok(wish) => {
            let now = Moment::now()?;
            let wish = wish.map(|wish| wish.at(&now));
            status.is_wanted = Some(wish.as_ref().is_some_and(|wish| wish.is_on));
            status.left = wish.and_then(|wish| wish.until).map(|until| until.left(&now));
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(Failure::new(Exit::Io, format!("what is wanted of the guard: {error}"))),
    }
    status.standing = match Guard::new()?.look() {
        Ok(there) => Some(Report {
            mode: there.as_ref().and_then(|there| there.mode()),
            is_held: there.as_ref().is_some_and(|there| there.is_owned),
            redirected: there.as_ref().map_or(0, |there| there.redirected),
            rejected: there.as_ref().map_or(0, |there| there.rejected),
            ..said.unwrap_or_default()
        }),
        Err(Error::Permission(_)) => said,
        Err(error) => return Err(error.into()),
    };
    Ok(status)
}

impl Status {
    fn mode(&self) -> Option<&'static str> {
        Some(self.standing.as_ref()?.mode?.as_str())
    }

    fn problem(&self) -> Option<&str> {
        self.standing.as_ref()?.problem.as_deref()
    }

    fn is_as_wanted(&self) -> bool {
        let is_on = self.mode().is_some();
        self.problem().is_none() && self.is_wanted.is_none_or(|wanted| wanted == is_on)
    }

    fn part(&self) -> Part {
        let headline = format!("leak guard: {}", self.headline());
        match (self.mode(), self.problem()) {
            (_, Some(problem)) => Part::bad(GUARD, format!("{headline}: {problem}"), help::GUARD_STATUS),
            (None, None) if self.standing.is_none() => Part::unknown(GUARD, headline),
            (None, None) => Part::gap(
                GUARD,
                format!("{headline}: programs that bring a server of their own go past tacenda"),
                help::GUARD_ON,
            ),
            (Some(_), None) if !self.is_kept => Part::gap(
                GUARD,
                format!("{headline}, and nobody keeps it: it is gone after a restart"),
                "sudo tacenda service install",
            ),
            (Some(_), None) => Part::good(GUARD, headline),
        }
    }

    fn headline(&self) -> String {
        let left = self
            .left
            .map_or_else(String::new, |left| format!(", for {} more", TimeSpan(left)));
        match (self.mode(), self.is_wanted) {
            (Some(mode), Some(false)) => format!("on ({mode}), though it is to be off{left}"),
            (Some(mode), _) => format!("on ({mode}){left}"),
            (None, Some(true)) => format!("OFF, though it is to be on: `sudo tacenda guard on`{left}"),
            (None, _) if self.standing.is_none() => "not known without root".to_owned(),
            (None, _) => format!("off{left}"),
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("leak guard: {}\n", self.headline());
        if let Some(standing) = self.standing.as_ref().filter(|standing| standing.mode.is_some()) {
            text.push_str(match (self.is_kept, standing.is_held) {
                (true, true) => "kept: others cannot take it away\n",
                (true, false) => "kept: put in force again at once if others take it away\n",
                (false, _) => "nobody keeps it: others can take it away; `sudo tacenda service install`\n",
            });
            let Report {
                redirected,
                rejected,
                repaired,
                ..
            } = standing;
            text.push_str(&format!(
                "since it is on: {redirected} packets or connections led to tacenda, {rejected} packets refused, put in force again {repaired} times\n"
            ));
        }
        if let Some(problem) = self.problem() {
            text.push_str(&format!("problem: {problem}\n"));
        }
        text
    }

    fn to_json(&self) -> serde_json::Value {
        let standing = self.standing.as_ref();
        json!({
            "format": 1,
            "on": standing.map(|standing| standing.mode.is_some()),
            "wanted": self.is_wanted,
            "mode": self.mode(),
            "held": standing.map(|standing| standing.is_held),
            "kept": self.is_kept,
            "seconds_left": self.left.map(|left| left.as_secs()),
            "redirected": standing.map(|standing| standing.redirected),
            "rejected": standing.map(|standing| standing.rejected),
            "repaired": standing.map(|standing| standing.repaired),
            "problem": self.problem(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::guard::ruleset::Mode;

    fn status(is_wanted: Option<bool>, mode: Option<Mode>) -> Status {
        Status {
            is_wanted,
            standing: Some(Report {
                mode,
                ..Report::default()
            }),
            ..Status::default()
        }
    }

    #[test]
    fn what_is_wanted_and_what_stands_are_told_apart() {
        for (is_wanted, mode, good, words) in [
            (Some(true), Some(Mode::Redirect), true, "on (redirect)"),
            (Some(true), None, false, "OFF, though it is to be on"),
            (
                Some(false),
                Some(Mode::Reject),
                false,
                "on (reject), though it is to be off",
            ),
            (Some(false), None, true, "off"),
            (None, Some(Mode::Redirect), true, "on (redirect)"),
        ] {
            let status = status(is_wanted, mode);
            assert_eq!(status.is_as_wanted(), good, "{words}");
            assert!(
                status.to_text().starts_with(&format!("leak guard: {words}")),
                "{}",
                status.to_text()
            );
        }
    }

    #[test]
    fn who_is_not_root_and_has_nobody_to_ask_knows_nothing() {
        let status = Status::default();
        assert!(status.to_text().contains("not known without root"));
        assert!(status.to_json()["on"].is_null() && status.to_json()["wanted"].is_null());
    }

    #[test]
    fn a_problem_is_not_as_wanted() {
        let mut status = status(Some(true), Some(Mode::Redirect));
        status.standing.as_mut().unwrap().problem = Some("x".into());
        assert!(!status.is_as_wanted() && status.to_text().contains("problem: x"));
    }
}
