/* The guest's one task: pull -> attest -> unwrap -> decrypt in memory -> run (design.md 3). */
#ifndef PROP_GUEST_RUN_H
#define PROP_GUEST_RUN_H

#include "crypto/digest.h"
#include "engine/wasm.h"
#include "kbs/kbs.h"
#include "keys/resource_id.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

/* A task as Propeller's manager writes it (propeller.md 1.3, 3); strings owned. */
struct prop_task {
    json_t *json;                 /* the whole document, owned */
    const char *id, *name, *image_url, *kbs_resource_path;
    bool encrypted;
    const char *invoke;           /* from cli_args ["--invoke", f]; NULL = command */
    char **args;                  /* inputs as text */
    size_t n_args;
    char **env;                   /* "K=V" for the module */
    size_t n_env;
    struct prop_wasm_limits limits; /* what cli_args ask for; 0 = nothing said */
};
/* Read a task manifest. cli_args pass an allow-list (--invoke F and resource limits); anything else
 * is PROP_E_DENIED (id "cli-arg-refused"). */
int prop_task_parse(const char *text, size_t len, const char *what, struct prop_task *ret,
                    struct prop_err *err);
void prop_task_release(struct prop_task *t);
#define prop_auto_task __attribute__((cleanup(prop_task_release)))

/* What was run, for the result document. */
struct prop_guest_report {
    struct prop_digest manifest;  /* len 0 for a bare module */
    struct prop_digest layer;     /* as stored; len 0 likewise */
    bool encrypted;
    char kid[3 * PROP_RESOURCE_PART + 3]; /* path of the key that was fetched; "" = none */
};

struct prop_guest_run {
    const struct prop_location *image;
    const struct prop_digest *pin;      /* manifest must have this digest; NULL = not pinned */
    const struct prop_oci_options *oci;
    struct prop_kbs *kbs;               /* NULL: keys come from key_files only */
    struct prop_kbs_attest attest;
    const char *kid;                    /* the only kid accepted (path); NULL = any at our KBS */
    const char *const *key_files;       /* local private keys or KEK files, instead of the broker's */
    size_t n_key_files;
    bool require_encrypted;             /* false lets a plain image run */
    struct prop_wasm_run wasm;          /* module fields are filled here */
    struct prop_guest_report *report;   /* filled as far as the run came; may be NULL */
};
/* Do it. The module is compiled only after its HMAC and digests held, from memory that is wiped
 * before this returns. An image is refused whose kid names another key broker (PROP_E_DENIED, id
 * "foreign-kbs") or another key than `kid` (id "kid-mismatch"), and a plain one where
 * require_encrypted is set (id "not-encrypted"). ret_timing (may be NULL) receives
 * {"pull_ms","attest_ms","decrypt_ms","run_ms"}.
 * Fails: everything the rooms below fail with. */
int prop_guest_run(const struct prop_guest_run *g, struct prop_wasm_result *ret,
                   json_t **ret_timing, struct prop_err *err);

#endif
