//! A reply as text, like a short dig, and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Response;
use crate::app::explain::{Rule, RuleKind};
use crate::upstream::iana;
use crate::upstream::records::{RecordText, Reply};
use crate::wire::header::Rcode;

/// Comment lines begin with `;;`, records are zone file lines.
pub(super) fn to_text(reply: &Reply, rules: &Result<Vec<Rule>, String>, response: &Response) -> String {
    let mut text = format!(";; {}, flags: {}", Rcode(reply.rcode), reply.flags.join(" "));
    if let Some((name, rtype, class)) = &reply.question {
        text.push_str(&format!(", question: {name} {class} {rtype}"));
    }
    text.push('\n');
    for (code, extra) in &reply.extended_errors {
        text.push_str(&format!(";; {}\n", ede_words(*code, extra)));
    }
    match rules {
        Ok(rules) => rules.iter().for_each(|rule| text.push_str(&rule_line(rule))),
        Err(why) => text.push_str(&format!(";; which rule decided cannot be told: {why}\n")),
    }
    write_records(&mut text, None, &reply.answers);
    write_records(&mut text, Some("authority"), &reply.authorities);
    write_records(&mut text, Some("additional"), &reply.additionals);
    let Response {
        octets,
        transport,
        server,
        ..
    } = response;
    text.push_str(&format!(
        ";; {transport} {server}, {:.1} ms, {} octets\n",
        milliseconds(response.took),
        octets.len()
    ));
    text
}

/// What the records of the answer say, for scripts.
pub(super) fn to_short(reply: &Reply) -> String {
    reply
        .answers
        .iter()
        .map(|record| format!("{}\n", record.data))
        .collect()
}

fn rule_line(rule: &Rule) -> String {
    let by = if rule.kind == RuleKind::Route { "by " } else { "" };
    format!(";; {by}{}\n", rule_words(rule))
}

/// A rule, where it stands and what it says.
pub(in crate::cli) fn rule_words(rule: &Rule) -> String {
    let Rule { kind, place, text } = rule;
    match kind {
        RuleKind::Record => format!("your own record: {place}"),
        RuleKind::Route => format!("{place}: {text}"),
        RuleKind::Local => format!("a name that stays home ({place})"),
        RuleKind::Block => format!("blocked by {place}: {text}"),
        RuleKind::Allow => format!("allowed by {place}: {text}"),
        RuleKind::Withhold => format!("withheld ({place}): {text}"),
    }
}

/// An extended error, with what was said beside it.
pub(in crate::cli) fn ede_words(code: u16, extra: &str) -> String {
    let extra = if extra.is_empty() {
        String::new()
    } else {
        format!(": {extra}")
    };
    format!("EDE {code} ({}){extra}", iana::ede_name(code))
}

/// The rules for programs.
pub(in crate::cli) fn rules_json(rules: &Result<Vec<Rule>, String>) -> Vec<Value> {
    let rule = |rule: &Rule| json!({ "kind": rule.kind.word(), "place": rule.place, "text": rule.text });
    rules.iter().flatten().map(rule).collect()
}

/// The extended errors for programs.
pub(in crate::cli) fn ede_json(reply: &Reply) -> Vec<Value> {
    let ede = |(code, text): &(u16, String)| json!({ "code": code, "name": iana::ede_name(*code), "text": text });
    reply.extended_errors.iter().map(ede).collect()
}

/// Of a time, for programs: to the microsecond.
pub(in crate::cli) fn rounded_ms(took: Duration) -> f64 {
    (milliseconds(took) * 1000.0).round() / 1000.0
}

pub(in crate::cli) fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// The documented shape; see the command's help.
pub(super) fn to_json(reply: &Reply, rules: &Result<Vec<Rule>, String>, response: &Response) -> Value {
    let question = reply
        .question
        .as_ref()
        .map(|(name, rtype, class)| json!({ "name": name, "type": rtype, "class": class }));
    json!({
        "format": 1,
        "status": Rcode(reply.rcode).to_string(),
        "rcode": reply.rcode,
        "flags": reply.flags,
        "question": question,
        "ede": ede_json(reply),
        "answer": records_json(&reply.answers),
        "authority": records_json(&reply.authorities),
        "additional": records_json(&reply.additionals),
        "rules": rules_json(rules),
        "rules_error": rules.as_ref().err(),
        "transport": response.transport,
        "server": response.server,
        "time_ms": rounded_ms(response.took),
        "octets": response.octets.len(),
    })
}

fn records_json(records: &[RecordText]) -> Vec<Value> {
    let one = |record: &RecordText| {
        let RecordText {
            name,
            ttl,
            class,
            rtype,
            data,
        } = record;
        json!({ "name": name, "ttl": ttl, "class": class, "type": rtype, "data": data })
    };
    records.iter().map(one).collect()
}

fn write_records(text: &mut String, section: Option<&str>, records: &[RecordText]) {
    if let (Some(section), false) = (section, records.is_empty()) {
        text.push_str(&format!(";; {section}:\n"));
    }
    let width =
        |column: fn(&RecordText) -> usize| records.iter().map(column).filter(|width| *width <= MAX_COLUMN).max();
    let name_width = width(|record| record.name.len()).unwrap_or(0);
    let ttl_width = width(|record| record.ttl.to_string().len()).unwrap_or(0);
    let type_width = width(|record| record.rtype.len()).unwrap_or(0);
    for RecordText {
        name,
        ttl,
        class,
        rtype,
        data,
    } in records
    {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{name:name_width$}  {ttl:ttl_width$}  {class}  {rtype:type_width$}  {data}"
        );
    }
}

/// Columns line up under all but the longest names.
const MAX_COLUMN: usize = 48;
