//! Which functions of the filter a request's work goes to: `make profile`. Each function
//! of the file gets a counter, which is raised for every run of instructions without a
//! branch. `PROFILE_AUDIT=1` turns the audit on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Module, Request};
use caracal_tests::hosts::ENVOY;
use caracal_tests::mint::{Key, key_set};
use serde_json::json;
use walrus::ir::{BinaryOp, Instr, InstrSeqId, Value};
use walrus::{ConstExpr, FunctionKind, GlobalId, LocalFunction, ValType};

/// Unix time of the requests.
const START: u64 = 1_767_225_600;
/// Exported globals with this prefix are the counters.
const PREFIX: &str = "profile ";
/// Functions that are printed.
const SHOWN: usize = 60;

/// The work of each function since the start.
type Work = BTreeMap<String, i64>;

fn main() {
    let file = std::env::var_os("CARACAL_PROFILED_WASM").expect("make profile sets it");
    let module = Module::from_bytes(counted(PathBuf::from(file))).unwrap();
    let companion = Rc::new(InProcess::default());
    let mut all = json!({"revocation": {"upstream": "feed", "max_staleness_s": 3600}});
    if std::env::var_os("PROFILE_AUDIT").is_some() {
        all["audit"] = json!({"upstream": "feed"});
    }
    let mut proxy = ENVOY
        .builder_of(module, &ENVOY.configuration(all))
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match ENVOY.is_sts(callout) {
            true => Answer::json(&key_set(&[&Key::new("k1", 1)])),
            false => companion.answer(callout),
        })
        .start()
        .unwrap();
    proxy.advance(Duration::from_secs(1));
    let tokens = ["a", "b"].map(|jti| Key::new("k1", 1).mandate(START, json!({"jti": jti})));
    for (what, pair) in [
        ("cold", [Some(&tokens[0]), Some(&tokens[1])]),
        ("warm", [Some(&tokens[1]), Some(&tokens[1])]),
        ("no token", [None, None]),
    ] {
        let mut before = Work::new();
        for token in pair {
            proxy.advance(Duration::from_millis(1));
            before = proxy.exported_globals(0, PREFIX);
            let request = Request::get("/payouts/1?page=2");
            let request = match token {
                Some(token) => request.bearer(token.as_str()),
                None => request,
            };
            proxy.request(0, request);
        }
        let after = proxy.exported_globals(0, PREFIX);
        print(what, &before, &after);
    }
    proxy.advance(Duration::from_secs(2));
    let before = proxy.exported_globals(0, PREFIX);
    for _ in 0..100 {
        let request = Request::get("/payouts/1?page=2")
            .header("x-request-id", "2f4b3f3e-7c6a-4a0e-9a57-6a5d8f3b2c1d");
        let stream = proxy.request(0, request.bearer(tokens[1].as_str()));
        proxy.respond(stream, 200, [("content-length", "0")]);
    }
    proxy.advance(Duration::from_millis(400));
    let after = proxy.exported_globals(0, PREFIX);
    print(
        "100 warm, answered, and the ticks after them",
        &before,
        &after,
    );
}

fn print(what: &str, before: &Work, after: &Work) {
    let spent = |(name, work): (&String, &i64)| {
        let before = before.get(name).copied().unwrap_or(0);
        (name.clone(), work - before)
    };
    let mut spent: Vec<(String, i64)> = after.iter().map(spent).collect();
    spent.sort_by_key(|(_, work)| -work);
    let total: i64 = spent.iter().map(|(_, work)| work).sum();
    println!("{what}: {total}");
    for (name, work) in spent.iter().take(SHOWN).filter(|(_, work)| *work > 0) {
        println!("{work:>9} {name}");
    }
}

/// The module with a counter for each function.
fn counted(file: PathBuf) -> Vec<u8> {
    let mut module = walrus::Module::from_file(file).unwrap();
    let functions: Vec<_> = module.funcs.iter_local().map(|(id, _)| id).collect();
    for (n, id) in functions.into_iter().enumerate() {
        let name = module.funcs.get(id).name.clone().unwrap_or_default();
        let name = format!("{PREFIX}{name} #{n}");
        let zero = ConstExpr::Value(Value::I64(0));
        let counter = module.globals.add_local(ValType::I64, true, false, zero);
        module.exports.add(&name, counter);
        if let FunctionKind::Local(function) = &mut module.funcs.get_mut(id).kind {
            count(function, counter);
        }
    }
    module.emit_wasm()
}

fn count(function: &mut LocalFunction, counter: GlobalId) {
    let mut sequences = vec![function.entry_block()];
    let mut next = 0;
    while let Some(sequence) = sequences.get(next).copied() {
        for (instruction, _) in &function.block(sequence).instrs {
            sequences.extend(inner(instruction));
        }
        next += 1;
    }
    for sequence in sequences {
        let old = std::mem::take(&mut function.block_mut(sequence).instrs);
        let mut new = Vec::with_capacity(old.len() * 2);
        let mut rest = old.as_slice();
        while !rest.is_empty() {
            let branch = rest.iter().position(|(one, _)| ends_run(one));
            let (run, later) = rest.split_at(branch.map_or(rest.len(), |at| at + 1));
            let location = run[0].1;
            let work = run.iter().filter(|(one, _)| is_work(one)).count();
            let work = Value::I64(i64::try_from(work).unwrap());
            for instruction in [
                Instr::GlobalGet(walrus::ir::GlobalGet { global: counter }),
                Instr::Const(walrus::ir::Const { value: work }),
                Instr::Binop(walrus::ir::Binop {
                    op: BinaryOp::I64Add,
                }),
                Instr::GlobalSet(walrus::ir::GlobalSet { global: counter }),
            ] {
                new.push((instruction, location));
            }
            new.extend_from_slice(run);
            rest = later;
        }
        function.block_mut(sequence).instrs = new;
    }
}

fn inner(instruction: &Instr) -> Vec<InstrSeqId> {
    match instruction {
        Instr::Block(block) => vec![block.seq],
        Instr::Loop(one) => vec![one.seq],
        Instr::IfElse(one) => vec![one.consequent, one.alternative],
        _ => Vec::new(),
    }
}

fn ends_run(instruction: &Instr) -> bool {
    matches!(instruction, Instr::BrIf(_)) || !inner(instruction).is_empty()
}

/// What wasmtime counts as a unit of work.
fn is_work(instruction: &Instr) -> bool {
    !matches!(
        instruction,
        Instr::Drop(_) | Instr::Block(_) | Instr::Loop(_)
    )
}
