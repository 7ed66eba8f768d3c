/* Strict JSON: duplicate members, trailing bytes, deep nesting and over-long texts are refused;
 * objects are read through tables of fields, not key by key.
 *
 *     struct task { const char *name; bool encrypted; };
 *     static const struct prop_json_field task_fields[] = {
 *         { "name", PROP_JSON_STRING, offsetof(struct task, name), PROP_JSON_REQUIRED },
 *         { "encrypted", PROP_JSON_BOOL, offsetof(struct task, encrypted), 0 },
 *     };
 *     rc = prop_json_read(root, "task.json", task_fields, PROP_ARRAY_LEN(task_fields), &t, err);
 *
 * Strings and objects that are read this way are borrowed from the JSON value.
 */
#ifndef PROP_UTIL_JSON_H
#define PROP_UTIL_JSON_H

#include "util/buf.h"
#include "util/err.h"
#include "util/mem.h"

#include <jansson.h>
#include <stddef.h>

/* Parse one JSON text. `what` names it in errors ("manifest of 'x'"). Owned by the caller
 * (json_decref). Fails: PROP_E_INPUT (line and column are said), PROP_E_LIMIT (depth). */
int prop_json_parse(const char *text, size_t len, const char *what, json_t **ret,
                    struct prop_err *err);
/* prop_file_read and prop_json_parse. */
int prop_json_parse_file(const char *path, size_t max, json_t **ret, struct prop_err *err);

enum prop_json_kind {
    PROP_JSON_STRING, /* const char *; NUL inside is refused */
    PROP_JSON_BOOL,   /* bool */
    PROP_JSON_INT,    /* json_int_t (long long) */
    PROP_JSON_OBJECT, /* json_t *, borrowed */
    PROP_JSON_ARRAY,  /* json_t *, borrowed */
    PROP_JSON_ANY     /* json_t *, borrowed */
};
enum prop_json_flags {
    PROP_JSON_OPTIONAL = 0,
    PROP_JSON_REQUIRED = 1,
    PROP_JSON_NULLABLE = 2 /* null counts as absent */
};
struct prop_json_field {
    const char *name;
    enum prop_json_kind kind;
    size_t offset;
    unsigned flags;
};
/* Fill a struct from an object. Absent optional members leave the field as it was; unknown members
 * are ignored. Fails: PROP_E_INPUT naming `what`, the member and what it should be. */
int prop_json_read(const json_t *object, const char *what, const struct prop_json_field *fields,
                   size_t n_fields, void *out, struct prop_err *err);

/* Compact text in insertion order; or with sorted keys (the JCS of RFC 8785 for objects of strings,
 * which is all this project canonicalises). NULL when memory is out; free with prop_free. */
char *prop_json_compact(const json_t *v) __attribute__((warn_unused_result));
char *prop_json_sorted(const json_t *v) __attribute__((warn_unused_result));

static inline void prop_json_decref_p(json_t **v)
{
    json_decref(*v);
}
#define prop_auto_json __attribute__((cleanup(prop_json_decref_p)))

#endif
