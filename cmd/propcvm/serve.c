/* propcvm serve: a proplet under a Propeller manager. */
#include "cmd/propcvm/serve_identity.h"
#include "cmd/propcvm/serve_log.h"
#include "cmd/propcvm/serve_settings.h"
#include "cmd/propcvm/verbs.h"

#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "guest/runner.h"
#include "guest/service.h"
#include "tee/initdata.h"
#include "util/limits.h"
#include "util/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_RUNNING 512
#define MAX_FILES 65536 /* a running task has some ten, a program kept in memory one */

struct serve_opts {
    struct propcvm_identity_opts id;
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *address, *ca, *cert, *cert_key, *qos, *keep_alive, *max_packet, *inflight;
    const char *namespace, *description, *tags, *location, *heartbeat, *metrics_interval;
    const char *metrics_listen, *log_level, *log_format, *max_tasks, *max_queue, *pull_limit;
    const char *external;
    struct prop_strs dirs;
    uint64_t timeout_ms, max_memory, fuel, max_output, cache_size, drain_ms, hold_ms;
    uint64_t max_daemons, max_latent;
    bool insecure_mqtt, no_system_info, no_monitoring, encrypted_only;
};

#define OPT(name, kind, arg, help, member, env, def)                                               \
    { name, 0, kind, arg, help, offsetof(struct serve_opts, member), env, def, false }
#define OLD(name, member)                                                                          \
    { name, 0, PROP_OPT_STRING, "ID", "the older name", offsetof(struct serve_opts, member), NULL, \
      NULL, true }

