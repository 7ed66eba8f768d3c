/* Task manifests as Propeller's manager takes and sends them (propeller.md 1.3, 3): arrays may be
 * null, inputs are strings or numbers, unknown members are ignored. */
#include "guest/run.h"

#include <stdio.h>
#include <string.h>

#include "util/limits.h"
#include "util/text.h"

#define MAX_ITEMS 4096 /* of one array or map of a task */

struct members {
    const char *id, *name, *image_url, *file, *kbs_resource_path;
    bool encrypted;
    json_t *cli_args, *inputs, *env;
};

#define MEMBER(name, kind, flags)                                                                  \
    { #name, kind, offsetof(struct members, name), (flags) | PROP_JSON_NULLABLE }

static const struct prop_json_field fields[] = {
    MEMBER(id, PROP_JSON_STRING, 0),
    MEMBER(name, PROP_JSON_STRING, 0),
    MEMBER(image_url, PROP_JSON_STRING, 0),
    MEMBER(file, PROP_JSON_STRING, 0),
    MEMBER(kbs_resource_path, PROP_JSON_STRING, 0),
    MEMBER(encrypted, PROP_JSON_BOOL, 0),
    MEMBER(cli_args, PROP_JSON_ARRAY, 0),
    MEMBER(inputs, PROP_JSON_ARRAY, 0),
    MEMBER(env, PROP_JSON_OBJECT, 0),
};

static int bad(struct prop_err *err, const char *what, const char *why)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-task", "%s: %s", what, why);
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
                    "%s: cli_args may not hold '%.100s'", what, arg);
    return prop_err_hint(err, "a task may say --invoke, --timeout, --max-memory and --fuel");
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
        return prop_err_set(err, PROP_E_LIMIT, "%s: more than %d inputs", what, MAX_ITEMS);
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
        return prop_err_set(err, PROP_E_LIMIT, "%s: more than %d variables", what, MAX_ITEMS);
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

/* ---- the whole ----------------------------------------------------------------------------- */

static const char *present(const char *text)
{
    return text && *text ? text : NULL;
}

static int check_members(const struct members *m, const char *what, struct prop_err *err)
{
    if (!present(m->name))
        return bad(err, what, "name is required");
    if (m->encrypted && !present(m->image_url))
        return bad(err, what, "image_url is required for encrypted workloads");
    if (m->encrypted && present(m->file))
        return bad(err, what, "encrypted workloads should only use image_url, not file");
    if (!present(m->image_url) && !present(m->file))
        return bad(err, what, "either file or image_url must be provided");
    if (!present(m->image_url))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "task-file",
                               "%s: a module inside the task is not run, only image_url", what);
    return 0;
}

static int fill(struct prop_task *t, const struct members *m, const char *what,
                struct prop_err *err)
{
    t->id = present(m->id);
    t->name = m->name;
    t->image_url = m->image_url;
    t->kbs_resource_path = present(m->kbs_resource_path);
    t->encrypted = m->encrypted;
    int rc = read_cli_args(t, m->cli_args, what, err);
    if (rc == 0)
        rc = read_inputs(t, m->inputs, what, err);
    return rc ? rc : read_env(t, m->env, what, err);
}

int prop_task_parse(const char *text, size_t len, const char *what, struct prop_task *ret,
                    struct prop_err *err)
{
    prop_auto_task struct prop_task t = {.json = NULL};
    struct members m = {.id = NULL};
    int rc = len > PROP_LIMIT_TASK_FILE
                 ? prop_err_set(err, PROP_E_LIMIT, "%s: longer than %u bytes", what,
                                PROP_LIMIT_TASK_FILE)
                 : prop_json_parse(text, len, what, &t.json, err);

    if (rc == 0)
        rc = prop_json_read(t.json, what, fields, PROP_ARRAY_LEN(fields), &m, err);
    if (rc == 0)
        rc = check_members(&m, what, err);
    if (rc == 0)
        rc = fill(&t, &m, what, err);
    if (rc)
        return rc;
    *ret = t;
    t = (struct prop_task){.json = NULL};
    return 0;
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
    json_decref(t->json);
    *t = (struct prop_task){.json = NULL};
}
