/* Task manifests as Propeller's manager takes and sends them (propeller.md 1.3, 3). */
#include "guest/task.h"

#include <stdio.h>
#include <string.h>

#include "util/encode.h"
#include "util/limits.h"
#include "util/text.h"

#define MAX_ITEMS 4096 /* of one array or map of a task */
#define INTERVAL_MS 10000u
#define DAEMON_INTERVAL_MS 120000u
#define NS_FROM 1000000 /* a monitoring interval above this is nanoseconds, not seconds */

struct members {
    const char *id, *name, *image_url, *file, *kbs_resource_path, *proplet_id;
    bool encrypted, broadcast, daemon, latent;
    json_t *cli_args, *inputs, *env, *monitoring_profile, *monitoringProfile;
};

/* How one kind of task is read. */
struct reading {
    const char *what; /* stands in front of messages; NULL = nothing does */
    bool start;       /* a start message */
};

#define MEMBER(name, kind, flags)                                                                  \
    { #name, kind, offsetof(struct members, name), (flags) | PROP_JSON_NULLABLE }

static const struct prop_json_field fields[] = {
    MEMBER(id, PROP_JSON_STRING, 0),
    MEMBER(name, PROP_JSON_STRING, 0),
    MEMBER(image_url, PROP_JSON_STRING, 0),
    MEMBER(file, PROP_JSON_STRING, 0),
    MEMBER(kbs_resource_path, PROP_JSON_STRING, 0),
    MEMBER(proplet_id, PROP_JSON_STRING, 0),
    MEMBER(encrypted, PROP_JSON_BOOL, 0),
    MEMBER(broadcast, PROP_JSON_BOOL, 0),
    MEMBER(daemon, PROP_JSON_BOOL, 0),
    MEMBER(latent, PROP_JSON_BOOL, 0),
    MEMBER(cli_args, PROP_JSON_ARRAY, 0),
    MEMBER(inputs, PROP_JSON_ARRAY, 0),
    MEMBER(env, PROP_JSON_OBJECT, 0),
    MEMBER(monitoring_profile, PROP_JSON_OBJECT, 0),
    MEMBER(monitoringProfile, PROP_JSON_OBJECT, 0), /* its name of old */
};

static int bad(struct prop_err *err, const char *what, const char *why)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-task", "%s%s%s", what ? what : "",
                           what ? ": " : "", why);
}

/* For messages that need some subject. */
static const char *named(const char *what)
{
    return what ? what : "the start message";
}

/* ---- cli_args ------------------------------------------------------------------------------ */

static int set_timeout(struct prop_task *t, const char *value, struct prop_err *err)
{
    return prop_parse_duration_ms(value, "timeout", &t->limits.timeout_ms, err);
}

static int set_memory(struct prop_task *t, const char *value, struct prop_err *err)
{
    return prop_parse_size(value, "max-memory", &t->limits.max_memory, err);
}

static int set_fuel(struct prop_task *t, const char *value, struct prop_err *err)
{
    return prop_parse_u64(value, "fuel", &t->limits.fuel, err);
}

static int set_invoke(struct prop_task *t, const char *value, struct prop_err *err)
{
    if (!*value)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-task", "--invoke names no function");
    t->invoke = value;
    return 0;
}

/* All that a task may ask of the runtime: no folder, no variable of ours, no socket. */
static const struct allowed {
    const char *flag;       /* as a word of its own */
    const char *wasmtime;   /* as a part of wasmtime's -W, or NULL */
    int (*set)(struct prop_task *t, const char *value, struct prop_err *err);
} allowed[] = {
    {"--invoke", NULL, set_invoke},
    {"--timeout", "timeout", set_timeout},
    {"--max-memory", "max-memory-size", set_memory},
    {"--fuel", "fuel", set_fuel},
};

static int refuse(const char *what, const char *arg, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_DENIED, "cli-arg-refused",
                    "%s: cli_args may not hold '%.100s'", named(what), arg);
    return prop_err_hint(err, "a task may say --invoke, --timeout, --max-memory and --fuel");
}

/* wasmtime's -S: "cli", the world that commands get in any case, and nothing more. */
static int wasi_options(const char *list, const char *what, struct prop_err *err)
{
    return strcmp(list, "cli") == 0 || strcmp(list, "cli=y") == 0 ? 0 : refuse(what, list, err);
}

/* "fuel=10,timeout=5s" of wasmtime's -W */
static int wasm_options(struct prop_task *t, const char *list, const char *what,
                        struct prop_err *err)
{
    while (*list) {
        size_t len = strcspn(list, ",");
        prop_auto_free char *one = prop_strndup(list, len);
        if (!one)
            return prop_err_nomem(err);
        char *eq = strchr(one, '=');
        const struct allowed *found = NULL;
        if (eq)
            *eq = 0;
        for (size_t i = 0; eq && i < PROP_ARRAY_LEN(allowed); i++)
            if (allowed[i].wasmtime && strcmp(allowed[i].wasmtime, one) == 0)
                found = &allowed[i];
        int rc = found ? found->set(t, eq + 1, err) : refuse(what, one, err);
        if (rc)
            return rc;
        list += len + (list[len] == ',');
    }
    return 0;
}

