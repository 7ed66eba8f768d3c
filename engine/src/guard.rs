//! What must be refused before regorus gets to see it: texts that its parser or its interpreter
//! would only leave with the whole process.
//!
//! - The parser tries each bracket as a comprehension first and then parses what is inside again,
//!   a brace as an object after that: the work doubles or trebles with each level.
//! - Long chains of operators make trees as deep as they are long, and everything that walks a tree
//!   calls itself. So do rules that need rules that need rules.
//! - Nothing ends a function that calls itself.
//! - A builtin asked for a list of 10^12 numbers ends the process where no memory is left for it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::unstable::{Lexer, TokenKind};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Source, Value};

use crate::outline::Uses;

/// Brackets inside each other; real policies have five or six.
const BRACKETS: usize = 12;
const PARENTHESES: usize = 200;
/// Operators, fields and calls chained in one expression, counting those around it.
const CHAIN: u32 = 200;
/// Tokens, each as often as it is parsed: about a second of work.
const TOKENS_PARSED: u64 = 1 << 25;
/// How deep an evaluation may go: levels of expressions, and `RULE` more for each rule on the way.
/// A level was seen to take up to 600 bytes of stack (regorus 0.11), so this is below 1 MiB.
const DEPTH: usize = 1500;
const RULE: usize = 10;
/// Numbers that one call of numbers.range may make.
const RANGE: i128 = 1_000_000;
/// Wall-clock time of one question. The slowest decision of a real policy takes milliseconds.
pub const TIME: Duration = Duration::from_secs(5);
const STEPS_PER_LOOK: NonZeroU32 = NonZeroU32::new(1000).unwrap();

#[derive(Default)]
struct Nesting {
    /// How often the parser looks at a token inside each open bracket and brace.
    often: Vec<u64>,
    parentheses: usize,
    /// Chained operators of each open bracket, the outermost first, and of all together.
    chains: Vec<u32>,
    chained: u32,
    parsed: u64,
}

impl Nesting {
    /// `times`: how often more what is inside gets parsed; 1 for parentheses.
    fn open(&mut self, times: u64) {
        if times > 1 {
            self.often.push(self.often.last().copied().unwrap_or(1).saturating_mul(times));
        }
        self.parentheses += usize::from(times == 1);
        self.chains.push(0);
    }

    fn close(&mut self, bracket: bool) {
        if bracket {
            self.often.pop();
        } else {
            self.parentheses = self.parentheses.saturating_sub(1);
        }
        self.end_chain();
        if self.chains.len() > 1 {
            self.chains.pop();
        }
    }

    fn chain(&mut self) {
        self.chained += 1;
        if let Some(last) = self.chains.last_mut() {
            *last += 1;
        }
    }

    fn end_chain(&mut self) {
        if let Some(last) = self.chains.last_mut() {
            self.chained -= *last;
            *last = 0;
        }
    }

    fn refusal(&self) -> Option<String> {
        if self.often.len() > BRACKETS || self.parentheses > PARENTHESES {
            Some(format!(
                "more than {BRACKETS} brackets or {PARENTHESES} parentheses inside each other"
            ))
        } else if self.chained > CHAIN {
            Some(format!("more than {CHAIN} operators in one expression"))
        } else if self.parsed > TOKENS_PARSED {
            Some("too much text inside too many brackets".to_string())
        } else {
            None
        }
    }
}

fn is_operator(text: &str) -> bool {
    matches!(
        text,
        "+" | "-" | "*" | "/" | "%" | "&" | "|" | "<" | "<=" | "==" | ">=" | ">" | "!=" | "in"
    )
}

