/* Strict JSON on jansson: what its parser lets through (deep nesting) is checked behind it. */
#include "util/json.h"

#include "util/file.h"
#include "util/limits.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Nesting of a text, strings left out; without recursion, before jansson sees it. */
static bool too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > PROP_LIMIT_JSON_DEPTH)
                return true;
        } else if ((c == '}' || c == ']') && depth) {
            depth--;
        }
    }
    return false;
}

int prop_json_parse(const char *text, size_t len, const char *what, json_t **ret,
                    struct prop_err *err)
{
    json_error_t e;
    if (too_deep(text, len))
        return prop_err_set_id(err, PROP_E_LIMIT, "json-depth", "%s: nested deeper than %d", what,
                               PROP_LIMIT_JSON_DEPTH);
    json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v && json_error_code(&e) == json_error_out_of_memory)
        return prop_err_nomem(err);
    if (!v)
        return prop_err_set_id(err, PROP_E_INPUT, "json-syntax", "%s: line %d, column %d: %s", what,
                               e.line, e.column, e.text);
    *ret = v;
    return 0;
}

int prop_json_parse_file(const char *path, size_t max, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(max);
    int rc = prop_file_read(path, &text, err);
    if (rc)
        return rc;
    char what[300];
    (void)snprintf(what, sizeof what, "'%.280s'", path);
    return prop_json_parse(prop_buf_str(&text), text.len, what, ret, err);
}

static const char *kind_name(enum prop_json_kind kind)
{
    switch (kind) {
    case PROP_JSON_STRING: return "a string";
    case PROP_JSON_BOOL: return "true or false";
    case PROP_JSON_INT: return "a whole number";
    case PROP_JSON_OBJECT: return "an object";
    case PROP_JSON_ARRAY: return "an array";
    case PROP_JSON_ANY: break;
    }
    return "a value";
}

/* Store one member; false when it is of another kind. */
static bool store(const struct prop_json_field *f, json_t *v, char *field)
{
    switch (f->kind) {
    case PROP_JSON_STRING:
        if (!json_is_string(v))
            return false;
        *(const char **)(void *)field = json_string_value(v);
        return true;
    case PROP_JSON_BOOL:
        if (!json_is_boolean(v))
            return false;
        *(bool *)field = json_is_true(v);
        return true;
    case PROP_JSON_INT:
        if (!json_is_integer(v))
            return false;
        *(json_int_t *)(void *)field = json_integer_value(v);
        return true;
    case PROP_JSON_OBJECT:
    case PROP_JSON_ARRAY:
        if (f->kind == PROP_JSON_OBJECT ? !json_is_object(v) : !json_is_array(v))
            return false;
        break;
    case PROP_JSON_ANY:
        break;
    }
    *(json_t **)(void *)field = v;
    return true;
}

int prop_json_read(const json_t *object, const char *what, const struct prop_json_field *fields,
                   size_t n_fields, void *out, struct prop_err *err)
{
    if (!json_is_object(object))
        return prop_err_set_id(err, PROP_E_INPUT, "json-shape", "%s is not a JSON object", what);
    for (size_t i = 0; i < n_fields; i++) {
        const struct prop_json_field *f = &fields[i];
        json_t *v = json_object_get(object, f->name);
        if (!v || (json_is_null(v) && (f->flags & PROP_JSON_NULLABLE))) {
            if (f->flags & PROP_JSON_REQUIRED)
                return prop_err_set_id(err, PROP_E_INPUT, "json-shape", "%s: member '%s' is missing",
                                       what, f->name);
            continue;
        }
        if (!store(f, v, (char *)out + f->offset))
            return prop_err_set_id(err, PROP_E_INPUT, "json-shape", "%s: member '%s' is not %s", what,
                                   f->name, kind_name(f->kind));
    }
    return 0;
}

/* RFC 8785 writes \u001f with small letters, jansson with capital ones. */
static void lower_escapes(char *p)
{
    for (; *p; p++) {
        if (*p != '\\')
            continue;
        p++;
        for (int i = 1; *p == 'u' && i <= 4; i++)
            if (p[i] >= 'A' && p[i] <= 'F')
                p[i] = (char)(p[i] - 'A' + 'a');
    }
}

/* json_dumps allocates through the hooks; ours end in prop_free only after a copy. */
static char *dump(const json_t *v, size_t flags)
{
    size_t n = json_dumpb(v, NULL, 0, flags);
    char *p = n ? prop_alloc(n + 1) : NULL;
    if (!p)
        return NULL;
    if (json_dumpb(v, p, n, flags) != n) {
        prop_free(p);
        return NULL;
    }
    p[n] = 0;
    lower_escapes(p);
    return p;
}

char *prop_json_compact(const json_t *v)
{
    return dump(v, JSON_COMPACT | JSON_ENCODE_ANY);
}

char *prop_json_sorted(const json_t *v)
{
    return dump(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
}
