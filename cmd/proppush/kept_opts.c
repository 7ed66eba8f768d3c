#include "cmd/proppush/kept_opts.h"

#include "util/mem.h"

#include <string.h>

static bool is_in(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

static const void *at(const void *opts, size_t offset)
{
    return (const char *)opts + offset;
}

static json_t *list_value(const struct prop_strs *list)
{
    json_t *v = list->n > 0 ? json_array() : NULL;
    for (size_t i = 0; v != NULL && i < list->n; i++)
        (void)json_array_append_new(v, json_string(list->items[i]));
    return v;
}

/* NULL: it has no value. */
static json_t *value_of(const struct prop_opt *o, const void *opts)
{
    const char *text = NULL;
    bool flag = false;
    uint64_t number = 0;
    switch (o->kind) {
    case PROP_OPT_FLAG:
        memcpy(&flag, at(opts, o->offset), sizeof flag);
        return flag ? json_true() : NULL;
    case PROP_OPT_STRING:
        memcpy(&text, at(opts, o->offset), sizeof text);
        return text != NULL ? json_string(text) : NULL;
    case PROP_OPT_LIST:
        return list_value(at(opts, o->offset));
    case PROP_OPT_U64:
    case PROP_OPT_SIZE:
    case PROP_OPT_DURATION:
        memcpy(&number, at(opts, o->offset), sizeof number);
        return number != 0 ? json_integer((json_int_t)number) : NULL;
    }
    return NULL;
}

int proppush_opts_keep(const struct prop_opt *table, const void *opts,
                       const char *const *not_these, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *kept = json_object();
    for (const struct prop_opt *o = table; o->name != NULL; o++) {
        json_t *v = is_in(o->name, not_these) ? NULL : value_of(o, opts);
        if (v != NULL && json_object_set_new(kept, o->name, v) != 0)
            return prop_err_nomem(err);
    }
    if (kept == NULL)
        return prop_err_nomem(err);
    *ret = PROP_TAKE(kept);
    return 0;
}

/* The array is the command line's, which frees it. */
static int set_list(const json_t *v, struct prop_strs *list, struct prop_err *err)
{
    size_t n = json_array_size(v);
    const char **items = prop_realloc_array(NULL, n + 1, sizeof *items);
    if (items == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        items[i] = json_string_value(json_array_get(v, i));
    prop_free(list->items);
    *list = (struct prop_strs){ items, n };
    return 0;
}

static int set_value(const struct prop_opt *o, const json_t *v, void *opts, struct prop_err *err)
{
    void *to = (char *)opts + o->offset;
    const char *text = json_string_value(v);
    bool flag = json_is_true(v);
    uint64_t number = (uint64_t)json_integer_value(v);
    switch (o->kind) {
    case PROP_OPT_FLAG: memcpy(to, &flag, sizeof flag); return 0;
    case PROP_OPT_STRING: memcpy(to, &text, sizeof text); return 0;
    case PROP_OPT_LIST: return set_list(v, to, err);
    case PROP_OPT_U64:
    case PROP_OPT_SIZE:
    case PROP_OPT_DURATION: memcpy(to, &number, sizeof number); return 0;
    }
    return 0;
}

int proppush_opts_restore(struct prop_cli *cli, const struct prop_opt *table, const json_t *kept,
                          const char *const *own, void *opts, struct prop_err *err)
{
    for (const struct prop_opt *o = table; o->name != NULL; o++) {
        const json_t *v = json_object_get(kept, o->name);
        if (is_in(o->name, own) && prop_cli_given(cli, o->name))
            continue;
        int rc = v != NULL ? set_value(o, v, opts, err) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}
