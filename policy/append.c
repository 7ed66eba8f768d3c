/* Text edits. The caller parses the outcome again and compares, so a text that is read differently
 * here than by the parser is found out before anything is written. */
#include "policy/append.h"

#include <stdbool.h>
#include <string.h>

/* A JSON text is a TOML value too, except that TOML wants DEL escaped. */
static int put_string(struct prop_buf *out, const json_t *v, struct prop_err *err)
{
    prop_auto_free char *text = prop_json_compact(v);
    if (text == NULL)
        return prop_err_nomem(err);
    for (const char *p = text; *p != 0;) {
        size_t n = strcspn(p, "\x7f");
        int rc = prop_buf_add(out, p, n, err);
        p += n;
        if (rc == 0 && *p != 0) {
            rc = prop_buf_puts(out, "\\u007f", err);
            p++;
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int put_list(struct prop_buf *out, const json_t *list, struct prop_err *err)
{
    int rc = prop_buf_puts(out, "[", err);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        rc = prop_buf_printf(out, err, "%s\"sha384:", i > 0 ? ", " : "");
        if (rc == 0)
            rc = prop_buf_printf(out, err, "%s\"", json_string_value(json_array_get(list, i)));
    }
    return rc == 0 ? prop_buf_puts(out, "]", err) : rc;
}

static int put_rule(struct prop_buf *out, const json_t *rule, struct prop_err *err)
{
    const char *key;
    json_t *v;
    int rc = prop_buf_puts(out, "\n[[rule]]\n", err);
    json_object_foreach ((json_t *)(uintptr_t)rule, key, v) {
        if (rc == 0)
            rc = prop_buf_printf(out, err, "%s = ", key);
        if (rc == 0 && json_is_true(v))
            rc = prop_buf_puts(out, "true", err);
        else if (rc == 0)
            rc = json_is_array(v) ? put_list(out, v, err) : put_string(out, v, err);
        if (rc == 0)
            rc = prop_buf_puts(out, "\n", err);
    }
    return rc;
}

int prop_policy_append_toml(const char *text, size_t len, const json_t *rules, size_t first,
                            struct prop_buf *out, struct prop_err *err)
{
    int rc = prop_buf_add(out, text, len, err);
    if (rc == 0 && len > 0 && text[len - 1] != '\n')
        rc = prop_buf_puts(out, "\n", err);
    for (size_t i = first; rc == 0 && i < json_array_size(rules); i++)
        rc = put_rule(out, json_array_get(rules, i), err);
    return rc;
}

/* End of the string that starts at text[i] ('"'): the index behind its closing quote. */
static size_t skip_string(const char *text, size_t len, size_t i)
{
    for (i++; i < len && text[i] != '"'; i++)
        if (text[i] == '\\')
            i++;
    return i < len ? i + 1 : len;
}

static size_t skip_space(const char *text, size_t len, size_t i)
{
    while (i < len && strchr(" \t\r\n", text[i]) != NULL)
        i++;
    return i;
}

/* Where things stand in the text: the '[' and ']' of the outermost "rule", the last '}'. */
struct places {
    size_t open, close, end;
    bool found;
};

/* Does a member "rule" with an array start at text[i]? Then where its '[' is. */
static bool rule_member(const char *text, size_t len, size_t i, size_t after, size_t *ret_open)
{
    static const char name[] = "\"rule\"";
    if (after - i != sizeof name - 1 || memcmp(text + i, name, sizeof name - 1) != 0)
        return false;
    size_t p = skip_space(text, len, after);
    if (p >= len || text[p] != ':')
        return false;
    p = skip_space(text, len, p + 1);
    *ret_open = p;
    return p < len && text[p] == '[';
}

static struct places find_places(const char *text, size_t len)
{
    struct places at = { 0, 0, 0, false };
    size_t depth = 0;
    for (size_t i = 0; i < len;) {
        char c = text[i];
        if (c == '"') {
            size_t after = skip_string(text, len, i);
            size_t open = 0;
            if (depth == 1 && rule_member(text, len, i, after, &open)) {
                at.found = true;
                at.open = open;
            }
            i = after;
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        if ((c == '}' || c == ']') && depth > 0)
            depth--;
        if (c == ']' && depth == 1 && at.found && at.close == 0 && i > at.open)
            at.close = i;
        if (c == '}' && depth == 0)
            at.end = i;
        i++;
    }
    return at;
}

static int put_elements(struct prop_buf *out, const json_t *rules, size_t first, bool comma,
                        struct prop_err *err)
{
    int rc = 0;
    for (size_t i = first; rc == 0 && i < json_array_size(rules); i++) {
        prop_auto_free char *text = prop_json_compact(json_array_get(rules, i));
        if (text == NULL)
            return prop_err_nomem(err);
        rc = prop_buf_printf(out, err, "%s\n    ", comma || i > first ? "," : "");
        if (rc == 0)
            rc = prop_buf_puts(out, text, err);
    }
    return rc;
}

/* Index behind the last character that is not white space before `i`. */
static size_t back_over_space(const char *text, size_t i)
{
    while (i > 0 && strchr(" \t\r\n", text[i - 1]) != NULL)
        i--;
    return i;
}

int prop_policy_append_json(const char *text, size_t len, const json_t *rules, size_t first,
                            struct prop_buf *out, struct prop_err *err)
{
    struct places at = find_places(text, len);
    size_t stop = at.found ? at.close : at.end;
    if (stop == 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "policy-form",
                               "the list of rules is not where it is looked for");
    size_t cut = back_over_space(text, stop);
    bool empty = at.found && cut == at.open + 1;
    int rc = prop_buf_add(out, text, cut, err);
    if (rc == 0 && !at.found)
        rc = prop_buf_puts(out, ",\n  \"rule\": [", err);
    if (rc == 0)
        rc = put_elements(out, rules, first, at.found && !empty, err);
    if (rc == 0 && (!at.found || empty))
        rc = prop_buf_puts(out, "\n  ", err);
    if (rc == 0 && !at.found)
        rc = prop_buf_puts(out, "]", err);
    /* What stood before the bracket stays: only between "[" and "]" of an empty list it would be
     * doubled. */
    size_t rest = empty ? stop : cut;
    return rc == 0 ? prop_buf_add(out, text + rest, len - rest, err) : rc;
}
