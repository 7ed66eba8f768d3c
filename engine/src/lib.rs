//! The part of the toolchain that is Rust: Rego, TOML and WAVE behind the small C interface of
//! `engine/ffi.h`, and Wasmtime's own C API, which the `extern crate` keeps in the archive.
//!
//! No panic crosses into C; every text that is handed out is owned by the caller.

#![allow(clippy::missing_safety_doc)]

#[cfg(feature = "wasmtime")]
extern crate wasmtime_c_api;

mod guard;
#[cfg(feature = "wasmtime")]
mod limits;
mod outline;
mod rego;
mod text;
mod toml;
mod wave;