/// Is the text shallow enough to be parsed? The refusal looks like the parser's own.
pub fn check_text(name: &str, text: &str) -> Result<(), String> {
    let Ok(source) = Source::from_contents(name.to_string(), text.to_string()) else {
        return Ok(()); // too long: the engine says so itself
    };
    let mut lexer = Lexer::new(&source);
    let mut at = Nesting { chains: vec![0], ..Nesting::default() };
    let mut line = 0;
    let mut open_ended = true; // the token before wants something behind it
    while let Ok(token) = lexer.next_token() {
        let quoted = matches!(token.0, TokenKind::String | TokenKind::RawString);
        let text = if quoted { "" } else { token.1.text() };
        if token.0 == TokenKind::Eof {
            break;
        }
        let operator = is_operator(text);
        if token.1.line != line && !open_ended && !operator {
            at.end_chain();
        }
        line = token.1.line;
        open_ended = operator || matches!(text, "[" | "{" | "(" | "set(" | ",");
        match text {
            "[" | "{" | "(" | "set(" => {
                at.chain();
                at.open(match text {
                    "[" => 2,
                    "{" => 3,
                    _ => 1,
                });
            }
            "]" | "}" => at.close(true),
            ")" => at.close(false),
            "," | ";" | ":" | ":=" | "=" => at.end_chain(),
            "." => at.chain(),
            _ if operator || text.starts_with('-') => at.chain(),
            _ => (),
        }
        at.parsed += at.often.last().copied().unwrap_or(1);
        if let Some(why) = at.refusal() {
            return Err(token.1.message("error", &why));
        }
    }
    Ok(())
}

/// Limits for every question that is put to the engine.
pub fn limit(engine: &mut Engine) -> Result<(), String> {
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: TIME,
        check_interval: STEPS_PER_LOOK,
    });
    engine.set_gather_prints(true); // print() of a policy would write to our standard error
    for (name, params) in [("numbers.range", 2), ("numbers.range_step", 3)] {
        engine
            .add_extension(
                name.to_string(),
                params,
                Box::new(|params: Vec<Value>| range(&params).map_err(crate::rego::anyhow_error)),
            )
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// numbers.range(first, last) and numbers.range_step(first, last, step), as the builtins do it.
fn range(params: &[Value]) -> Result<Value, String> {
    let mut numbers = [0_i64, 0, 1];
    for (slot, value) in numbers.iter_mut().zip(params) {
        *slot = value.as_i64().map_err(|_| "numbers.range: operand must be integer".to_string())?;
    }
    let [first, last, step] = numbers.map(i128::from);
    if step <= 0 {
        return Err("numbers.range_step: step must be a positive integer".to_string());
    }
    let count = (last - first).abs() / step + 1;
    if count > RANGE {
        return Err(format!("numbers.range: more than {RANGE} numbers"));
    }
    let step = if last < first { -step } else { step };
    let list: Vec<Value> = (0..count)
        .map(|i| Value::from(i64::try_from(first + i * step).unwrap_or(last as i64)))
        .collect();
    Ok(Value::from(list))
}

#[derive(Debug)]
pub enum Refusal {
    /// Rules or functions that need themselves, in the order they do.
    Circle(Vec<String>),
    /// The rule that starts a chain which is too long.
    Deep(String),
}

/// Do rules need each other in circles, or too many one after the other?
pub fn check_uses(rules: &BTreeMap<String, Uses>) -> Result<(), Refusal> {
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    for start in rules.keys() {
        // Depth first, without calling ourselves: a stack of rules and what is left to look at.
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut on_path: BTreeSet<&str> = BTreeSet::new();
        let mut next = Some(start.as_str());
        loop {
            if let Some(name) = next.take() {
                if on_path.contains(name) {
                    let from = path.iter().position(|(n, _)| *n == name).unwrap_or(0);
                    let circle = path[from..].iter().map(|(n, _)| (*n).to_string()).collect();
                    return Err(Refusal::Circle(circle));
                }
                if !done.contains_key(name) {
                    on_path.insert(name);
                    let uses = rules[name].names.iter().map(String::as_str).collect();
                    path.push((name, uses));
                }
            }
            let Some((name, left)) = path.last_mut() else { break };
            if let Some(used) = left.pop() {
                next = Some(used);
                continue;
            }
            let below =
                rules[*name].names.iter().map(|n| done.get(n.as_str()).copied().unwrap_or(0));
            let depth = below.max().unwrap_or(0) + rules[*name].depth + RULE;
            if depth > DEPTH {
                return Err(Refusal::Deep((*name).to_string()));
            }
            done.insert(*name, depth);
            on_path.remove(*name);
            path.pop();
        }
    }
    Ok(())
}
