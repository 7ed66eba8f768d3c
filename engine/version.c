/* Which engine this is, for --version. */
#include "engine/wasm.h"

#include <wasmtime.h>

/* Pinned in Cargo.toml; tests/unit/test_engine_rego.c holds this text against Cargo.lock. */
#define REGORUS_VERSION "0.11.0"

const char *prop_engine_version(void)
{
    return "wasmtime " WASMTIME_VERSION ", regorus " REGORUS_VERSION;
}
