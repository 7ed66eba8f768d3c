//! The one thing Wasmtime's C API leaves out: a memory cap that ends the guest instead of letting
//! `memory.grow` answer -1, so that the cause is told and not guessed from a later failure.

use wasmtime_c_api::wasmtime::StoreLimitsBuilder;
use wasmtime_c_api::WasmtimeStoreContextMut;

/// Cap each linear memory of the store at `bytes` and each table at `elements`; growing past it
/// traps. Wants a store that `wasmtime_store_limiter` was called on, which is what makes these
/// limits count.
#[no_mangle]
pub extern "C" fn prop_ffi_store_cap(
    mut context: WasmtimeStoreContextMut<'_>,
    bytes: u64,
    elements: u64,
    instances: usize,
    memories: usize,
) {
    let limits = StoreLimitsBuilder::new()
        .memory_size(usize::try_from(bytes).unwrap_or(usize::MAX))
        .table_elements(usize::try_from(elements).unwrap_or(usize::MAX))
        .memories(memories)
        .instances(instances)
        .tables(instances)
        .trap_on_grow_failure(true)
        .build();
    context.data_mut().store_limits = limits;
}
