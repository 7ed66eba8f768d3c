/* Tasks as Propeller's manager writes them: a task file given to `propcvm run`, and the start message
 * it sends to its proplets (propeller.md 1.3). Both generations of the protocol are read: arrays may
 * be null, inputs are strings or numbers, unknown members are ignored. */
#ifndef PROP_GUEST_TASK_H
#define PROP_GUEST_TASK_H

#include "engine/wasm.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_TASK_ID_MAX 255 /* bytes of a task's id */

/* What is measured while a task runs (propeller.md 1.7). */
struct prop_task_profile {
    bool enabled, export_to_mqtt;
    bool cpu, memory, disk, threads, descriptors;
    uint64_t interval_ms;
};

/* Strings are borrowed from `json` unless they are said to be owned. */
struct prop_task {
    json_t *json;                 /* the whole document, owned */
    const char *id, *name, *image_url, *kbs_resource_path;
    const char *proplet_id;       /* whom it is meant for; NULL = everybody */
    bool encrypted;
    bool broadcast, daemon, latent;
    uint8_t *file;                /* a module inside the message, decoded, owned; NULL = none */
    size_t file_len;
    const char *invoke;           /* from cli_args ["--invoke", f]; NULL = command */
    char **args;                  /* inputs as text, owned */
    size_t n_args;
    char **env;                   /* "K=V" for the module, owned */
    size_t n_env;
    struct prop_wasm_limits limits; /* what cli_args ask for; 0 = nothing said */
    struct prop_task_profile profile; /* the task's, else the default for its kind */
};

/* Read a task manifest. cli_args pass an allow-list (--invoke F, resource limits, and -S cli, which
 * changes nothing); anything else is PROP_E_DENIED (id "cli-arg-refused"). `what` stands in front of
 * messages. */
int prop_task_parse(const char *text, size_t len, const char *what, struct prop_task *ret,
                    struct prop_err *err);
/* Read a start message. As above, but the id is required, and messages stand alone, in the words of other proplets where those have any ("name is required"). The caller
 * limits `len`. */
int prop_task_parse_start(const char *text, size_t len, struct prop_task *ret,
                          struct prop_err *err);
void prop_task_release(struct prop_task *t);
#define prop_auto_task __attribute__((cleanup(prop_task_release)))

/* Whom a message concerns, as far as that can be told even where it is damaged or not a task: its
 * "id" and "proplet_id". Each is "" when there is none that could be one. */
struct prop_task_label {
    char id[PROP_TASK_ID_MAX + 1];
    char proplet_id[PROP_TASK_ID_MAX + 1];
};
void prop_task_label(const char *text, size_t len, struct prop_task_label *ret);

#endif
