//! WAVE, the text form of component values, and Rust's text form of floats (which is wasmtime's).
//!
//! Types and values cross to C as JSON, because Wasmtime's own values live behind its C API:
//!
//! type   "bool" "u8" ... "string" | {"list":T} | {"record":[[name,T],...]} | {"tuple":[T,...]} |
//!        {"variant":[[name,T or null],...]} | {"enum":[name,...]} | {"option":T} |
//!        {"result":[T or null,T or null]} | {"flags":[name,...]} | {"map":[K,V]}
//! value  true | number | "decimal" (64 bits) | "bits in decimal" (floats) | code point (char) |
//!        "text" | [...] (list, record, tuple) | [name] or [name,V] (variant, result) |
//!        "name" (enum) | [] or [V] (option) | [name,...] (flags) | [[K,V],...] (map)

use std::ffi::c_char;

use serde_json::{json, Value as Json};
use wasm_wave::value::{Type, Value};
use wasm_wave::wasm::{WasmType, WasmTypeKind, WasmValue};

use crate::text::{guard, take};

/// Parse WAVE text as a value of the type; the value comes back as JSON.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_wave_parse(
    ty: *const c_char,
    ty_len: usize,
    text: *const c_char,
    len: usize,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let ty = read_type(&parse_json(take(ty, ty_len)?)?)?;
        let value: Value =
            wasm_wave::from_str(&ty, take(text, len)?).map_err(|e| format!("not {ty}: {e}"))?;
        Ok(Some(write_value(&value)?.to_string()))
    })
}

/// Write a value, given as JSON, as WAVE text.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_wave_format(
    ty: *const c_char,
    ty_len: usize,
    value: *const c_char,
    len: usize,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let ty = read_type(&parse_json(take(ty, ty_len)?)?)?;
        let value = read_value(&ty, &parse_json(take(value, len)?)?)?;
        wasm_wave::to_string(&value).map(Some).map_err(|e| e.to_string())
    })
}

/// Floats as Rust reads and writes them: shortest decimal form, no exponent.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_float_parse(
    wide: bool,
    text: *const c_char,
    len: usize,
    ret_bits: *mut u64,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        let text = take(text, len)?;
        *ret_bits = if wide {
            text.parse::<f64>().map_err(|e| e.to_string())?.to_bits()
        } else {
            u64::from(text.parse::<f32>().map_err(|e| e.to_string())?.to_bits())
        };
        Ok(Some(String::new()))
    })
}

#[no_mangle]
pub unsafe extern "C" fn prop_ffi_float_format(
    wide: bool,
    bits: u64,
    ret_text: *mut *mut c_char,
) -> i32 {
    guard(ret_text, || {
        Ok(Some(if wide {
            f64::from_bits(bits).to_string()
        } else {
            f32::from_bits(bits as u32).to_string()
        }))
    })
}

fn parse_json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn bad() -> String {
    "type or value does not have the agreed form".to_string()
}

fn array(json: &Json) -> Result<&Vec<Json>, String> {
    json.as_array().ok_or_else(bad)
}

fn text_of(json: &Json) -> Result<&str, String> {
    json.as_str().ok_or_else(bad)
}

fn names(json: &Json) -> Result<Vec<String>, String> {
    array(json)?.iter().map(|n| Ok(text_of(n)?.to_string())).collect()
}

fn optional(json: Option<&Json>) -> Result<Option<Type>, String> {
    match json {
        None | Some(Json::Null) => Ok(None),
        Some(t) => read_type(t).map(Some),
    }
}

fn read_simple(name: &str) -> Result<Type, String> {
    Ok(match name {
        "bool" => Type::BOOL,
        "s8" => Type::S8,
        "s16" => Type::S16,
        "s32" => Type::S32,
        "s64" => Type::S64,
        "u8" => Type::U8,
        "u16" => Type::U16,
        "u32" => Type::U32,
        "u64" => Type::U64,
        "f32" => Type::F32,
        "f64" => Type::F64,
        "char" => Type::CHAR,
        "string" => Type::STRING,
        _ => return Err(format!("values of type '{name}' cannot be written as text")),
    })
}

