//! Strings across the C boundary: owned, NUL-terminated, freed by `prop_ffi_text_free`.

use std::cell::Cell;
use std::ffi::{c_char, CString};
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::Once;

/// What every call answers; the numbers are those of ffi.h.
#[repr(i32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    Error = 1,
    Undefined = 2,
    Panic = 3,
    /// A rule that needs itself.
    Circle = 4,
}

/// Give `text` to C. A NUL inside cannot be carried and becomes U+FFFD.
pub fn give(ret: *mut *mut c_char, text: &str) {
    if ret.is_null() {
        return;
    }
    let clean = if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_string() };
    let owned = CString::new(clean).unwrap_or_default();
    unsafe { *ret = owned.into_raw() };
}

/// A borrowed `(pointer, length)` pair as UTF-8.
pub unsafe fn take<'a>(data: *const c_char, len: usize) -> Result<&'a str, String> {
    if len == 0 {
        return Ok("");
    }
    let bytes = std::slice::from_raw_parts(data.cast::<u8>(), len);
    std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// A panic that is caught and handed on as an error must not write to stderr as well; any other
/// one still says where it was.
fn quiet_when_guarded() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.with(Cell::get) {
                before(info);
            }
        }));
    });
}

/// Run `body`; no panic leaves it. Its text, good or bad, goes to `ret_text`.
pub fn guard<F>(ret_text: *mut *mut c_char, body: F) -> i32
where
    F: FnOnce() -> Result<Option<String>, String>,
{
    quiet_when_guarded();
    let outer = GUARDED.with(|g| g.replace(true));
    let caught = catch_unwind(AssertUnwindSafe(body));
    GUARDED.with(|g| g.set(outer));
    let (status, text) = match caught {
        Ok(Ok(Some(text))) => (Status::Ok, text),
        Ok(Ok(None)) => (Status::Undefined, String::new()),
        Ok(Err(text)) => (Status::Error, text),
        Err(cause) => (Status::Panic, panic_text(cause.as_ref())),
    };
    give(ret_text, &text);
    status as i32
}

fn panic_text(cause: &(dyn std::any::Any + Send)) -> String {
    if let Some(s) = cause.downcast_ref::<&str>() {
        (*s).to_string()
    } else if let Some(s) = cause.downcast_ref::<String>() {
        s.clone()
    } else {
        "unknown cause".to_string()
    }
}

/// Free a text that any call of this library gave out. NULL is fine.
#[no_mangle]
pub unsafe extern "C" fn prop_ffi_text_free(text: *mut c_char) {
    if !text.is_null() {
        drop(CString::from_raw(text));
    }
}
