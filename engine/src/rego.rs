//! Rego by regorus, driven as Trustee drives it: a fresh engine in its default dialect, one policy,
//! data, input, then `query_reference_value` as an extension with one argument.

use std::ffi::{c_char, c_void, CStr, CString};

use regorus::unstable::{Expr, Rule, RuleHead};
use regorus::{Engine, Value};

use crate::text::{guard, take};

pub struct Rego {
    engine: Engine,
}

type Lookup = extern "C" fn(*mut c_void, *const c_char) -> *mut c_char;
type Release = extern "C" fn(*mut c_char);

/// The C side's callback; it is only ever called on the thread that evaluates.
#[derive(Clone, Copy)]
struct Reference {
    lookup: Lookup,
    release: Release,
    ctx: *mut c_void,
}
unsafe impl Send for Reference {}
unsafe impl Sync for Reference {}

impl Reference {
    fn query(&self, params: Vec<Value>) -> Result<Value, String> {
        let name = match params.as_slice() {
            [one] => one.as_string().map_err(|_| {
                "query_reference_value extension parameter must be a string".to_string()
            })?,
            _ => {
                return Err("query_reference_value extension requires exactly one parameter".into())
            }
        };
        let name = CString::new(name.as_ref()).map_err(|_| "NUL in a reference value's name")?;
        let text = (self.lookup)(self.ctx, name.as_ptr());
        if text.is_null() {
            return Ok(Value::Null);
        }
        let json = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        (self.release)(text);
        Value::from_json_str(&json).map_err(|e| e.to_string())
    }
}

/// Parse a policy. Error text: the parser's own, several lines.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_new(
    name: *const c_char,
    name_len: usize,
    text: *const c_char,
    len: usize,
    ret: *mut *mut Rego,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let mut engine = Engine::new();
        engine
            .add_policy(take(name, name_len)?.to_string(), take(text, len)?.to_string())
            .map_err(|e| e.to_string())?;
        *ret = Box::into_raw(Box::new(Rego { engine }));
        Ok(Some(String::new()))
    })
}

#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_free(rego: *mut Rego) {
    if !rego.is_null() {
        let _ = guard(std::ptr::null_mut(), || {
            drop(Box::from_raw(rego));
            Ok(None)
        });
    }
}

/// Define `query_reference_value`; `lookup` gives JSON text or NULL, which `release` takes back.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_set_reference(
    rego: *mut Rego,
    lookup: Lookup,
    release: Release,
    ctx: *mut c_void,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let reference = Reference { lookup, release, ctx };
        let extension = move |params: Vec<Value>| {
            let reference = reference; // the whole struct, not its fields: it carries Send
            reference.query(params).map_err(anyhow_error)
        };
        (*rego)
            .engine
            .add_extension("query_reference_value".to_string(), 1, Box::new(extension))
            .map_err(|e| e.to_string())?;
        Ok(Some(String::new()))
    })
}

/// regorus' extension error type, reached without naming the crate that defines it.
fn anyhow_error<E: From<std::io::Error>>(text: String) -> E {
    E::from(std::io::Error::other(text))
}

#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_set_data(
    rego: *mut Rego,
    json: *const c_char,
    len: usize,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let data = Value::from_json_str(take(json, len)?).map_err(|e| e.to_string())?;
        (*rego).engine.clear_data();
        (*rego).engine.add_data(data).map_err(|e| e.to_string())?;
        Ok(Some(String::new()))
    })
}

#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_set_input(
    rego: *mut Rego,
    json: *const c_char,
    len: usize,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        (*rego).engine.set_input_json(take(json, len)?).map_err(|e| e.to_string())?;
        Ok(Some(String::new()))
    })
}

/// JSON of one rule's value; Undefined also for a rule the policy does not have, as in Trustee.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_eval(
    rego: *mut Rego,
    rule: *const c_char,
    len: usize,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let value = match (*rego).engine.eval_rule(take(rule, len)?.to_string()) {
            Ok(Value::Undefined) => return Ok(None),
            Ok(value) => value,
            Err(e) if e.to_string().contains("not a valid rule path") => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        serde_json::to_string(&value).map(Some).map_err(|e| e.to_string())
    })
}

/// {"package": "data.policy", "rules": ["allow", ...]}: names in the order of their first rule.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_describe(
    rego: *mut Rego,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let engine = &mut (*rego).engine;
        let package = engine.get_packages().map_err(|e| e.to_string())?.pop().unwrap_or_default();
        let mut rules: Vec<String> = Vec::new();
        for module in engine.get_modules() {
            for rule in &module.policy {
                let name = rule_name(rule);
                if !name.is_empty() && !rules.contains(&name) {
                    rules.push(name);
                }
            }
        }
        Ok(Some(serde_json::json!({ "package": package, "rules": rules }).to_string()))
    })
}

fn rule_name(rule: &Rule) -> String {
    let refr = match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. }
            | RuleHead::Set { refr, .. }
            | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    };
    path(refr.as_ref())
}

/// "a.b" for the reference a.b[x]: what lies before the first part that is computed.
fn path(expr: &Expr) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::Var { span, .. } => {
                parts.push(span.text().to_string());
                break;
            }
            Expr::RefDot { refr, field, .. } => {
                parts.push(field.0.text().to_string());
                at = refr.as_ref();
            }
            Expr::RefBrack { refr, index, .. } => {
                match index.as_ref() {
                    Expr::String { span, .. } => parts.push(span.text().to_string()),
                    _ => parts.clear(),
                }
                at = refr.as_ref();
            }
            _ => return String::new(),
        }
    }
    parts.reverse();
    parts.join(".")
}