fn read_type(json: &Json) -> Result<Type, String> {
    if let Some(name) = json.as_str() {
        return read_simple(name);
    }
    let (kind, inner) = json.as_object().and_then(|o| o.iter().next()).ok_or_else(bad)?;
    let made = match kind.as_str() {
        "list" => Some(Type::list(read_type(inner)?)),
        "option" => Some(Type::option(read_type(inner)?)),
        "enum" => Type::enum_ty(names(inner)?),
        "flags" => Type::flags(names(inner)?),
        "tuple" => Type::tuple(array(inner)?.iter().map(read_type).collect::<Result<Vec<_>, _>>()?),
        "record" => Type::record(
            array(inner)?
                .iter()
                .map(|f| Ok((text_of(&f[0])?.to_string(), read_type(&f[1])?)))
                .collect::<Result<Vec<_>, String>>()?,
        ),
        "variant" => Type::variant(
            array(inner)?
                .iter()
                .map(|c| Ok((text_of(&c[0])?.to_string(), optional(c.get(1))?)))
                .collect::<Result<Vec<_>, String>>()?,
        ),
        "result" => Some(Type::result(optional(inner.get(0))?, optional(inner.get(1))?)),
        "map" => Type::map(read_type(&inner[0])?, read_type(&inner[1])?),
        _ => None,
    };
    made.ok_or_else(bad)
}

fn write_named(name: &str, payload: Option<&Value>) -> Result<Json, String> {
    Ok(match payload {
        Some(v) => json!([name, write_value(v)?]),
        None => json!([name]),
    })
}

fn write_value(v: &Value) -> Result<Json, String> {
    use WasmTypeKind as K;
    Ok(match v.kind() {
        K::Bool => v.unwrap_bool().into(),
        K::S8 => v.unwrap_s8().into(),
        K::S16 => v.unwrap_s16().into(),
        K::S32 => v.unwrap_s32().into(),
        K::S64 => v.unwrap_s64().to_string().into(),
        K::U8 => v.unwrap_u8().into(),
        K::U16 => v.unwrap_u16().into(),
        K::U32 => v.unwrap_u32().into(),
        K::U64 => v.unwrap_u64().to_string().into(),
        K::F32 => v.unwrap_f32().to_bits().to_string().into(),
        K::F64 => v.unwrap_f64().to_bits().to_string().into(),
        K::Char => (v.unwrap_char() as u32).into(),
        K::String => v.unwrap_string().as_ref().into(),
        K::List => v.unwrap_list().map(|e| write_value(&e)).collect::<Result<Vec<_>, _>>()?.into(),
        K::Tuple => {
            v.unwrap_tuple().map(|e| write_value(&e)).collect::<Result<Vec<_>, _>>()?.into()
        }
        K::Record => {
            v.unwrap_record().map(|(_, e)| write_value(&e)).collect::<Result<Vec<_>, _>>()?.into()
        }
        K::Variant => {
            let (name, payload) = v.unwrap_variant();
            write_named(&name, payload.as_deref())?
        }
        K::Result => match v.unwrap_result() {
            Ok(payload) => write_named("ok", payload.as_deref())?,
            Err(payload) => write_named("err", payload.as_deref())?,
        },
        K::Enum => v.unwrap_enum().as_ref().into(),
        K::Option => match v.unwrap_option() {
            Some(inner) => json!([write_value(&inner)?]),
            None => json!([]),
        },
        K::Flags => v.unwrap_flags().map(|n| Json::from(n.as_ref())).collect(),
        K::Map => v
            .unwrap_map()
            .map(|(k, e)| Ok(json!([write_value(&k)?, write_value(&e)?])))
            .collect::<Result<Vec<_>, String>>()?
            .into(),
        _ => return Err(bad()),
    })
}

fn number<T: TryFrom<i64>>(json: &Json) -> Result<T, String> {
    json.as_i64().and_then(|n| T::try_from(n).ok()).ok_or_else(bad)
}

