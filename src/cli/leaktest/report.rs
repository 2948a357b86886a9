//! The result, as a table and as JSON.

use serde_json::{Value, json};

use super::Sighting;
use super::send::Fate;

/// What became of one canary.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) is_control: bool,
    pub(super) fate: Fate,
    pub(super) seen: Vec<Sighting>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) lines: Vec<Line>,
    /// Whether a tacenda answered before the test began.
    pub(super) has_stub: bool,
    /// Whether the leak guard is on.
    pub(super) is_guarded: bool,
    pub(super) packets: usize,
}

impl Report {
    fn leaks(&self) -> usize {
        let leaks = self.lines.iter().filter(|line| !line.is_control && line.is_leak());
        leaks.count()
    }

    fn untried(&self) -> usize {
        let untried = self.lines.iter().filter(|line| matches!(line.fate, Fate::Untried(_)));
        untried.count()
    }

    /// Those that were tried, but for the control.
    fn tried(&self) -> usize {
        self.lines.len().saturating_sub(1 + self.untried())
    }

    /// Why the result says nothing, if so.
    fn void(&self) -> Option<&'static str> {
        let mut controls = self.lines.iter().filter(|line| line.is_control);
        (!controls.any(|line| !line.seen.is_empty()))
            .then_some("not even the control was seen: without a network nothing can leave, and nothing is proved")
    }

    pub(super) fn is_clean(&self) -> bool {
        self.leaks() == 0 && self.void().is_none()
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&format!(
                "{:62} {:20} {}\n",
                line.what,
                line.fate.word(),
                line.by_whom()
            ));
            if let Fate::Untried(why) = &line.fate {
                text.push_str(&format!("{:62} ({why})\n", ""));
            }
        }
        if !self.has_stub {
            text.push_str("note: no tacenda answered on this host when the test began\n");
        }
        if self.untried() > 0 {
            text.push_str(&format!(
                "note: {} ways could not be tried, and are not proved\n",
                self.untried()
            ));
        }
        let tried = self.tried();
        text.push_str(&match (self.void(), self.leaks()) {
            (Some(why), _) => format!("void: {why}\n"),
            (None, 0) => format!("nothing leaks: of {tried} ways none was seen on a link, in {} packets\n", self.packets),
            (None, leaks) if self.is_guarded => {
                format!("{leaks} of {tried} ways leak though the guard is on: `sudo tacenda guard status`, and who tacenda runs as\n")
            }
            (None, leaks) => format!("{leaks} of {tried} ways leak; `sudo tacenda guard on` shuts them\n"),
        });
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let seen = |seen: &Sighting| json!({ "link": seen.link, "to": seen.to, "form": seen.form });
        let line = |line: &Line| {
            let why = match &line.fate {
                Fate::Untried(why) => Some(why),
                _ => None,
            };
            json!({
                "path": line.what,
                "fate": line.fate.word(),
                "why": why,
                "seen": line.seen.iter().map(seen).collect::<Vec<_>>(),
            })
        };
        json!({
            "format": 1,
            "leaks": self.leaks(),
            "untried": self.untried(),
            "void": self.void(),
            "packets": self.packets,
            "paths": self.lines.iter().map(line).collect::<Vec<_>>(),
        })
    }
}

impl Line {
    /// Seen, or answered by somebody whom it can only have reached in clear text.
    fn is_leak(&self) -> bool {
        !self.seen.is_empty() || self.fate == Fate::Answered
    }

    fn by_whom(&self) -> String {
        let seen = match self.seen.as_slice() {
            [] if self.fate == Fate::Answered => return "LEAK: answered, though not seen on a link".to_owned(),
            [] if self.is_control => return "not seen".to_owned(),
            [] => return "not seen on any link".to_owned(),
            seen => seen,
        };
        let mut places: Vec<_> = seen
            .iter()
            .map(|seen| format!("on {} to {}", seen.link, seen.to))
            .collect();
        places.dedup();
        let word = if self.is_control { "seen, as it must be" } else { "SEEN" };
        format!("{word}: {}", places.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(is_control: bool, fate: Fate, is_seen: bool) -> Line {
        let sighting = Sighting {
            label: "x".into(),
            link: "h0".into(),
            to: "192.168.77.1 port 53 (UDP)".into(),
            form: "as it is".into(),
        };
        Line {
            what: "a way".into(),
            is_control,
            fate,
            seen: if is_seen { vec![sighting] } else { Vec::new() },
        }
    }

    fn report(lines: Vec<Line>) -> Report {
        Report {
            lines,
            has_stub: true,
            is_guarded: false,
            packets: 3,
        }
    }

    #[test]
    fn it_is_clean_only_if_the_control_was_seen_and_nothing_else() {
        let control = || line(true, Fate::Silence, true);
        for (lines, is_clean, words) in [
            (
                vec![control(), line(false, Fate::Arrived, false)],
                true,
                "nothing leaks: of 1 ways",
            ),
            (
                vec![control(), line(false, Fate::Silence, true)],
                false,
                "SEEN: on h0 to 192.168.77.1 port 53 (UDP)",
            ),
            (vec![control(), line(false, Fate::Answered, false)], false, "LEAK"),
            (
                vec![line(true, Fate::Silence, false), line(false, Fate::Refused, false)],
                false,
                "void: not even the control",
            ),
        ] {
            let report = report(lines);
            assert_eq!(report.is_clean(), is_clean, "{words}");
            assert!(report.to_text().contains(words), "{}", report.to_text());
        }
    }

    #[test]
    fn what_was_not_tried_is_not_counted_as_proved() {
        let mut report = report(vec![
            line(true, Fate::Silence, true),
            line(false, Fate::Refused, false),
            line(false, Fate::Untried("why".into()), false),
        ]);
        let text = report.to_text();
        assert!(
            text.contains("of 1 ways none") && text.contains("1 ways could not be tried"),
            "{text}"
        );
        report.is_guarded = true;
        report.lines.push(line(false, Fate::Silence, true));
        assert!(
            report.to_text().contains("though the guard is on"),
            "{}",
            report.to_text()
        );
    }

    #[test]
    fn json_says_the_same() {
        let json = report(vec![
            line(true, Fate::Silence, true),
            line(false, Fate::Untried("why".into()), false),
        ])
        .to_json();
        assert_eq!((&json["leaks"], &json["void"]), (&json!(0), &Value::Null));
        assert_eq!(json["untried"], 1);
        assert_eq!(json["paths"][1]["why"], "why");
        assert_eq!(json["paths"][0]["seen"][0]["link"], "h0");
    }
}