static const struct prop_opt options[] = {
    OPT("mqtt-address", PROP_OPT_STRING, "URL", "the broker: tls://HOST:PORT, tcp:// for loopback",
        address, "PROPLET_MQTT_ADDRESS", "tcp://localhost:1883"),
    OPT("insecure-mqtt", PROP_OPT_FLAG, NULL, "no TLS to a broker on another machine",
        insecure_mqtt, NULL, NULL),
    OPT("mqtt-ca", PROP_OPT_STRING, "FILE", "trust only these PEM roots for the broker", ca,
        "PROPLET_MQTT_TLS_CA_CERT", NULL),
    OPT("mqtt-client-cert", PROP_OPT_STRING, "FILE", "certificate to show to the broker", cert,
        "PROPLET_MQTT_TLS_CLIENT_CERT", NULL),
    OPT("mqtt-client-key", PROP_OPT_STRING, "FILE", "its private key", cert_key,
        "PROPLET_MQTT_TLS_CLIENT_KEY", NULL),
    OPT("mqtt-qos", PROP_OPT_STRING, "N", "0, 1 or 2 (default 2; others lose results)", qos, NULL,
        NULL),
    OPT("mqtt-keep-alive", PROP_OPT_STRING, "SECONDS", "default 30", keep_alive, NULL, NULL),
    OPT("mqtt-max-packet", PROP_OPT_STRING, "BYTES", "largest message, either way (default 10 MiB)",
        max_packet, NULL, NULL),
    OPT("mqtt-inflight", PROP_OPT_STRING, "N", "results on their way at once (default 10)", inflight,
        NULL, NULL),
    OPT("tenant-id", PROP_OPT_STRING, "ID", "first part of the topics; PROPLET_TENANT_ID", id.tenant,
        NULL, NULL),
    OPT("channel-id", PROP_OPT_STRING, "ID", "the channel; PROPLET_CHANNEL_ID", id.channel, NULL, NULL),
    OPT("entity-id", PROP_OPT_STRING, "ID", "who this proplet is; PROPLET_ENTITY_ID", id.entity, NULL,
        NULL),
    OLD("domain-id", id.tenant),
    OLD("client-id", id.entity),
    OPT("api-key-file", PROP_OPT_STRING, "FILE",
        "its key for the broker (else PROPLET_API_KEY, or the credential proplet_api_key)",
        id.api_key_file, NULL, NULL),
    OPT("config-file", PROP_OPT_STRING, "FILE", "TOML with what of these four is not given",
        id.config_file, "PROPLET_CONFIG_FILE", "config.toml"),
    OPT("config-section", PROP_OPT_STRING, "NAME", "its section", id.config_section,
        "PROPLET_CONFIG_SECTION", "proplet"),
    OPT("namespace", PROP_OPT_STRING, "NAME", "told to the manager", namespace,
        "PROPLET_MANAGER_K8S_NAMESPACE", "default"),
    OPT("description", PROP_OPT_STRING, "TEXT", "told to the manager", description,
        "PROPLET_DESCRIPTION", NULL),
    OPT("tags", PROP_OPT_STRING, "A,B", "told to the manager", tags, "PROPLET_TAGS", NULL),
    OPT("location", PROP_OPT_STRING, "TEXT", "told to the manager", location, "PROPLET_LOCATION", NULL),
    OPT("no-system-info", PROP_OPT_FLAG, NULL, "do not tell it about this machine", no_system_info,
        NULL, NULL),
    OPT("heartbeat", PROP_OPT_STRING, "SECONDS",
        "how often it hears of us (default 3; it gives up on us after 10)", heartbeat, NULL, NULL),
    OPT("metrics-interval", PROP_OPT_STRING, "SECONDS", "and how we are (default 10)",
        metrics_interval, NULL, NULL),
    OPT("no-monitoring", PROP_OPT_FLAG, NULL, "do not tell it that", no_monitoring, NULL, NULL),
    OPT("metrics-listen", PROP_OPT_STRING, "ADDR:PORT",
        "/metrics and /health, on loopback; 'off' (default 127.0.0.1:9092)", metrics_listen, NULL,
        NULL),
    OPT("log-level", PROP_OPT_STRING, "LEVEL", "error, warn, info or debug", log_level,
        "PROPLET_LOG_LEVEL", "info"),
    OPT("log-format", PROP_OPT_STRING, "text|json", "of the lines on stderr", log_format,
        "PROPLET_LOG_FORMAT", "text"),
    OPT("max-tasks", PROP_OPT_STRING, "N", "tasks running at once (default: two per processor)",
        max_tasks, NULL, NULL),
    OPT("max-queue", PROP_OPT_STRING, "N", "tasks waiting; more are refused (default 1000)",
        max_queue, NULL, NULL),
    OPT("max-daemons", PROP_OPT_U64, "N", "daemon tasks running beside them", max_daemons, NULL, "16"),
    OPT("max-latent", PROP_OPT_U64, "N", "latent tasks kept ready", max_latent, NULL, "64"),
    OPT("pull-limit", PROP_OPT_STRING, "N",
        "tasks prepared at once (default 4); PROPLET_PULL_CONCURRENT_LIMIT", pull_limit, NULL, NULL),
    OPT("encrypted-only", PROP_OPT_FLAG, NULL, "refuse tasks that are not encrypted", encrypted_only,
        NULL, NULL),
    OPT("timeout", PROP_OPT_DURATION, "TIME", "how long a task may run (0: no end)", timeout_ms, NULL,
        "1h"),
    OPT("max-memory", PROP_OPT_SIZE, "BYTES", "largest linear memory", max_memory, NULL, "1G"),
    OPT("fuel", PROP_OPT_U64, "N", "how many instructions, roughly", fuel, NULL, NULL),
    OPT("max-output", PROP_OPT_SIZE, "BYTES", "most a task may write to stdout and to stderr",
        max_output, NULL, "1M"),
    OPT("dir", PROP_OPT_LIST, "HOST[::GUEST]", "a folder that all tasks see (repeatable)", dirs, NULL,
        NULL),
    OPT("external-runtime", PROP_OPT_STRING, "PROGRAM", "runs the modules instead of the engine here",
        external, "PROPLET_EXTERNAL_WASM_RUNTIME", NULL),
    OPT("cache-size", PROP_OPT_SIZE, "BYTES", "memory for layers, and again for compiled modules",
        cache_size, NULL, "128M"),
    OPT("drain-timeout", PROP_OPT_DURATION, "TIME", "how long running tasks may take after SIGTERM",
        drain_ms, NULL, "30s"),
    OPT("result-hold", PROP_OPT_DURATION, "TIME",
        "results wait so long after their start, or the manager may lose them", hold_ms, NULL, "250ms"),
    PROP_KBS_OPTIONS(struct serve_opts, kbs),
    PROP_KBS_TEE_OPTION(struct serve_opts, kbs),
    PROP_KBS_GUEST_OPTIONS(struct serve_opts, kbs),
    PROP_OCI_OPTIONS_UNTIMED(struct serve_opts, oci),
    PROP_OPT_END
};

