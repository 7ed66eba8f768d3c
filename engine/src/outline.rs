//! What a policy says, as data: its rules with their bodies and conditions as trees of JSON, and
//! which rule needs which other. Names are resolved as the interpreter resolves them: variables of
//! a body hide rules, imports stand for what they name.
//!
//! A node of a tree has "kind", "line" and "at" (first byte and the one behind the last), and
//!
//! const          "value"
//! ref            "of" (input, data, rule, local), "name" (its first word), "path": constants, and
//!                nodes where the step is computed
//! of             "base" and "path": a step into something that has no name
//! array set      "items"
//! object         "fields": pairs of nodes
//! comprehension  "of" (array, set, object), "term": one or two nodes, "body": statements
//! call           "name", "is" (policy, builtin, extension, or null: nobody has it), "args"
//! op             "op" (== != < <= > >= + - * / % & | = := in), "args"
//!
//! A statement has "kind" (expr, not, some, some-in, every), "line", "at", and "expr"; or "vars"; or
//! "key", "value", "in"; every has "body" too. "with" lists pairs of nodes.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{
    ArithOp, AssignOp, BinOp, BoolOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule,
    RuleHead, Span, BUILTINS,
};
use serde_json::{json, Value as Json};

/// Rules that one rule needs, and how deep its own trees are.
#[derive(Default)]
pub struct Uses {
    pub names: BTreeSet<String>,
    pub depth: usize,
}

/// Which rules does each rule of the module need?
pub fn uses(module: &Module) -> BTreeMap<String, Uses> {
    let mut walk = Walk::new(module, true);
    for rule in &module.policy {
        walk.rule(rule);
    }
    walk.uses
}

/// The whole module as JSON.
pub fn describe(module: &Module) -> Json {
    let mut walk = Walk::new(module, false);
    let rules: Vec<Json> = module.policy.iter().map(|r| walk.rule(r)).collect();
    let imports: Vec<Json> = module
        .imports
        .iter()
        .map(|i| {
            json!({
                "path": flatten(&i.refr).map(|(name, steps)| dotted(name, &steps)),
                "as": i.r#as.as_ref().map(Span::text),
                "line": i.span.line,
            })
        })
        .collect();
    json!({
        "package": walk.package.join("."),
        "line": module.package.span.line,
        "v1": module.rego_v1,
        "imports": imports,
        "rules": rules,
    })
}

/// One step of a reference: a constant name or number, or something computed.
enum Step<'a> {
    Name(String),
    Number(Json),
    Computed(&'a Expr),
}

/// The variable a chain of steps begins at, and the steps; None for what begins otherwise.
fn flatten(expr: &Expr) -> Option<(&str, Vec<Step<'_>>)> {
    let (base, steps) = split(expr);
    match base {
        Expr::Var { span, .. } => Some((span.text(), steps)),
        _ => None,
    }
}

fn split(expr: &Expr) -> (&Expr, Vec<Step<'_>>) {
    let mut steps = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::RefDot { refr, field, .. } => {
                steps.push(Step::Name(field.0.text().to_string()));
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                steps.push(match index.as_ref() {
                    Expr::String { value, .. } | Expr::RawString { value, .. } => {
                        Step::Name(value.as_string().map(|s| s.to_string()).unwrap_or_default())
                    }
                    Expr::Number { value, .. } => Step::Number(constant(value)),
                    other => Step::Computed(other),
                });
                at = refr;
            }
            _ => break,
        }
    }
    steps.reverse();
    (at, steps)
}

fn constant(value: &regorus::Value) -> Json {
    serde_json::to_value(value).unwrap_or(Json::Null)
}

/// The names that a reference begins with, as far as they are constant.
fn constant_path(name: &str, steps: &[Step<'_>]) -> Vec<String> {
    let mut path = vec![name.to_string()];
    for step in steps {
        match step {
            Step::Name(n) => path.push(n.clone()),
            _ => break,
        }
    }
    path
}

fn dotted(name: &str, steps: &[Step<'_>]) -> String {
    constant_path(name, steps).join(".")
}

fn head_ref(rule: &Rule) -> &Ref<Expr> {
    match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. }
            | RuleHead::Set { refr, .. }
            | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    }
}