/* The value of flag `name` if `arg` is that flag: behind "=", or the next word. */
static const char *flag_value(const char *arg, const char *name, const char *next, size_t *used)
{
    size_t len = strlen(name);

    if (strncmp(arg, name, len) != 0 || (arg[len] != 0 && arg[len] != '='))
        return NULL;
    if (arg[len] == '=')
        return arg + len + 1;
    *used = 2;
    return next ? next : "";
}

static int one_cli_arg(struct prop_task *t, const char *arg, const char *next, const char *what,
                       size_t *used, struct prop_err *err)
{
    const char *value = NULL;

    *used = 1;
    for (size_t i = 0; i < PROP_ARRAY_LEN(allowed); i++) {
        value = flag_value(arg, allowed[i].flag, next, used);
        if (value)
            return allowed[i].set(t, value, err);
    }
    value = flag_value(arg, "-S", next, used);
    if (!value)
        value = flag_value(arg, "--wasi", next, used);
    if (value || strncmp(arg, "-S", 2) == 0)
        return wasi_options(value ? value : arg + 2, what, err);
    value = flag_value(arg, "--wasm", next, used);
    if (!value)
        value = flag_value(arg, "-W", next, used);
    if (!value && strncmp(arg, "-W", 2) == 0)
        value = arg + 2;
    return value ? wasm_options(t, value, what, err) : refuse(what, arg, err);
}

static int read_cli_args(struct prop_task *t, const json_t *list, const char *what,
                         struct prop_err *err)
{
    size_t n = json_array_size(list);

    for (size_t i = 0; i < n; i++)
        if (!json_is_string(json_array_get(list, i)))
            return bad(err, what, "cli_args must be strings");
    for (size_t i = 0; i < n;) {
        size_t used = 1;
        const char *next = i + 1 < n ? json_string_value(json_array_get(list, i + 1)) : NULL;
        int rc = one_cli_arg(t, json_string_value(json_array_get(list, i)), next, what, &used, err);
        if (rc)
            return rc;
        i += used;
    }
    return 0;
}

/* ---- inputs and env ------------------------------------------------------------------------ */

static char *input_text(const json_t *v)
{
    if (json_is_string(v))
        return prop_strdup(json_string_value(v));
    return json_is_number(v) ? prop_json_compact(v) : NULL;
}

static int read_inputs(struct prop_task *t, const json_t *list, const char *what,
                       struct prop_err *err)
{
    size_t n = json_array_size(list);

    if (n > MAX_ITEMS)
        return prop_err_set(err, PROP_E_LIMIT, "%s: more than %d inputs", named(what), MAX_ITEMS);
    t->args = prop_zalloc((n + 1) * sizeof *t->args);
    if (!t->args)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_string(v) && !json_is_number(v))
            return bad(err, what, "inputs must be numbers or strings");
        t->args[i] = input_text(v);
        if (!t->args[i])
            return prop_err_nomem(err);
        t->n_args++;
    }
    return 0;
}

static int read_env(struct prop_task *t, json_t *map, const char *what, struct prop_err *err)
{
    const char *key = NULL;
    json_t *value = NULL;

    if (json_object_size(map) > MAX_ITEMS)
        return prop_err_set(err, PROP_E_LIMIT, "%s: more than %d variables", named(what), MAX_ITEMS);
    t->env = prop_zalloc((json_object_size(map) + 1) * sizeof *t->env);
    if (!t->env)
        return prop_err_nomem(err);
    json_object_foreach(map, key, value) {
        if (!json_is_string(value) || !*key || strchr(key, '='))
            return bad(err, what, "env must map names to strings");
        t->env[t->n_env] = prop_asprintf("%s=%s", key, json_string_value(value));
        if (!t->env[t->n_env])
            return prop_err_nomem(err);
        t->n_env++;
    }
    return 0;
}

/* ---- what is measured ---------------------------------------------------------------------- */

/* The manager counts the interval in nanoseconds, other proplets in seconds: no sane number of one
 * is a sane number of the other. */
static int read_interval(const json_t *v, const char *what, uint64_t *ms, struct prop_err *err)
{
    json_int_t n = json_integer_value(v);

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_integer(v) || n <= 0)
        return bad(err, what, "monitoring_profile.interval must be a number above 0");
    *ms = n > NS_FROM ? (uint64_t)n / 1000000 : (uint64_t)n * 1000;
    if (*ms < 1000)
        *ms = 1000;
    return 0;
}