/* Everything one service owns. */
struct serve {
    struct prop_service_config c;
    struct propcvm_log log;
    struct propcvm_identity id;
    struct prop_kbs_config kbs;
    struct prop_oci_options oci;
    struct prop_runner *runner;
    struct prop_buf init_data; /* c.attest borrows it */
    char *tags_text, *dirs_text, *listen;
    const char **tags, **env_dirs, **dirs;
};

static void serve_release(struct serve *v)
{
    prop_runner_free(v->runner);
    propcvm_identity_release(&v->id);
    prop_free(v->tags_text);
    prop_free(v->dirs_text);
    prop_free(v->listen);
    prop_free(v->tags);
    prop_free(v->env_dirs);
    prop_free(v->dirs);
    prop_buf_release(&v->init_data);
}

static void say_ignored(void *ctx, const char *variable, const char *why)
{
    prop_auto_free char *line = prop_asprintf("%s has no effect: %s", variable, why);

    propcvm_log_line(ctx, PROP_LOG_WARN, line ? line : variable);
}

/* ---- numbers ---------------------------------------------------------------------------------------------- */

static int number(struct serve *v, const char *flag, const char *name, const char *variable,
                  uint64_t min, uint64_t max, uint64_t def, uint64_t *ret, struct prop_err *err)
{
    bool ignored = false;
    int rc = propcvm_number(flag, name, variable, min, max, def, ret, &ignored, err);

    if (rc == 0 && ignored) {
        prop_auto_free char *why = prop_asprintf("it is no number from %llu to %llu, so %llu counts",
                                                 (unsigned long long)min, (unsigned long long)max,
                                                 (unsigned long long)def);
        say_ignored(&v->log, variable, why ? why : "");
    }
    return rc;
}

static int read_counts(const struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t tasks = 0, queue = 0, pull = 0;
    uint64_t many = cpus > 0 ? 2 * (uint64_t)cpus : 2;

    int rc = number(v, o->max_tasks, "max-tasks", NULL, 1, MAX_RUNNING,
                    many < MAX_RUNNING ? many : MAX_RUNNING, &tasks, err);
    if (rc == 0)
        rc = number(v, o->max_queue, "max-queue", NULL, 1, 100000, 1000, &queue, err);
    if (rc == 0)
        rc = number(v, o->pull_limit, "pull-limit", "PROPLET_PULL_CONCURRENT_LIMIT", 1, 64, 4, &pull,
                    err);
    if (rc == 0 && (o->max_daemons > MAX_RUNNING || o->max_latent > 100000))
        rc = prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                             "--max-daemons takes up to %d, --max-latent up to 100000", MAX_RUNNING);
    v->c.max_tasks = (unsigned)tasks;
    v->c.max_queue = (unsigned)queue;
    v->c.pull_limit = (unsigned)pull;
    v->c.max_daemons = (unsigned)o->max_daemons;
    v->c.max_latent = (unsigned)o->max_latent;
    return rc;
}

/* ---- the broker ---------------------------------------------------------------------------------------------- */

static int read_mqtt(const struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    struct prop_mqtt_config *m = &v->c.mqtt;
    uint64_t keep_alive = 0, packet = 0, inflight = 0, qos = 0;

    int rc = prop_mqtt_address_parse(o->address, &m->address, err);
    if (rc == 0)
        rc = number(v, o->keep_alive, "mqtt-keep-alive", "PROPLET_MQTT_KEEP_ALIVE", 5, 65535, 30,
                    &keep_alive, err);
    if (rc == 0)
        rc = number(v, o->max_packet, "mqtt-max-packet", "PROPLET_MQTT_MAX_PACKET_SIZE", 4096,
                    256u << 20, PROP_MQTT_MAX_PACKET, &packet, err);
    if (rc == 0)
        rc = number(v, o->inflight, "mqtt-inflight", "PROPLET_MQTT_INFLIGHT", 1, 65535, 10, &inflight,
                    err);
    if (rc == 0)
        rc = number(v, o->qos, "mqtt-qos", "PROPLET_MQTT_QOS", 0, 2, 2, &qos, err);
    m->plain_ok = o->insecure_mqtt;
    m->client_id = m->username = v->id.entity;
    m->password = v->id.api_key;
    m->ca = o->ca;
    m->cert = o->cert;
    m->key = o->cert_key;
    m->keepalive_s = (unsigned)keep_alive;
    m->max_packet = (size_t)packet;
    m->inflight = (unsigned)inflight;
    m->qos = (int)qos;
    return rc;
}

