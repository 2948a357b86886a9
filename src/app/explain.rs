//! Which rule of the configuration decides on a name, found by reading its files as they are now.

use std::io::BufReader;
use std::path::Path;

use super::house::{policy, zones};
use super::records;
use crate::config::records::{Read, RecordSource};
use crate::config::{Config, RouteConfig};
use crate::os::file::{files_of, open_regular};
use crate::policy::list::{self, Action, FoundLine};
use crate::policy::records::End;
use crate::policy::{Policy, Synthesis, Verdict};
use crate::wire::question::QuestionKey;
use crate::wire::record::RecordType;

/// A rule about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// The file and line where it stands, the item of `records`, or the key that switches it on.
    pub place: String,
    /// What it says: a line of a list, a zone, the upstreams of a route. May be empty.
    pub text: String,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Answers with a record of the user's.
    Record,
    /// Sends the name to a route's resolvers.
    Route,
    /// Keeps the name here.
    Local,
    /// Blocks it.
    Block,
    /// Lets it pass where others would block it.
    Allow,
    /// Keeps back what an upstream said of it.
    Withhold,
}

impl RuleKind {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Route => "route",
            Self::Local => "local",
            Self::Block => "block",
            Self::Allow => "allow",
            Self::Withhold => "withhold",
        }
    }
}

/// The rules that decide on a question: none for a name that is simply asked, two for a record that leads to another name which has
/// a rule too.
///
/// # Errors
/// What cannot be read, in one line.
pub fn explain(config: &Config, key: &QuestionKey) -> Result<Vec<Rule>, String> {
    let read = records::read(&config.policy)?;
    let policy = policy(config).with_routes(zones(&config.routes));
    if let Verdict::Synthesize(Synthesis::Any | Synthesis::Error(..)) = policy.verdict(key) {
        return Ok(Vec::new());
    }
    let Some(found) = read.records.find(key.qname(), key.qtype()) else {
        return Ok(of_others_name(config, &policy, key)?.into_iter().collect());
    };
    let mut rules = vec![record(&read, key.qname(), key.qtype())];
    if let End::Outside(target) = found.end
        && let Some(target) = key.with_qname(target)
    {
        rules.extend(of_others_name(config, &policy, &target)?);
    }
    Ok(rules)
}

/// Where the name's own record stands.
fn record(read: &Read, qname: &[u8], qtype: RecordType) -> Rule {
    let origin = read.records.origin(qname, qtype);
    let source = origin.and_then(|(source, line)| Some((read.sources.get(usize::from(source))?, line)));
    let place = match source {
        Some((RecordSource::File(path), line)) => format!("{}:{line}", path.display()),
        Some((RecordSource::Item(number), _)) => format!("item {number} of `records`"),
        None => String::new(),
    };
    Rule {
        kind: RuleKind::Record,
        place,
        text: String::new(),
    }
}

fn of_others_name(config: &Config, policy: &Policy, key: &QuestionKey) -> Result<Option<Rule>, String> {
    match policy.verdict(key) {
        Verdict::Route(number) => Ok(config.routes.get(number).map(|route| by_route(number, route))),
        Verdict::Synthesize(Synthesis::Any | Synthesis::Error(..)) => Ok(None),
        Verdict::Synthesize(_) | Verdict::Own(_) | Verdict::Behind(..) => Ok(Some(Rule {
            kind: RuleKind::Local,
            place: "local-names".to_owned(),
            text: String::new(),
        })),
        // Only a running daemon has one.
        Verdict::Window | Verdict::Ask => by_list(config, key.qname()),
    }
}

fn by_route(number: usize, route: &RouteConfig) -> Rule {
    let upstreams: Vec<_> = route.upstreams.iter().map(ToString::to_string).collect();
    Rule {
        kind: RuleKind::Route,
        place: format!("route {}", number + 1),
        text: upstreams.join(", "),
    }
}

/// The line that decides, of all lists; the first of equal ones.
fn by_list(config: &Config, qname: &[u8]) -> Result<Option<Rule>, String> {
    // An `allow` without anything to block allows nothing.
    if config.policy.block.is_empty() {
        return Ok(None);
    }
    let block = config.policy.block.iter().map(|path| (path, Action::Block));
    let allow = config.policy.allow.iter().map(|path| (path, Action::Allow));
    let mut best: Option<(FoundLine, String)> = None;
    for (path, action) in block.chain(allow) {
        for file in files_of(path) {
            let found = find_in(&file, action, qname).map_err(|error| format!("{}: {error}", file.display()))?;
            if let Some(found) = found
                && best.as_ref().is_none_or(|(best, _)| best.rank() < found.rank())
            {
                let place = format!("{}:{}", file.display(), found.number);
                best = Some((found, place));
            }
        }
    }
    Ok(best.map(|(line, place)| Rule {
        kind: match line.action {
            Action::Block => RuleKind::Block,
            Action::Allow => RuleKind::Allow,
        },
        place,
        text: line.text,
    }))
}

fn find_in(file: &Path, action: Action, qname: &[u8]) -> std::io::Result<Option<FoundLine>> {
    list::find_line(BufReader::new(open_regular(file)?), action, qname)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::RecordsFrom;
    use crate::upstream::connect::Exit;

    #[test]
    fn the_rule_is_named_with_its_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("lists")).unwrap();
        fs::write(at("lists/1"), "x.example\n||ads.example^ # why\n").unwrap();
        fs::write(at("lists/2"), "ads.example\nlong.ads.example\n").unwrap();
        fs::write(at("good"), "\nlong.ads.example\n").unwrap();
        fs::write(at("hosts"), "127.0.0.1 localhost\n192.0.2.1 nas.example\n").unwrap();
        let mut config = Config::default();
        config.policy.block = vec![at("lists")];
        config.policy.allow = vec![at("good")];
        config.policy.hosts = vec![at("hosts")];
        config.policy.records = vec![
            RecordsFrom::Line("my.example A 192.0.2.2".into()),
            RecordsFrom::Line("to.example CNAME t.ads.example".into()),
        ];
        config.routes = vec![RouteConfig {
            zones: vec!["corp.example".into()],
            upstreams: vec!["udp://10.8.0.1".parse().unwrap()],
            exit: Exit {
                interface: Some("tun0".parse().unwrap()),
                via: None,
            },
            roots: crate::config::Roots::Bundled,
        }];
        let rules = |name: &str| {
            let key = QuestionKey::of_host(name, RecordType::A).unwrap();
            let show = |rule: &Rule| {
                let place = rule.place.replace(&format!("{}/", folder.path().display()), "");
                format!("{} {place} {}", rule.kind.word(), rule.text)
            };
            explain(&config, &key).unwrap().iter().map(show).collect::<Vec<_>>()
        };
        assert_eq!(rules("t.ads.example"), ["block lists/1:2 ||ads.example^"]);
        assert_eq!(rules("a.long.ads.example"), ["allow good:2 long.ads.example"]);
        assert_eq!(rules("nas.example"), ["record hosts:2 "]);
        assert_eq!(rules("my.example"), ["record item 1 of `records` "]);
        assert_eq!(
            rules("to.example"),
            ["record item 2 of `records` ", "block lists/1:2 ||ads.example^"]
        );
        assert_eq!(rules("wiki.corp.example"), ["route route 1 udp://10.8.0.1"]);
        assert_eq!(rules("printer.local"), ["local local-names "]);
        assert!(rules("www.example").is_empty());
        fs::remove_file(at("good")).unwrap();
        let key = QuestionKey::of_host("www.example", RecordType::A).unwrap();
        assert!(explain(&config, &key).unwrap_err().contains("good: "));
    }
}