fn decimal<T: std::str::FromStr>(json: &Json) -> Result<T, String> {
    text_of(json)?.parse().map_err(|_| bad())
}

fn read_all(ty: &Type, json: &Json) -> Result<Vec<Value>, String> {
    array(json)?.iter().map(|e| read_value(ty, e)).collect()
}

fn read_payload(ty: Option<Type>, json: Option<&Json>) -> Result<Option<Value>, String> {
    match (ty, json) {
        (Some(t), Some(j)) => read_value(&t, j).map(Some),
        (None, None) => Ok(None),
        _ => Err(bad()),
    }
}

fn read_value(ty: &Type, json: &Json) -> Result<Value, String> {
    use WasmTypeKind as K;
    Ok(match ty.kind() {
        K::Bool => Value::make_bool(json.as_bool().ok_or_else(bad)?),
        K::S8 => Value::make_s8(number(json)?),
        K::S16 => Value::make_s16(number(json)?),
        K::S32 => Value::make_s32(number(json)?),
        K::S64 => Value::make_s64(decimal(json)?),
        K::U8 => Value::make_u8(number(json)?),
        K::U16 => Value::make_u16(number(json)?),
        K::U32 => Value::make_u32(number(json)?),
        K::U64 => Value::make_u64(decimal(json)?),
        K::F32 => Value::make_f32(f32::from_bits(decimal(json)?)),
        K::F64 => Value::make_f64(f64::from_bits(decimal(json)?)),
        K::Char => Value::make_char(char::from_u32(number(json)?).ok_or_else(bad)?),
        K::String => Value::make_string(text_of(json)?.into()),
        _ => return read_compound(ty, json),
    })
}

fn read_compound(ty: &Type, json: &Json) -> Result<Value, String> {
    use WasmTypeKind as K;
    let made = match ty.kind() {
        K::List => {
            let element = ty.list_element_type().ok_or_else(bad)?;
            Value::make_list(ty, read_all(&element, json)?)
        }
        K::Tuple => {
            let parts = ty.tuple_element_types().zip(array(json)?);
            let values = parts.map(|(t, j)| read_value(&t, j)).collect::<Result<Vec<_>, _>>()?;
            Value::make_tuple(ty, values)
        }
        K::Record => {
            let fields: Vec<(String, Type)> =
                ty.record_fields().map(|(n, t)| (n.into_owned(), t)).collect();
            let values = fields
                .iter()
                .zip(array(json)?)
                .map(|((n, t), j)| Ok((n.as_str(), read_value(t, j)?)))
                .collect::<Result<Vec<_>, String>>()?;
            Value::make_record(ty, values)
        }
        K::Variant => {
            let name = text_of(&json[0])?;
            let payload = ty.variant_cases().find(|(n, _)| n == name).ok_or_else(bad)?.1;
            Value::make_variant(ty, name, read_payload(payload, json.get(1))?)
        }
        K::Result => {
            let (ok, err) = ty.result_types().ok_or_else(bad)?;
            let value = match text_of(&json[0])? {
                "ok" => Ok(read_payload(ok, json.get(1))?),
                _ => Err(read_payload(err, json.get(1))?),
            };
            Value::make_result(ty, value)
        }
        K::Enum => Value::make_enum(ty, text_of(json)?),
        K::Option => {
            let some = ty.option_some_type().ok_or_else(bad)?;
            let value = json.get(0).map(|j| read_value(&some, j)).transpose()?;
            Value::make_option(ty, value)
        }
        K::Flags => {
            let set = names(json)?;
            Value::make_flags(ty, set.iter().map(String::as_str))
        }
        K::Map => {
            let (key, value) = ty.map_key_value_types().ok_or_else(bad)?;
            let entries = array(json)?
                .iter()
                .map(|e| Ok((read_value(&key, &e[0])?, read_value(&value, &e[1])?)))
                .collect::<Result<Vec<_>, String>>()?;
            Value::make_map(ty, entries)
        }
        _ => return Err(bad()),
    };
    made.map_err(|e| e.to_string())
}