static void read_switch(const json_t *map, const char *name, bool *ret)
{
    const json_t *v = json_object_get(map, name);

    if (json_is_boolean(v))
        *ret = json_is_true(v);
}

static int read_profile(struct prop_task *t, const json_t *map, const char *what,
                        struct prop_err *err)
{
    struct prop_task_profile p = { .enabled = true, .export_to_mqtt = true, .cpu = true,
                                   .memory = true, .disk = true, .threads = true,
                                   .descriptors = true,
                                   .interval_ms = t->daemon ? DAEMON_INTERVAL_MS : INTERVAL_MS };
    int rc = read_interval(json_object_get(map, "interval"), what, &p.interval_ms, err);

    if (rc)
        return rc;
    read_switch(map, "enabled", &p.enabled);
    read_switch(map, "export_to_mqtt", &p.export_to_mqtt);
    read_switch(map, "collect_cpu", &p.cpu);
    read_switch(map, "collect_memory", &p.memory);
    read_switch(map, "collect_disk_io", &p.disk);
    read_switch(map, "collect_threads", &p.threads);
    read_switch(map, "collect_file_descriptors", &p.descriptors);
    t->profile = p;
    return 0;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static const char *present(const char *text)
{
    return text && *text ? text : NULL;
}

static int check_members(const struct members *m, const struct reading *r, struct prop_err *err)
{
    const char *what = r->what;

    if (r->start && !present(m->id))
        return bad(err, what, "id is required");
    if (!present(m->name))
        return bad(err, what, "name is required");
    if (r->start && strlen(m->id) > PROP_TASK_ID_MAX)
        return bad(err, what, "the id is too long");
    if (m->encrypted && !present(m->image_url))
        return bad(err, what, "image_url is required for encrypted workloads");
    if (m->encrypted && present(m->file))
        return bad(err, what, "encrypted workloads should only use image_url, not file");
    if (!present(m->image_url) && !present(m->file))
        return bad(err, what, "either file or image_url must be provided");
    return 0;
}

static int read_file(struct prop_task *t, const char *text, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE);
    int rc = prop_b64_decode(PROP_B64_STD, text, strlen(text), "file", &bytes, err);

    if (rc == 0)
        t->file = (uint8_t *)prop_buf_take(&bytes, &t->file_len);
    return rc;
}

static int fill(struct prop_task *t, const struct members *m, const struct reading *r,
                struct prop_err *err)
{
    const char *what = r->what;

    t->id = present(m->id);
    t->name = m->name;
    t->image_url = present(m->image_url);
    t->kbs_resource_path = present(m->kbs_resource_path);
    t->proplet_id = present(m->proplet_id);
    t->encrypted = m->encrypted;
    t->broadcast = m->broadcast;
    t->daemon = m->daemon;
    t->latent = m->latent;
    int rc = read_cli_args(t, m->cli_args, what, err);
    if (rc == 0)
        rc = read_inputs(t, m->inputs, what, err);
    if (rc == 0)
        rc = read_env(t, m->env, what, err);
    if (rc == 0)
        rc = read_profile(t, m->monitoring_profile ? m->monitoring_profile : m->monitoringProfile,
                          what, err);
    return rc == 0 && !t->image_url ? read_file(t, m->file, err) : rc;
}

static int parse(const char *text, size_t len, const struct reading *r, struct prop_task *ret,
                 struct prop_err *err)
{
    prop_auto_task struct prop_task t = {.json = NULL};
    struct members m = {.id = NULL};
    const char *what = named(r->what);
    int rc = prop_json_parse(text, len, what, &t.json, err);

    if (rc == 0)
        rc = prop_json_read(t.json, what, fields, PROP_ARRAY_LEN(fields), &m, err);
    if (rc == 0)
        rc = check_members(&m, r, err);
    if (rc == 0)
        rc = fill(&t, &m, r, err);
    if (rc)
        return rc;
    *ret = t;
    t = (struct prop_task){.json = NULL};
    return 0;
}

int prop_task_parse(const char *text, size_t len, const char *what, struct prop_task *ret,
                    struct prop_err *err)
{
    const struct reading r = {what, false};

    if (len > PROP_LIMIT_TASK_FILE)
        return prop_err_set(err, PROP_E_LIMIT, "%s: longer than %u bytes", what,
                            PROP_LIMIT_TASK_FILE);
    return parse(text, len, &r, ret, err);
}

int prop_task_parse_start(const char *text, size_t len, struct prop_task *ret,
                          struct prop_err *err)
{
    const struct reading r = {NULL, true};

    return parse(text, len, &r, ret, err);
}

static void free_list(char **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        prop_free(list[i]);
    prop_free(list);
}

void prop_task_release(struct prop_task *t)
{
    free_list(t->args, t->n_args);
    free_list(t->env, t->n_env);
    prop_free(t->file);
    json_decref(t->json);
    *t = (struct prop_task){.json = NULL};
}
