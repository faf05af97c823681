//! Several rounds, the peers side by side in each.

use std::{env, time::Duration};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rmi_harness::Process;

use crate::{
    contract::{Holding, Sample},
    machine::core_to_share,
    native,
    peers::Peer,
    plan::{Plan, Turn},
    process::{bytes, cpu, start},
    results::{Numbers, Results},
    row::{Row, Work, name},
};

/// What an object takes by itself in every language, nearly: a number, and a count or a header.
pub(crate) const OBJECT_LEN: f64 = 32.0;

/// Measures what the plan says. Peers that fail are missing in the results, with a note; the floor and
/// rmi must not.
pub(crate) fn measure(plan: &Plan) -> Result<Results> {
    let mut results = Results::default();
    let mut programs = Vec::new();
    for peer in &plan.peers {
        match program(*peer) {
            Ok(program) => programs.push((*peer, program)),
            Err(why) => {
                let note = format!("{} is left out: {why:#}", name(*peer));
                eprintln!("{note}");
                results.notes.push(note);
            }
        }
    }
    let rounds: Vec<_> = (0..plan.rounds).map(|round| plan.turns(round)).collect();
    let bar = ProgressBar::new(rounds.iter().map(Vec::len).sum::<usize>() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  ({eta} left)")?);
    for (round, turns) in rounds.iter().enumerate() {
        for turn in turns {
            bar.inc(1);
            let Some((_, program)) = programs.iter().find(|(peer, _)| *peer == turn.peer) else { continue };
            bar.set_message(describe(*turn));
            match once(*turn, program, plan) {
                Ok(numbers) => results.add(*turn, round, numbers),
                Err(why) if !matches!(turn.peer, Peer::Floor | Peer::Rmi) => {
                    let note = format!("{} failed: {why:#}", describe(*turn));
                    bar.println(&note);
                    if !results.notes.contains(&note) {
                        results.notes.push(note);
                    }
                }
                Err(why) => return Err(why.context(describe(*turn))),
            }
        }
    }
    bar.finish_and_clear();
    Ok(results)
}

/// Who does what where, in words.
fn describe(turn: Turn) -> String {
    let Turn { row, flavour, peer } = turn;
    let runtime = if peer.is_native() { String::new() } else { format!(" on {}", name(flavour)) };
    format!("{}, {}{runtime}", row.title(), name(peer))
}

/// What is started for a peer: this program, or one that is compiled first.
fn program(peer: Peer) -> Result<Vec<String>> {
    if peer.is_native() {
        return native::prepare(peer);
    }
    Ok(vec![env::current_exe()?.to_string_lossy().into_owned()])
}

/// One peer, one go: two fresh processes.
fn once(turn: Turn, program: &[String], plan: &Plan) -> Result<Numbers> {
    let Turn { row, flavour, peer } = turn;
    let core = if row.is_pinned() { core_to_share() } else { None };
    let mut common = vec![format!("--row={}", name(row))];
    if !peer.is_native() {
        common.extend([format!("--peer={}", name(peer)), format!("--flavour={}", name(flavour))]);
    }
    let mut server = start(program, &[vec!["serve".to_owned()], common.clone()].concat(), core)?;
    let url = server.expect("ready").context("the server")?;
    let mut args = vec!["call".to_owned(), format!("--url={url}")];
    args.push(format!("--warm-up={}", plan.warm_up(peer).as_millis()));
    args.push(format!("--measured={}", plan.measured(row).as_millis()));
    if row.work() == Work::Hold {
        args.push(format!("--count={}", plan.held));
    }
    let args = [args, common].concat();
    let client = || start(program, &args, core);
    if row.work() == Work::Hold { hold(&mut server, client) } else { call(&mut server, row, client) }
}

/// Calls for some time.
fn call(server: &mut Process, row: Row, client: impl Fn() -> Result<Process>) -> Result<Numbers> {
    let mut client = client()?;
    client.expect("warm").context("the client")?;
    let cpu_before = cpu(server)?;
    client.tell("go")?;
    let sample = Sample::from_line(&client.expect("done").context("the client")?)?;
    let server_cpu = cpu(server)?.saturating_sub(cpu_before);
    let memory = bytes(server, "memory")?;
    let calls = sample.calls.max(1) as f64;
    let per_call = match row.work() {
        Work::Echo(len) => len as f64 / 1e6,
        _ => 1.0,
    };
    Ok(Numbers {
        rate: calls * per_call / sample.took.as_secs_f64(),
        p50: micros(sample.p50),
        p99: micros(sample.p99),
        p999: micros(sample.p999),
        base: sample.base.map_or(f64::NAN, micros),
        client_cpu: micros(sample.cpu) / calls,
        server_cpu: micros(server_cpu) / calls,
        server_mib: memory.map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20)),
        ..Numbers::NONE
    })
}

/// Has a client hold objects, and compares memory with and without.
fn hold(server: &mut Process, client: impl Fn() -> Result<Process>) -> Result<Numbers> {
    // A heap tells more than what a virtual machine has taken for it.
    let question = if bytes(server, "heap")?.is_some() { "heap" } else { "memory" };
    let before = bytes(server, question)?;
    let mut client = client()?;
    client.expect("warm").context("the client")?;
    let after = bytes(server, question)?;
    client.tell("go")?;
    let holding = Holding::from_line(&client.expect("done").context("the client")?)?;
    let objects = holding.objects.max(1) as f64;
    let per_object = |before: u64, after: u64| (after as f64 - before as f64) / objects;
    let server_bytes = before.zip(after).map_or(f64::NAN, |(before, after)| per_object(before, after) - OBJECT_LEN);
    Ok(Numbers { server_bytes, client_bytes: per_object(holding.memory_before, holding.memory_after), ..Numbers::NONE })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
