//! B3: system calls for each hit under load, counted by strace; and instructions, which `benches/instructions.rs` counts.

use std::process::Command;
use std::time::Duration;

use crate::children::Running;
use crate::closed::{self, Load};
use crate::lab::{Fleet, Lab, SERVER_CORE};
use crate::peers::{self, Kind, Program};
use crate::report::{Met, Row, Table, short};
use crate::rows::hit::HOT;
use crate::{clock, cpu};

/// How long strace may take to get hold of all threads.
const ATTACH: Duration = Duration::from_secs(3);

/// Instructions of user space that a hit may take.
const MAX_INSTRUCTIONS: f64 = 1500.0;

/// B3.
pub(crate) fn row(lab: &Lab, fleet: &Fleet) -> Result<Row, String> {
    let mut row = Row::new("B3", "system calls and instructions of a hit");
    let mut lines = Vec::new();
    let mut ours = f64::NAN;
    for program in fleet.floor.iter().chain(&fleet.programs) {
        match count(lab, program) {
            Ok((calls, answered)) => {
                let each = calls as f64 / answered as f64;
                if program.kind == Kind::Tacenda {
                    ours = each;
                }
                lines.push(vec![
                    program.label.clone(),
                    short(each),
                    calls.to_string(),
                    answered.to_string(),
                ]);
            }
            Err(why) => lines.push(vec![program.label.clone(), "void".to_owned(), why]),
        }
    }
    let columns = ["program", "calls/hit", "calls", "hits"];
    row.tables.push(Table::new(
        "system calls under load, all threads, by strace",
        &columns,
        lines,
    ));
    row.hold_value("system calls of a hit under load", ours, 0.25, "calls");
    instructions(&mut row);
    Ok(row)
}

/// System calls and right answers in a span of saturation.
fn count(lab: &Lab, program: &Program) -> Result<(u64, u64), String> {
    let pid = program.running.pid();
    let report = lab.folder.path().join(format!("strace-{pid}"));
    let mut command = Command::new("strace");
    command
        .args(["-f", "-c", "-o"])
        .arg(&report)
        .args(["-p", &pid.to_string()]);
    let strace = Running::start(&mut command, &lab.folder.path().join(format!("strace-{pid}.log")))?;
    clock::until(ATTACH, Duration::from_millis(10), || is_traced(pid).then_some(()))
        .ok_or("strace does not get hold of it")?;
    let mut load = Load::saturated(program.address, HOT, Duration::from_millis(lab.options.size(300, 1500)));
    load.echo = program.kind == Kind::LimitEcho;
    peers::pin_self(vec![SERVER_CORE])?;
    let tally = closed::run(&load);
    peers::pin_self(peers::all_cores())?;
    strace.signal(libc::SIGINT)?;
    strace.wait(ATTACH);
    let text = std::fs::read_to_string(&report).map_err(|_| "strace wrote nothing".to_owned())?;
    let total = text.lines().rfind(|line| line.trim_end().ends_with("total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    Ok((calls.ok_or("strace counted nothing")?, tally?.checked()?))
}

/// Whether every thread of the process is being traced.
fn is_traced(pid: u32) -> bool {
    let traced = |thread: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    };
    cpu::threads(pid).is_ok_and(|threads| threads.into_iter().all(traced))
}

/// What the gate's file says; the gate itself holds the code to it.
fn instructions(row: &mut Row) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    match value["hit"].as_f64() {
        Some(figure) => row.hold_value(
            "instructions of a hit (by instructions.json)",
            figure,
            MAX_INSTRUCTIONS,
            "instructions",
        ),
        None => row.judge(
            "instructions of a hit",
            "<= 1500",
            "-".to_owned(),
            Met::Void("no benches/instructions.json".to_owned()),
        ),
    }
}