static int read_identity(const struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    int rc = propcvm_identity_read(&o->id, &v->id, err);

    v->c.tenant = v->id.tenant;
    v->c.channel = v->id.channel;
    v->c.proplet_id = v->id.entity;
    v->c.namespace = o->namespace && *o->namespace ? o->namespace : "default";
    return rc;
}

static int read_about(const struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    struct prop_service_about *a = &v->c.about;
    int rc = o->tags ? propcvm_split(o->tags, ',', &v->tags_text, &v->tags, &a->n_tags, err) : 0;

    a->tags = v->tags;
    a->description = o->description;
    a->location = o->location;
    a->system_info = !o->no_system_info && propcvm_truth("PROPLET_COLLECT_SYSTEM_INFO", true);
    a->wasm_runtime = o->external && *o->external ? o->external : "wasmtime-internal";
    return rc;
}

/* ---- times, metrics ------------------------------------------------------------------------------------------- */

static int read_beat(struct prop_cli *cli, const struct serve_opts *o, struct serve *v,
                     struct prop_err *err)
{
    uint64_t beat = 0, metrics = 0, port = 0;
    bool monitor = !o->no_monitoring && propcvm_truth("PROPLET_ENABLE_MONITORING", true);

    int rc = number(v, o->heartbeat, "heartbeat", "PROPLET_LIVELINESS_INTERVAL", 1, 3600, 3, &beat, err);
    if (rc == 0)
        rc = number(v, o->metrics_interval, "metrics-interval", "PROPLET_METRICS_INTERVAL", 1, 86400,
                    10, &metrics, err);
    if (rc == 0)
        rc = number(v, NULL, "port", "PROPLET_METRICS_PORT", 1, 65535, 9092, &port, err);
    if (rc)
        return rc;
    if (beat > 5)
        prop_cli_warn(cli, "a heartbeat every %llu s is too rare: the manager counts 10 s without one "
                           "as dead", (unsigned long long)beat);
    v->c.heartbeat_ms = beat * 1000;
    v->c.metrics_ms = monitor ? metrics * 1000 : 0;
    v->c.status_must = o->metrics_listen != NULL;
    if (o->metrics_listen && strcmp(o->metrics_listen, "off") != 0)
        v->listen = prop_strdup(o->metrics_listen);
    else if (!o->metrics_listen && propcvm_truth("PROPLET_METRICS_ENABLED", true))
        v->listen = prop_asprintf("127.0.0.1:%llu", (unsigned long long)port);
    v->c.status_listen = v->listen;
    return 0;
}

/* ---- the key broker ------------------------------------------------------------------------------------------- */

static int read_kbs(struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    if (!o->kbs.kbs || !*o->kbs.kbs)
        o->kbs.kbs = propcvm_env("PROPLET_KBS_URI", NULL);
    v->init_data.max = PROP_TEE_INITDATA_MAX;
    int rc = prop_kbs_opts_attest(&o->kbs, &v->c.attest, &v->init_data, err);
    bool any = !o->kbs.tee || strcmp(o->kbs.tee, "auto") == 0;
    if (rc == PROP_E_UNSUPPORTED && any) { /* what is not encrypted can be run all the same */
        v->c.attest.tee = PROP_TEE_NONE;
        prop_err_clear(err);
        rc = 0;
    }
    if (rc)
        return rc;
    if (!o->kbs.kbs) {
        if (v->c.attest.tee == PROP_TEE_NONE || v->c.attest.tee == PROP_TEE_SAMPLE)
            return 0;
        return prop_err_set_id(err, PROP_E_NO, "no-kbs",
                               "KBS URI must be configured when TEE is detected. Set PROPLET_KBS_URI "
                               "environment variable.");
    }
    rc = prop_kbs_opts_config(&o->kbs, &v->kbs, err);
    v->kbs.no_proxy = true; /* the guest's way to its keys is not the environment's to choose */
    v->c.kbs = &v->kbs;
    return rc;
}

/* ---- the runner ------------------------------------------------------------------------------------------------ */

