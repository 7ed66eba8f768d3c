//! Rego by regorus, driven as Trustee drives it: a fresh engine in its default dialect, one policy,
//! data, input, then `query_reference_value` as an extension with one argument.

use std::collections::HashSet;
use std::ffi::{c_char, c_void, CStr, CString};

use regorus::{Engine, LimitError, Value};

use crate::guard::{check_text, check_uses, limit, Refusal, TIME};
use crate::outline;
use crate::text::{guard, take, Status};

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

/// Parse a policy. Error text: the parser's own, several lines; a circle answers with its own
/// status.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_new(
    name: *const c_char,
    name_len: usize,
    text: *const c_char,
    len: usize,
    ret: *mut *mut Rego,
    ret_text: *mut *mut c_char,
) -> i32 {
    let mut circle = false;
    let status = guard(ret_text, || {
        let (name, text) = (take(name, name_len)?, take(text, len)?);
        check_text(name, text)?;
        let mut engine = Engine::new();
        limit(&mut engine)?;
        engine.add_policy(name.to_string(), text.to_string()).map_err(|e| e.to_string())?;
        check_rules(&mut engine, &mut circle)?;
        *ret = Box::into_raw(Box::new(Rego { engine }));
        Ok(Some(String::new()))
    });
    if circle && status == Status::Error as i32 {
        Status::Circle as i32
    } else {
        status
    }
}

/// Refuse rules that would never end, in the form of the parser's errors.
fn check_rules(engine: &mut Engine, circle: &mut bool) -> Result<(), String> {
    for module in engine.get_modules() {
        let (name, why) = match check_uses(&outline::uses(module)) {
            Ok(()) => continue,
            Err(Refusal::Circle(names)) => {
                *circle = true;
                let why = match names.as_slice() {
                    [one] => format!("'{one}' needs itself"),
                    _ => format!("'{}', which needs '{}' again", names.join("' needs '"), names[0]),
                };
                (names[0].clone(), why)
            }
            Err(Refusal::Deep(name)) => {
                let why = format!("'{name}' needs rules that need rules, too many of them");
                (name, why)
            }
        };
        let rule = module.policy.iter().find(|r| outline::rule_name(r) == name);
        return Err(rule.map_or(why.clone(), |r| r.span().message("error", &why)));
    }
    Ok(())
}

/// A copy with one more text, of the same package: the way to ask about parts of a policy.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_extend(
    rego: *const Rego,
    text: *const c_char,
    len: usize,
    ret: *mut *mut Rego,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let text = take(text, len)?;
        let mut engine = (*rego).engine.clone();
        engine.add_policy("probe".to_string(), text.to_string()).map_err(|e| e.to_string())?;
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
pub fn anyhow_error<E: From<std::io::Error>>(text: String) -> E {
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
        let answer = (*rego).engine.eval_rule(take(rule, len)?.to_string());
        let _ = (*rego).engine.take_prints();
        let value = match answer {
            Ok(Value::Undefined) => return Ok(None),
            Ok(value) => value,
            Err(e) if e.to_string().contains("not a valid rule path") => return Ok(None),
            Err(e) if matches!(e.downcast_ref(), Some(LimitError::TimeLimitExceeded { .. })) => {
                return Err(format!("stopped after {} s", TIME.as_secs()));
            }
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
        let mut seen = HashSet::new();
        for module in engine.get_modules() {
            for rule in &module.policy {
                let name = outline::rule_name(rule);
                if !name.is_empty() && seen.insert(name.clone()) {
                    rules.push(name);
                }
            }
        }
        Ok(Some(serde_json::json!({ "package": package, "rules": rules }).to_string()))
    })
}

/// The policy as data (outline.rs).
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_rego_outline(rego: *mut Rego, ret_text: *mut *mut c_char) -> i32 {
    guard(ret_text, || {
        let module = (*rego).engine.get_modules().first().ok_or("no policy")?;
        Ok(Some(outline::describe(module).to_string()))
    })
}
