/* Reasons as lines of text. */
#include "policy/explain.h"

#include "policy/outline.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

#define CONDITION_MAX 160 /* characters of a condition or value that are shown */

/* One line of it, blanks together, printable, not too long. */
static int put_short(struct prop_buf *out, const char *text, struct prop_err *err)
{
    char line[CONDITION_MAX + 1];
    char shown[4 * CONDITION_MAX + 1];
    size_t n = 0;
    bool blank = false;
    for (; *text != '\0' && n < CONDITION_MAX; text++) {
        bool space = strchr(" \t\r\n", *text) != NULL;
        if (!space || (!blank && n > 0))
            line[n++] = space ? ' ' : *text;
        blank = space;
    }
    while (*text != '\0' && n > 0 && ((unsigned char)*text & 0xc0) == 0x80)
        text--, n--; /* not in the middle of a character */
    line[n] = '\0';
    int rc = prop_buf_puts(out, prop_printable(line, n, shown, sizeof shown), err);
    return rc == 0 && *text != '\0' ? prop_buf_puts(out, " ...", err) : rc;
}

static int put_value(struct prop_buf *out, const json_t *value, struct prop_err *err)
{
    const char *name = prop_outline_text(value, "text");
    const json_t *v = json_object_get(value, "value");
    int rc = put_short(out, name, err);
    if (rc != 0)
        return rc;
    if (v != NULL) {
        prop_auto_free char *text = prop_json_compact(v);
        if (text == NULL)
            return prop_err_nomem(err);
        rc = prop_buf_puts(out, " is ", err);
        return rc == 0 ? put_short(out, text, err) : rc;
    }
    rc = prop_buf_puts(out, " is undefined", err);
    const char *missing = prop_outline_text(value, "missing");
    if (rc == 0 && *missing != '\0') {
        rc = prop_buf_puts(out, ": ", err);
        if (rc == 0)
            rc = put_short(out, missing, err);
    }
    return rc;
}

static int put_values(struct prop_buf *out, const json_t *values, struct prop_err *err)
{
    size_t i;
    json_t *one;
    int rc = 0;
    json_array_foreach(values, i, one) {
        if (rc == 0 && i > 0)
            rc = prop_buf_puts(out, ", ", err);
        if (rc == 0)
            rc = put_value(out, one, err);
    }
    return rc;
}

static int put_condition(struct prop_buf *out, const json_t *c, size_t indent, struct prop_err *err)
{
    const json_t *values = json_object_get(c, "values");
    bool good = json_is_true(json_object_get(c, "holds"));
    int rc = prop_buf_printf(out, err, "%*s%s line %zu: ", (int)indent, "",
                             good ? "ok   " : "FAILS", prop_outline_line(c));
    if (rc == 0)
        rc = put_short(out, prop_outline_text(c, "text"), err);
    if (rc == 0 && json_array_size(values) > 0) {
        rc = prop_buf_printf(out, err, "\n%*s", (int)indent + 6, "");
        if (rc == 0)
            rc = put_values(out, values, err);
    }
    if (rc == 0)
        rc = prop_buf_puts(out, "\n", err);
    return rc == 0 ? prop_policy_explain_text(json_object_get(c, "because"), indent + 6, out, err)
                   : rc;
}

int prop_policy_explain_text(const json_t *why, size_t indent, struct prop_buf *out,
                             struct prop_err *err)
{
    size_t i;
    json_t *one;
    int rc = 0;
    json_array_foreach(why, i, one) {
        const json_t *conditions = json_object_get(one, "conditions");
        const char *comment = prop_outline_text(one, "comment");
        size_t of = (size_t)json_integer_value(json_object_get(one, "of"));
        size_t k;
        json_t *c;
        rc = prop_buf_printf(out, err, "%*srule '%s', line %zu", (int)indent, "",
                             prop_outline_text(one, "rule"), prop_outline_line(one));
        if (rc == 0 && *comment != '\0')
            rc = prop_buf_puts(out, " (", err);
        if (rc == 0 && *comment != '\0')
            rc = put_short(out, comment, err);
        if (rc == 0 && *comment != '\0')
            rc = prop_buf_puts(out, ")", err);
        if (rc == 0 && json_is_true(json_object_get(one, "holds")))
            rc = prop_buf_puts(out, ": holds\n", err);
        else if (rc == 0)
            rc = prop_buf_printf(out, err, ": condition %zu of %zu fails\n",
                                 json_array_size(conditions), of);
        json_array_foreach(conditions, k, c)
            if (rc == 0)
                rc = put_condition(out, c, indent + 2, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The innermost failing condition of the first way. */
static const json_t *first_cause(const json_t *why)
{
    const json_t *found = NULL;
    while (json_array_size(why) > 0) {
        const json_t *list = json_object_get(json_array_get(why, 0), "conditions");
        const json_t *last = json_array_get(list, json_array_size(list) - 1);
        if (last == NULL || json_is_true(json_object_get(last, "holds")))
            break;
        found = last;
        why = json_object_get(last, "because");
    }
    return found;
}

int prop_policy_explain_line(const json_t *why, struct prop_buf *out, struct prop_err *err)
{
    const json_t *c = first_cause(why);
    if (c == NULL)
        return 0;
    int rc = prop_buf_printf(out, err, "line %zu: ", prop_outline_line(c));
    if (rc == 0)
        rc = put_short(out, prop_outline_text(c, "text"), err);
    if (rc == 0 && json_array_size(json_object_get(c, "values")) > 0) {
        rc = prop_buf_puts(out, " (", err);
        if (rc == 0)
            rc = put_values(out, json_object_get(c, "values"), err);
        if (rc == 0)
            rc = prop_buf_puts(out, ")", err);
    }
    return rc;
}