/// "a.b" for a rule `a.b[x]`.
pub fn rule_name(rule: &Rule) -> String {
    flatten(head_ref(rule)).map(|(name, steps)| dotted(name, &steps)).unwrap_or_default()
}

/// The lines of comment right above the rule.
fn comment(span: &Span) -> Option<String> {
    let mut lines = Vec::new();
    let mut at = span.line.saturating_sub(1); // Source::line counts from 0
    while at > 0 {
        at -= 1;
        match span.source.line(at).trim().strip_prefix('#') {
            Some(text) => lines.push(text.trim().to_string()),
            None => break,
        }
    }
    lines.reverse();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

struct Walk {
    quiet: bool,
    package: Vec<String>,
    /// Imports: what a name stands for.
    aliases: BTreeMap<String, Vec<String>>,
    uses: BTreeMap<String, Uses>,
    /// Variables of the bodies around, the innermost last.
    scopes: Vec<BTreeSet<String>>,
    /// Of the rule at hand.
    found: BTreeSet<String>,
    depth: usize,
    deepest: usize,
}

impl Walk {
    fn new(module: &Module, quiet: bool) -> Walk {
        let mut aliases = BTreeMap::new();
        for import in &module.imports {
            let Some((name, steps)) = flatten(&import.refr) else { continue };
            let path = constant_path(name, &steps);
            let known = import.r#as.as_ref().map(|s| s.text().to_string());
            if matches!(path[0].as_str(), "input" | "data") {
                let name = known.or_else(|| path.last().cloned()).unwrap_or_default();
                aliases.insert(name, path);
            }
        }
        let mut uses = BTreeMap::new();
        for rule in &module.policy {
            uses.entry(rule_name(rule)).or_insert_with(Uses::default);
        }
        let package = flatten(&module.package.refr)
            .map(|(name, steps)| constant_path(name, &steps))
            .unwrap_or_default();
        Walk {
            quiet,
            package,
            aliases,
            uses,
            scopes: Vec::new(),
            found: BTreeSet::new(),
            depth: 0,
            deepest: 0,
        }
    }

    fn node(&self, kind: &str, span: &Span, more: Json) -> Json {
        let mut node = json!({ "kind": kind, "line": span.line, "at": [span.start, span.end] });
        if let (Json::Object(to), Json::Object(from)) = (&mut node, more) {
            to.extend(from);
        }
        node
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|s| s.contains(name))
    }

    /// Note that the rule at hand needs what this path of names leads to; tells if there is any.
    fn use_path(&mut self, path: &[String]) -> bool {
        let mut name = String::new();
        let mut any = false;
        for part in path {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(part);
            if self.uses.contains_key(&name) {
                self.found.insert(name.clone());
                any = true;
            }
        }
        name.push('.');
        let below: Vec<String> = self
            .uses
            .range(name.clone()..)
            .map(|(n, _)| n)
            .take_while(|n| n.starts_with(&name))
            .cloned()
            .collect();
        any = any || !below.is_empty();
        self.found.extend(below);
        any
    }

    /// "data.policy.x.y" as ["x", "y"], in the package "policy".
    fn own<'a>(&self, path: &'a [String]) -> Option<&'a [String]> {
        let n = self.package.len() + 1;
        let own = path.len() > n && path[0] == "data" && path[1..n] == self.package[..];
        own.then(|| &path[n..])
    }

    /// The path with its first name replaced by what it was imported as.
    fn resolve(&self, path: Vec<String>) -> Vec<String> {
        match self.aliases.get(&path[0]) {
            Some(target) if !self.uses.contains_key(&path[0]) => {
                target.iter().chain(&path[1..]).cloned().collect()
            }
            _ => path,
        }
    }

    fn refer(&mut self, name: &str, steps: &[Step<'_>], span: &Span) -> Json {
        let steps_json: Vec<Json> = steps.iter().map(|s| self.step(s)).collect();
        if self.is_local(name) {
            return self.reference(span, "local", name, steps_json);
        }
        let mut path = constant_path(name, steps);
        let constant = path.len();
        path = self.resolve(path);
        let more = path.len() - constant; // names that an import put in front
        if let Some(own) = self.own(&path) {
            let own = own.to_vec();
            self.use_path(&own);
            let skip = (self.package.len() + 2).saturating_sub(more + 1);
            let rest = steps_json.into_iter().skip(skip).collect();
            return self.reference(span, "rule", &own[0], rest);
        }
        let of = match path[0].as_str() {
            "input" | "data" => path[0].clone(),
            _ if self.use_path(&path) => "rule".to_string(),
            _ => "local".to_string(),
        };
        let front = path[1..=more].iter().map(|n| Json::from(n.as_str()));
        let all = front.chain(steps_json).collect();
        self.reference(span, &of, &path[0], all)
    }

    fn reference(&self, span: &Span, of: &str, name: &str, path: Vec<Json>) -> Json {
        if self.quiet {
            return Json::Null;
        }
        self.node("ref", span, json!({ "of": of, "name": name, "path": path }))
    }

    fn step(&mut self, step: &Step<'_>) -> Json {
        match step {
            Step::Name(n) => Json::from(n.as_str()),
            Step::Number(n) => n.clone(),
            Step::Computed(e) => self.expr(e),
        }
    }

    fn call(&mut self, span: &Span, fcn: &Expr, args: &[Ref<Expr>]) -> Json {
        let args = self.exprs(args);
        let Some((name, steps)) = flatten(fcn) else { return Json::Null };
        let name = dotted(name, &steps);
        let path = self.resolve(name.split('.').map(str::to_string).collect());
        let own = self.own(&path).map(<[String]>::to_vec).unwrap_or(path);
        let is = if self.use_path(&own) {
            Some("policy")
        } else if BUILTINS.contains_key(name.as_str()) || name == "print" {
            Some("builtin")
        } else {
            (name == "query_reference_value").then_some("extension")
        };
        if self.quiet {
            return Json::Null;
        }
        self.node("call", span, json!({ "name": name, "is": is, "args": args }))
    }

    fn exprs(&mut self, list: &[Ref<Expr>]) -> Vec<Json> {
        list.iter().map(|e| self.expr(e)).collect()
    }

    fn expr(&mut self, expr: &Expr) -> Json {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let node = self.expr_inside(expr);
        self.depth -= 1;
        node
    }

    fn expr_inside(&mut self, expr: &Expr) -> Json {
        let span = expr.span();
        match expr {
            Expr::String { value, .. }
            | Expr::RawString { value, .. }
            | Expr::Number { value, .. }
            | Expr::Bool { value, .. }
            | Expr::Null { value, .. } => {
                if self.quiet {
                    return Json::Null;
                }
                self.node("const", span, json!({ "value": constant(value) }))
            }
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                let (base, steps) = split(expr);
                self.depth += steps.len();
                self.deepest = self.deepest.max(self.depth);
                let node = match base {
                    Expr::Var { span: var, .. } => self.refer(var.text(), &steps, span),
                    other => {
                        let base = self.expr(other);
                        let path: Vec<Json> = steps.iter().map(|s| self.step(s)).collect();
                        self.node("of", span, json!({ "base": base, "path": path }))
                    }
                };
                self.depth -= steps.len();
                node
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                let kind = if matches!(expr, Expr::Array { .. }) { "array" } else { "set" };
                let items = self.exprs(items);
                self.node(kind, span, json!({ "items": items }))
            }
            Expr::Object { fields, .. } => {
                let fields: Vec<Json> = fields
                    .iter()
                    .map(|(_, k, v)| Json::from(vec![self.expr(k), self.expr(v)]))
                    .collect();
                self.node("object", span, json!({ "fields": fields }))
            }
            Expr::ArrayCompr { term, query, .. } => {
                self.comprehension("array", span, &[term.clone()], query)
            }
            Expr::SetCompr { term, query, .. } => {
                self.comprehension("set", span, &[term.clone()], query)
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.comprehension("object", span, &[key.clone(), value.clone()], query)
            }
            Expr::Call { fcn, params, .. } => self.call(span, fcn, params),
            _ => self.operation(expr),
        }
    }

    fn operation(&mut self, expr: &Expr) -> Json {
        let (op, parts) = match expr {
            Expr::UnaryExpr { expr, .. } => ("-", vec![expr.clone()]),
            Expr::BinExpr { op, lhs, rhs, .. } => (bin_op(op), vec![lhs.clone(), rhs.clone()]),
            Expr::BoolExpr { op, lhs, rhs, .. } => (bool_op(op), vec![lhs.clone(), rhs.clone()]),
            Expr::ArithExpr { op, lhs, rhs, .. } => (arith_op(op), vec![lhs.clone(), rhs.clone()]),
            Expr::AssignExpr { op, lhs, rhs, .. } => {
                (if *op == AssignOp::Eq { "=" } else { ":=" }, vec![lhs.clone(), rhs.clone()])
            }
            Expr::Membership { key, value, collection, .. } => {
                let mut parts: Vec<Ref<Expr>> = key.iter().cloned().collect();
                parts.extend([value.clone(), collection.clone()]);
                ("in", parts)
            }
            _ => return Json::Null,
        };
        let args = self.exprs(&parts);
        if self.quiet {
            return Json::Null;
        }
        self.node("op", expr.span(), json!({ "op": op, "args": args }))
    }

    fn comprehension(&mut self, of: &str, span: &Span, term: &[Ref<Expr>], query: &Query) -> Json {
        self.enter(query);
        let body = self.statements(query);
        let term = self.exprs(term);
        self.scopes.pop();
        self.node("comprehension", span, json!({ "of": of, "term": term, "body": body }))
    }

    /// Open a scope with the variables that the query declares.
    fn enter(&mut self, query: &Query) {
        let mut names = BTreeSet::new();
        for stmt in &query.stmts {
            match &stmt.literal {
                Literal::SomeVars { vars, .. } => {
                    names.extend(vars.iter().map(|v| v.text().to_string()));
                }
                Literal::SomeIn { key, value, .. } => {
                    for pattern in key.iter().chain([value]) {
                        pattern_vars(pattern, &mut names);
                    }
                }
                Literal::Expr { expr, .. } => {
                    if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } = expr.as_ref() {
                        pattern_vars(lhs, &mut names);
                    }
                }
                _ => (),
            }
        }
        self.scopes.push(names);
    }

    fn statements(&mut self, query: &Query) -> Vec<Json> {
        query.stmts.iter().map(|s| self.statement(s)).collect()
    }

    fn statement(&mut self, stmt: &LiteralStmt) -> Json {
        self.depth += 1;
        let (kind, mut more) = match &stmt.literal {
            Literal::Expr { expr, .. } => ("expr", json!({ "expr": self.expr(expr) })),
            Literal::NotExpr { expr, .. } => ("not", json!({ "expr": self.expr(expr) })),
            Literal::SomeVars { vars, .. } => {
                ("some", json!({ "vars": vars.iter().map(Span::text).collect::<Vec<_>>() }))
            }
            Literal::SomeIn { key, value, collection, .. } => {
                let key = key.as_ref().map(|k| self.expr(k));
                let value = self.expr(value);
                ("some-in", json!({ "key": key, "value": value, "in": self.expr(collection) }))
            }
            Literal::Every { key, value, domain, query, .. } => {
                let domain = self.expr(domain);
                self.enter(query);
                if let Some(scope) = self.scopes.last_mut() {
                    scope.extend(key.iter().chain([value]).map(|v| v.text().to_string()));
                }
                let body = self.statements(query);
                self.scopes.pop();
                let key = key.as_ref().map(Span::text);
                ("every", json!({ "key": key, "value": value.text(), "in": domain, "body": body }))
            }
        };
        let with: Vec<Json> = stmt
            .with_mods
            .iter()
            .map(|w| Json::from(vec![self.expr(&w.refr), self.expr(&w.r#as)]))
            .collect();
        self.depth -= 1;
        if self.quiet {
            return Json::Null;
        }
        if !with.is_empty() {
            more["with"] = Json::from(with);
        }
        self.node(kind, &stmt.span, more)
    }

    fn rule(&mut self, rule: &Rule) -> Json {
        self.found.clear();
        self.depth = 0;
        self.deepest = 0;
        let name = rule_name(rule);
        let mut node = match rule {
            Rule::Default { span, args, value, .. } => {
                let args = self.exprs(args);
                let value = self.expr(value);
                self.node("default", span, json!({ "args": args, "value": value, "bodies": [] }))
            }
            Rule::Spec { span, head, bodies } => {
                let mut names = BTreeSet::new();
                if let RuleHead::Func { args, .. } = head {
                    args.iter().for_each(|a| pattern_vars(a, &mut names));
                }
                self.scopes.push(names);
                let kind = kind(head);
                let first = bodies.first().map(|b| b.query.clone());
                let mut more = self.in_scope(first.as_deref(), |walk| walk.head(head));
                let bodies: Vec<Json> = bodies
                    .iter()
                    .enumerate()
                    .map(|(i, b)| {
                        let assign = b.assign.as_ref().map(|a| a.value.clone());
                        let (stmts, value) = self.in_scope(Some(&b.query), |walk| {
                            (walk.statements(&b.query), assign.map(|a| walk.expr(&a)))
                        });
                        json!({ "line": b.span.line, "at": [b.span.start, b.span.end],
                                "else": i > 0, "value": value, "stmts": stmts })
                    })
                    .collect();
                self.scopes.pop();
                more["bodies"] = Json::from(bodies);
                self.node(kind, span, more)
            }
        };
        let found = std::mem::take(&mut self.found);
        if !self.quiet {
            node["name"] = Json::from(name.as_str());
            node["comment"] = Json::from(comment(rule.span()));
            node["uses"] = found.iter().map(String::as_str).collect();
        }
        let uses = self.uses.entry(name).or_default();
        uses.names.extend(found);
        uses.depth = uses.depth.max(self.deepest);
        node
    }

    fn in_scope<T>(&mut self, query: Option<&Query>, body: impl FnOnce(&mut Walk) -> T) -> T {
        match query {
            Some(query) => self.enter(query),
            None => self.scopes.push(BTreeSet::new()),
        }
        let result = body(self);
        self.scopes.pop();
        result
    }

    /// Arguments, key and value of a rule's head; computed steps of its name need rules too.
    fn head(&mut self, head: &RuleHead) -> Json {
        let (refr, args, key, assign): (_, &[Ref<Expr>], _, _) = match head {
            RuleHead::Compr { refr, assign, .. } => (refr, &[], None, assign.as_ref()),
            RuleHead::Set { refr, key, .. } => (refr, &[], key.as_ref(), None),
            RuleHead::Func { refr, args, assign, .. } => (refr, args, None, assign.as_ref()),
        };
        let (_, steps) = split(refr);
        let steps: Vec<Json> = steps.iter().map(|s| self.step(s)).collect();
        let args = self.exprs(args);
        let key = key.map(|k| self.expr(k));
        let value = assign.map(|a| self.expr(&a.value));
        json!({ "path": steps, "args": args, "key": key, "value": value })
    }
}

fn kind(head: &RuleHead) -> &'static str {
    match head {
        RuleHead::Func { .. } => "function",
        RuleHead::Set { .. } => "set",
        RuleHead::Compr { refr, .. } => {
            let (_, steps) = split(refr);
            let computed = steps.iter().any(|s| !matches!(s, Step::Name(_)));
            if computed {
                "object"
            } else {
                "complete"
            }
        }
    }
}

fn pattern_vars(pattern: &Expr, names: &mut BTreeSet<String>) {
    match pattern {
        Expr::Var { span, .. } => {
            names.insert(span.text().to_string());
        }
        Expr::Array { items, .. } => items.iter().for_each(|i| pattern_vars(i, names)),
        Expr::Object { fields, .. } => fields.iter().for_each(|(_, _, v)| pattern_vars(v, names)),
        _ => (),
    }
}

fn bin_op(op: &BinOp) -> &'static str {
    match op {
        BinOp::Intersection => "&",
        BinOp::Union => "|",
    }
}

fn bool_op(op: &BoolOp) -> &'static str {
    match op {
        BoolOp::Lt => "<",
        BoolOp::Le => "<=",
        BoolOp::Eq => "==",
        BoolOp::Ge => ">=",
        BoolOp::Gt => ">",
        BoolOp::Ne => "!=",
    }
}

fn arith_op(op: &ArithOp) -> &'static str {
    match op {
        ArithOp::Add => "+",
        ArithOp::Sub => "-",
        ArithOp::Mul => "*",
        ArithOp::Div => "/",
        ArithOp::Mod => "%",
    }
}
