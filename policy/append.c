/* Text edits. The caller parses the outcome again and compares, so a text that is read differently
 * here than by the parser is found out before anything is written. */
#include "policy/append.h"

#include "policy/position.h"
#include "util/limits.h"
#include "util/text.h"

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

static int put_list(struct prop_buf *out, const json_t *list, const char *prefix,
                    struct prop_err *err)
{
    int rc = prop_buf_puts(out, "[", err);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        prop_auto_json json_t *v =
            json_sprintf("%s%s", prefix, json_string_value(json_array_get(list, i)));
        rc = v != NULL ? prop_buf_puts(out, i > 0 ? ", " : "", err) : prop_err_nomem(err);
        if (rc == 0)
            rc = put_string(out, v, err);
    }
    return rc == 0 ? prop_buf_puts(out, "]", err) : rc;
}

/* Texts, numbers, truth values and tables of them; nesting is bounded (rule_pins.c). */
static int put_value(struct prop_buf *out, const json_t *v, struct prop_err *err)
{
    const char *key;
    json_t *inner;
    bool first = true;
    if (!json_is_object(v))
        return put_string(out, v, err);
    int rc = prop_buf_puts(out, "{ ", err);
    json_object_foreach ((json_t *)(uintptr_t)v, key, inner) {
        prop_auto_json json_t *name = json_string(key);
        if (name == NULL)
            return prop_err_nomem(err);
        if (rc == 0)
            rc = prop_buf_puts(out, first ? "" : ", ", err);
        if (rc == 0)
            rc = put_string(out, name, err);
        if (rc == 0)
            rc = prop_buf_puts(out, " = ", err);
        if (rc == 0)
            rc = put_value(out, inner, err);
        first = false;
    }
    return rc == 0 ? prop_buf_puts(out, " }", err) : rc;
}

static int put_rule(struct prop_buf *out, const json_t *rule, struct prop_err *err)
{
    const char *key;
    json_t *v;
    int rc = prop_buf_puts(out, "\n[[rule]]\n", err);
    json_object_foreach ((json_t *)(uintptr_t)rule, key, v) {
        /* The normal form has bare hex; people write what kind of digest it is. */
        bool hex = strcmp(key, "measurement") == 0 || prop_starts_with(key, "rtmr_");
        if (rc == 0)
            rc = prop_buf_printf(out, err, "%s = ", key);
        if (rc == 0)
            rc = json_is_array(v) ? put_list(out, v, hex ? "sha384:" : "", err)
                                  : put_value(out, v, err);
        if (rc == 0)
            rc = prop_buf_puts(out, "\n", err);
    }
    return rc;
}

/* The text with the line ends of the document it goes into. */
static int put_lines(struct prop_buf *out, const char *lines, bool crlf, struct prop_err *err)
{
    int rc = 0;
    while (rc == 0 && *lines != 0) {
        size_t n = strcspn(lines, "\n");
        rc = prop_buf_add(out, lines, n, err);
        if (rc == 0 && lines[n] != 0)
            rc = prop_buf_puts(out, crlf ? "\r\n" : "\n", err);
        lines += n + (lines[n] != 0);
    }
    return rc;
}

int prop_policy_append_toml(const char *text, size_t len, const json_t *rules, size_t first,
                            struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf more = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    const char *end = memchr(text, '\n', len);
    bool crlf = end != NULL && end > text && end[-1] == '\r';
    int rc = prop_buf_add(out, text, len, err);
    if (rc == 0 && len > 0 && text[len - 1] != '\n')
        rc = prop_buf_puts(&more, "\n", err);
    for (size_t i = first; rc == 0 && i < json_array_size(rules); i++)
        rc = put_rule(&more, json_array_get(rules, i), err);
    return rc == 0 ? put_lines(out, prop_buf_str(&more), crlf, err) : rc;
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

/* --- taking a rule out ------------------------------------------------------------------------- */

/* An element with the comma that parts it from its neighbour. */
static void widen_json(const char *text, size_t len, size_t *begin, size_t *end)
{
    size_t next = skip_space(text, len, *end);
    size_t before = back_over_space(text, *begin);
    if (next < len && text[next] == ',')
        *end = skip_space(text, len, next + 1);
    else if (before > 0 && text[before - 1] == ',')
        *begin = before - 1;
}

/* Where the blank line begins that ends before `i`; `i` itself when that line is not blank. */
static size_t over_blank_line(const char *text, size_t i)
{
    size_t p = i > 0 && text[i - 1] == '\n' ? i - 1 : i;
    while (p < i && p > 0 && strchr(" \t\r", text[p - 1]) != NULL)
        p--;
    return p == 0 || text[p - 1] == '\n' ? p : i;
}

/* Whole lines; of the blank lines around them, those behind go when there is one before, and those
 * before when nothing is behind. */
static void widen_toml(const char *text, size_t len, size_t *begin, size_t *end)
{
    while (*begin > 0 && text[*begin - 1] != '\n')
        (*begin)--;
    if (*end < len)
        (*end)++;
    size_t before = over_blank_line(text, *begin);
    bool blank = before < *begin || *begin == 0;
    for (; *end == len && before < *begin; before = over_blank_line(text, *begin))
        *begin = before; /* the last one: what parted it from the one before */
    while (blank && *end < len) {
        size_t p = *end + strspn(text + *end, " \t\r");
        if (p >= len || text[p] != '\n')
            return;
        *end = p + 1;
    }
}

int prop_policy_cut(const char *text, size_t len, bool json, size_t index, struct prop_buf *out,
                    struct prop_err *err)
{
    const struct prop_policy_step steps[] = { PROP_POLICY_MEMBER("rule"), PROP_POLICY_ELEMENT(index) };
    struct prop_policy_place at;
    prop_policy_find(text, len, json, steps, PROP_ARRAY_LEN(steps), &at);
    if (!at.whole || at.header == json) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "policy-form",
                              "rule %zu cannot be taken out without rewriting the document",
                              index + 1);
        return prop_err_hint(err, "write its rules as [[rule]] tables, or take the rule out by hand");
    }
    if (json)
        widen_json(text, len, &at.begin, &at.end);
    else
        widen_toml(text, len, &at.begin, &at.end);
    int rc = prop_buf_add(out, text, at.begin, err);
    return rc == 0 ? prop_buf_add(out, text + at.end, len - at.end, err) : rc;
}
