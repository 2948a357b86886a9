//! `[policy]`: what is decided here, as written, checked and shown.

use std::path::{Path, PathBuf};

use super::check::problem;
use super::draft::Reader;
use super::file::PolicySpec;
use super::problem::{Problem, Sourced};
use super::show::{Lines, list, quoted};
use super::values::{
    HOSTS_HELP, LISTS_HELP, parse_block_answer, parse_domain, parse_let_out, parse_path, parse_records,
};
use super::{BlockAnswer, PolicyConfig, RecordsFrom, records};

/// `[policy]` in the making.
#[derive(Clone, Debug)]
pub(super) struct DraftPolicy {
    local_names: Sourced<bool>,
    pub(super) let_out: Sourced<Vec<Sourced<String>>>,
    rebind_protection: Sourced<bool>,
    rebind_allow: Sourced<Vec<Sourced<String>>>,
    block: Sourced<Vec<Sourced<PathBuf>>>,
    allow: Sourced<Vec<Sourced<PathBuf>>>,
    block_answer: Sourced<BlockAnswer>,
    hosts: Sourced<Vec<Sourced<PathBuf>>>,
    records: Sourced<Vec<Sourced<RecordsFrom>>>,
}

impl Default for DraftPolicy {
    fn default() -> Self {
        Self {
            local_names: Sourced::default_value(true),
            let_out: Sourced::default_value(Vec::new()),
            rebind_protection: Sourced::default_value(true),
            rebind_allow: Sourced::default_value(Vec::new()),
            block: Sourced::default_value(Vec::new()),
            allow: Sourced::default_value(Vec::new()),
            block_answer: Sourced::default_value(BlockAnswer::Null),
            hosts: Sourced::default_value(Vec::new()),
            records: Sourced::default_value(Vec::new()),
        }
    }
}

impl DraftPolicy {
    /// Lays a file's table over what is there.
    pub(super) fn lay(&mut self, spec: PolicySpec, reader: &mut Reader<'_>) {
        reader.set_plain(&mut self.local_names, spec.local_names);
        reader.set_plain(&mut self.rebind_protection, spec.rebind_protection);
        reader.set_list(&mut self.let_out, spec.let_out, parse_let_out);
        reader.set_list(&mut self.rebind_allow, spec.rebind_allow, parse_domain);
        let list = |text: &str, directory: &Path| parse_path(text, directory, LISTS_HELP);
        reader.set_paths(&mut self.block, spec.block, list);
        reader.set_paths(&mut self.allow, spec.allow, list);
        let hosts = |text: &str, directory: &Path| parse_path(text, directory, HOSTS_HELP);
        reader.set_paths(&mut self.hosts, spec.hosts, hosts);
        reader.set_paths(&mut self.records, spec.records, parse_records);
        reader.set(&mut self.block_answer, spec.block_answer, |_, text| {
            parse_block_answer(text)
        });
    }

    /// Sound only after [`DraftPolicy::check`] found nothing.
    pub(super) fn to_config(&self) -> PolicyConfig {
        let plain = |list: &Sourced<Vec<Sourced<String>>>| list.value.iter().map(|text| text.value.clone()).collect();
        let paths = |list: &Sourced<Vec<Sourced<PathBuf>>>| list.value.iter().map(|path| path.value.clone()).collect();
        PolicyConfig {
            local_names: self.local_names.value,
            let_out: plain(&self.let_out),
            rebind_protection: self.rebind_protection.value,
            rebind_allow: plain(&self.rebind_allow),
            block: paths(&self.block),
            allow: paths(&self.allow),
            block_answer: self.block_answer.value,
            hosts: paths(&self.hosts),
            records: self.records.value.iter().map(|item| item.value.clone()).collect(),
        }
    }

    /// Reports what does not fit together.
    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        for list in [&self.let_out, &self.rebind_allow] {
            if list.value.len() > MAX_DOMAINS {
                let help = "a domain stands for all names below it";
                problems.push(problem(&list.place, "more than 256 names", help));
            }
        }
        let hosts = self.hosts.value.iter().map(|path| (path.value.as_path(), &path.place));
        let items = self.records.value.iter().map(|item| (&item.value, &item.place));
        if let Err(wrong) = records::load(hosts, items) {
            problems.extend(wrong);
        }
    }

    /// For `config show`.
    pub(super) fn show(&self, lines: &mut Lines) {
        lines.table("[policy]");
        let mut flag = |key, flag: &Sourced<bool>| lines.value(key, &flag.value.to_string(), &flag.place);
        flag("local-names", &self.local_names);
        flag("rebind-protection", &self.rebind_protection);
        for (key, names) in [("let-out", &self.let_out), ("rebind-allow", &self.rebind_allow)] {
            lines.value(
                key,
                &list(names.value.iter().map(|name| name.value.clone())),
                &names.place,
            );
        }
        for (key, paths) in [("block", &self.block), ("allow", &self.allow)] {
            let shown = paths.value.iter().map(|path| path.value.display().to_string());
            lines.value(key, &list(shown), &paths.place);
        }
        let answer = match self.block_answer.value {
            BlockAnswer::Null => "null",
            BlockAnswer::NxDomain => "nxdomain",
        };
        lines.value("block-answer", &quoted(answer), &self.block_answer.place);
        let hosts = self.hosts.value.iter().map(|path| path.value.display().to_string());
        lines.value("hosts", &list(hosts), &self.hosts.place);
        let records = self.records.value.iter().map(|item| match &item.value {
            RecordsFrom::Line(line) => line.clone(),
            RecordsFrom::Path(path) => path.display().to_string(),
        });
        lines.value("records", &list(records), &self.records.place);
    }
}

/// Compared one by one with the names of answers that have private addresses.
const MAX_DOMAINS: usize = 256;
