//! TOML 1.0 to JSON. Date-times become strings, and so do inf and nan, which JSON does not have.

use std::ffi::c_char;

use crate::text::{guard, take};

#[no_mangle]
pub unsafe extern "C" fn prop_ffi_toml_to_json(
    text: *const c_char,
    len: usize,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let source = take(text, len)?;
        let table: toml::Table = toml::from_str(source).map_err(|e| {
            let line = e.span().map_or(1, |s| {
                source.as_bytes()[..s.start.min(source.len())]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1
            });
            format!("line {line}: {}", e.message())
        })?;
        let json = convert(toml::Value::Table(table));
        serde_json::to_string(&json).map(Some).map_err(|e| e.to_string())
    })
}

fn convert(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(s) => s.into(),
        toml::Value::Integer(i) => i.into(),
        toml::Value::Float(f) if f.is_finite() => f.into(),
        toml::Value::Float(f) => f.to_string().to_lowercase().into(),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Datetime(d) => d.to_string().into(),
        toml::Value::Array(a) => a.into_iter().map(convert).collect(),
        toml::Value::Table(t) => t.into_iter().map(|(k, v)| (k, convert(v))).collect(),
    }
}
