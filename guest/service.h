/* The MQTT service: a proplet that a Propeller manager drives (propeller.md 1). Starts, stops and
 * invocations come in on the manager's topics; every start whose id can be read is answered once.
 *
 * What is decided here where the protocol leaves it open:
 * - A start is a duplicate while its task waits, runs, or its result is held back; it is dropped without
 *   a word. So is a start without `encrypted` for an id that was lately started with it: managers of old
 *   send two starts per task, and nothing falls back to running in the clear because a member is gone.
 * - An image that is encrypted runs only as a task that says so, and a plain one never as such a task.
 * - daemon: prepared like any task, whose failures are told; then an empty result at once, and the
 *   module runs without a deadline until it is stopped.
 * - latent: prepared and kept ready, with no result; each invocation fetches the key anew. Core modules
 *   and encrypted images may be latent too.
 * - Retained messages are not taken: a manager retains none, and they would start anew what once ran
 *   after each reconnect.
 * - Broadcasts are ordinary starts. `env` reaches the module and steers nothing here.
 */
#ifndef PROP_GUEST_SERVICE_H
#define PROP_GUEST_SERVICE_H

#include "guest/runner.h"
#include "kbs/kbs.h"
#include "mqtt/mqtt.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prop_service_level { PROP_LOG_ERROR, PROP_LOG_WARN, PROP_LOG_INFO, PROP_LOG_DEBUG };

/* What discovery tells the manager; NULL and 0 are left out. */
struct prop_service_about {
    const char *description, *location;
    const char *const *tags;
    size_t n_tags;
    bool system_info;         /* operating system, host name, memory, address */
    const char *wasm_runtime; /* "wasmtime-internal", or the external runtime's path */
};

struct prop_service_config {
    struct prop_mqtt_config mqtt; /* `events` is filled here */
    const char *tenant, *channel, *proplet_id, *namespace;
    struct prop_runner *runner;
    const struct prop_kbs_config *kbs; /* NULL: no encrypted task can be run */
    struct prop_kbs_attest attest;
    const struct prop_oci_options *oci;
    struct prop_service_about about;
    struct prop_wasm_limits limits;    /* no task gets more */
    bool encrypted_only;
    unsigned max_tasks, max_daemons;   /* running at once */
    unsigned max_queue;                /* waiting */
    unsigned max_latent;               /* kept ready */
    unsigned pull_limit;               /* preparing at once */
    uint64_t cache_bytes;
    uint64_t hold_ms;                  /* results wait so long after their start (propeller.md 1.5) */
    uint64_t heartbeat_ms;
    uint64_t metrics_ms;               /* of the service itself; 0 = none */
    uint64_t drain_ms;                 /* how long running tasks may take once it is to end */
    const char *status_listen;         /* NULL = no /metrics and /health */
    bool status_must;                  /* a taken port is an error, not a warning */
    void (*log)(void *ctx, enum prop_service_level level, const char *line);
    void *log_ctx;
};

/* Serve until prop_service_signal was called and all is drained. Returns 0 then.
 * Fails: what checking the configuration fails with; PROP_E_IO (id "runner-gone") when modules can no
 * longer be run. */
int prop_service_run(const struct prop_service_config *config, struct prop_err *err);

/* Ask the running service to drain and end; safe in a signal handler. The second call kills what still
 * runs, answers for it, and ends. */
void prop_service_signal(void);

#endif
