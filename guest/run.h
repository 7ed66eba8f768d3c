/* The guest's one task: pull -> attest -> unwrap -> decrypt in memory -> run (design.md 3). */
#ifndef PROP_GUEST_RUN_H
#define PROP_GUEST_RUN_H

#include "crypto/digest.h"
#include "engine/wasm.h"
#include "guest/task.h"
#include "guest/runner.h"
#include "kbs/kbs.h"
#include "keys/resource_id.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

/* What was run, for the result document. */
struct prop_guest_report {
    struct prop_digest manifest;  /* len 0 for a bare module */
    struct prop_digest layer;     /* as stored; len 0 likewise */
    struct prop_digest module;    /* sha256 of the module itself; len 0 when a kept program was used */
    bool encrypted;
    bool kept;                    /* nothing was compiled: the cache had it */
    char kid[3 * PROP_RESOURCE_PART + 3]; /* path of the key that was fetched; "" = none */
};

/* Milliseconds each step took; 0 = it was not taken. */
struct prop_guest_timing {
    double pull, attest, decrypt, compile, run;
};
/* {"pull_ms","attest_ms","decrypt_ms","compile_ms","run_ms"}; NULL when memory is out. Owned. */
json_t *prop_guest_timing_json(const struct prop_guest_timing *t);

/* Programs that the caller keeps from run to run. All may be called from any thread. */
struct prop_guest_cache {
    /* The program of that layer of that manifest, with a reference for the caller; NULL = none. Asked
     * only after the layer's key was fetched and unwrapped: whose key was revoked gets nothing. */
    struct prop_program *(*find)(void *ctx, const struct prop_digest *manifest,
                                 const struct prop_digest *layer);
    /* A program that was just compiled; takes a reference of its own if it keeps it. */
    void (*keep)(void *ctx, const struct prop_digest *manifest, const struct prop_digest *layer,
                 struct prop_program *p);
    void *ctx;
};

struct prop_guest_run {
    struct prop_runner *runner;         /* where it is compiled and run */
    const struct prop_location *image;
    const struct prop_digest *pin;      /* manifest must have this digest; NULL = not pinned */
    const struct prop_oci_options *oci;
    struct prop_src *src;               /* the image, open already; borrowed. NULL = opened here */
    const struct prop_guest_cache *cache; /* NULL = nothing is kept */
    struct prop_kbs *kbs;               /* NULL: keys come from key_files only */
    struct prop_kbs_attest attest;
    const char *kid;                    /* the only kid accepted (path); NULL = any at our KBS */
    const char *const *key_files;       /* local private keys or KEK files, instead of the broker's */
    size_t n_key_files;
    bool require_encrypted;             /* false lets a plain image run */
    struct prop_wasm_run wasm;          /* module fields are not looked at */
    struct prop_run_handle *handle;     /* to stop it; NULL = only a signal does */
    struct prop_guest_report *report;   /* filled as far as the run came; may be NULL */
    struct prop_guest_timing *timing;   /* likewise */
};

/* Pull, attest, unwrap, decrypt, check, compile. The module is compiled only after its HMAC and
 * digests held and, in a TD, after its event was recorded (tee/aael.h), from memory that is wiped
 * before this returns. An image is refused whose kid names
 * another key broker (PROP_E_DENIED, id "foreign-kbs") or another key than `kid` (id
 * "kid-mismatch"), and a plain one where require_encrypted is set (id "not-encrypted").
 * ret: one reference, the caller's (prop_program_unref).
 * Fails: everything the rooms below fail with. */
int prop_guest_load(const struct prop_guest_run *g, struct prop_program **ret,
                    struct prop_err *err);
/* The same for a module given as bytes (a task's `file`): plain by nature, so PROP_E_DENIED (id
 * "not-encrypted") where require_encrypted is set. Wasm only, no WAT. */
int prop_guest_load_bytes(const struct prop_guest_run *g, const void *wasm, size_t len,
                          struct prop_program **ret, struct prop_err *err);
/* Run what was loaded, once: prop_runner_run, timed. */
int prop_guest_execute(const struct prop_guest_run *g, const struct prop_program *p,
                       struct prop_wasm_result *ret, struct prop_err *err);
/* Both. */
int prop_guest_run(const struct prop_guest_run *g, struct prop_wasm_result *ret,
                   struct prop_err *err);

#endif