static int start_runner(struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    const char *more = propcvm_env("PROPLET_DIRS", NULL);
    struct prop_runner_config c = { .external = o->external && *o->external ? o->external : NULL };
    size_t n = 0;

    int rc = more ? propcvm_split(more, ':', &v->dirs_text, &v->env_dirs, &n, err) : 0;
    v->dirs = prop_zalloc((n + o->dirs.n + 1) * sizeof *v->dirs);
    if (rc == 0 && !v->dirs)
        rc = prop_err_nomem(err);
    if (rc)
        return rc;
    for (size_t i = 0; i < o->dirs.n; i++)
        v->dirs[c.n_dirs++] = o->dirs.items[i];
    for (size_t i = 0; i < n && o->dirs.n == 0; i++) /* flags instead of the variable */
        v->dirs[c.n_dirs++] = v->env_dirs[i];
    c.dirs = v->dirs;
    prop_secret_hide();
    rc = prop_runner_start(&c, &v->runner, err);
    v->c.runner = v->runner;
    return rc;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    prop_service_signal();
}

static void on_hangup(int number)
{
    (void)number; /* there is nothing to read anew */
}

static void install_signals(void)
{
    struct sigaction sa;

    memset(&sa, 0, sizeof sa);
    sa.sa_flags = SA_RESTART;
    sa.sa_handler = on_signal;
    (void)sigaction(SIGTERM, &sa, NULL);
    (void)sigaction(SIGINT, &sa, NULL);
    sa.sa_handler = on_hangup;
    (void)sigaction(SIGHUP, &sa, NULL);
}

/* The usual soft limit is for programs that use select(2). */
static void allow_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur >= MAX_FILES)
        return;
    files.rlim_cur = files.rlim_max < MAX_FILES ? files.rlim_max : MAX_FILES;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

static int prepare(struct prop_cli *cli, struct serve_opts *o, struct serve *v, struct prop_err *err)
{
    int rc = propcvm_log_level(o->log_level, &v->log.level, err);

    if (rc == 0)
        rc = propcvm_log_format(o->log_format, &v->log.json, err);
    if (rc == 0)
        rc = read_identity(o, v, err); /* first: the key leaves the environment */
    if (rc == 0)
        rc = read_mqtt(o, v, err);
    if (rc == 0)
        rc = read_about(o, v, err);
    if (rc == 0)
        rc = read_beat(cli, o, v, err);
    if (rc == 0)
        rc = read_counts(o, v, err);
    if (rc == 0)
        rc = read_kbs(o, v, err);
    prop_oci_opts_fill(cli, &o->oci, &v->oci);
    v->oci.progress = NULL;
    v->c.oci = &v->oci;
    v->c.limits = (struct prop_wasm_limits){ .timeout_ms = o->timeout_ms, .fuel = o->fuel,
                                             .max_memory = o->max_memory,
                                             .max_output = o->max_output };
    v->c.encrypted_only = o->encrypted_only;
    v->c.cache_bytes = o->cache_size;
    v->c.hold_ms = o->hold_ms;
    v->c.drain_ms = o->drain_ms;
    v->c.log = propcvm_log_line;
    v->c.log_ctx = &v->log;
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct serve_opts *o = opts;
    struct serve v = { .c = { .tenant = NULL } };
    int rc = prepare(cli, o, &v, err);

    if (rc == 0) {
        propcvm_say_ignored(say_ignored, &v.log);
        rc = start_runner(o, &v, err);
    }
    if (rc == 0) {
        prop_auto_free char *line =
            o->external && *o->external ? prop_asprintf("Using external Wasm runtime: %s", o->external)
                                        : prop_strdup("Using Wasmtime runtime");
        propcvm_log_line(&v.log, PROP_LOG_INFO, line ? line : "");
        install_signals();
        allow_files();
        rc = prop_service_run(&v.c, err);
    }
    serve_release(&v);
    return rc;
}

static const char details[] =
    "Takes tasks from a Propeller manager over MQTT and answers each. Configured as other proplets\n"
    "are, by the same variables (PROPLET_TENANT_ID, PROPLET_ENTITY_ID, PROPLET_API_KEY,\n"
    "PROPLET_CHANNEL_ID, PROPLET_MQTT_ADDRESS, PROPLET_KBS_URI, ... and the older names) or\n"
    "config.toml, or by these options. docs/propcvm-serve.md has all of them.\n"
    "SIGTERM lets running tasks finish; a second one does not.\n"
    "\n"
    "  PROPLET_API_KEY=... propcvm serve --mqtt-address tls://mqtt.example.com --tenant-id T \\\n"
    "      --channel-id C --entity-id P --kbs https://kbs.example.com --encrypted-only";

const struct prop_verb propcvm_verb_serve = {
    "serve", "", "run the tasks of a Propeller manager", details, options,
    sizeof(struct serve_opts), 0, 0, run
};
