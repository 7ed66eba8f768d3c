/* Findings are collected, sorted and given as they are; nothing here stops at the first. */
#include "policy/lint_internal.h"

#include "policy/cases_file.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 700
#define BASE64_LEAST 16 /* characters that may be base64 of a policy */

void prop_lint_nomem(struct prop_lint *l)
{
    if (l->rc == 0)
        l->rc = prop_err_nomem(l->err);
}

void prop_lint_add(struct prop_lint *l, size_t line, enum prop_severity severity, const char *rule,
                   const char *fmt, ...)
{
    static const char *const words[] = { "note", "warning", "error" };
    char text[MESSAGE_MAX];
    char shown[MESSAGE_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)prop_printable(text, strlen(text), shown, sizeof shown);
    prop_auto_free char *key = prop_asprintf("%zu %s %s", line, rule, shown);
    if (key == NULL || l->rc != 0) {
        prop_lint_nomem(l);
        return;
    }
    if (json_object_get(l->seen, key) != NULL)
        return;
    json_t *one = json_pack("{s:I, s:s, s:s, s:s}", "line", (json_int_t)line, "severity",
                            words[severity], "rule", rule, "message", shown);
    if (one == NULL || json_array_append_new(l->findings, one) != 0 ||
        json_object_set_new(l->seen, key, json_true()) != 0)
        prop_lint_nomem(l);
}

void prop_lint_failure(struct prop_lint *l, const char *rule, const struct prop_err *why)
{
    const char *at = strstr(why->message, "line ");
    const char *message = why->message;
    size_t line = 0;
    size_t head = strlen(l->name);

    /* "policy 'x.rego': line 2, column 1: what", or "x.toml:2: what": file and line stand in front
     * already */
    if (strncmp(message, l->name, head) == 0 && message[head] == ':') {
        char *end = NULL;
        line = strtoul(message + head + 1, &end, 10);
        message = *end == ':' ? end + 1 : end;
        message += strspn(message, " ");
    } else if (at != NULL) {
        line = strtoul(at + strlen("line "), NULL, 10);
        at = strstr(at, ": ");
        message = at != NULL ? at + 2 : message;
    }
    prop_lint_add(l, line, PROP_LINT_ERROR, rule, "%s", message);
}

/* --- the text as such ------------------------------------------------------------------------- */

static bool is_base64(const char *text, size_t len, bool *ret_url, bool *ret_padded)
{
    size_t n = 0;
    bool standard = false;
    *ret_url = *ret_padded = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (strchr(" \t\r\n", c) != NULL)
            continue;
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        *ret_url = *ret_url || c == '-' || c == '_';
        standard = standard || c == '+' || c == '/';
        if (*ret_padded && c != '=')
            return false;
        *ret_padded = *ret_padded || c == '=';
        if (!plain && strchr("+/-_=", c) == NULL)
            return false;
        n++;
    }
    return n >= BASE64_LEAST && !(standard && *ret_url);
}

/* Decode whatever of the alphabets it is. */
static bool decode(const char *text, size_t len, char *out, size_t size)
{
    unsigned bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++) {
        char c = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
        int v = prop_b64_digit(PROP_B64_STD, c);
        if (v < 0)
            continue;
        bits = (bits << 6 | (unsigned)v) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (char)(bits >> n_bits & 0xff);
        }
    }
    out[n] = '\0';
    return strstr(out, "package") != NULL || strstr(out, "allow") != NULL ||
           strstr(out, "version") != NULL;
}

static bool check_base64(struct prop_lint *l)
{
    char head[2048];
    bool url = false;
    bool padded = false;
    if (!is_base64(l->text, l->len, &url, &padded) ||
        !decode(l->text, l->len, head, sizeof head))
        return true;
    prop_lint_add(
        l, 1, PROP_LINT_ERROR, "base64",
        "this is a policy in base64 (%s alphabet, %s padding), not a policy: give the text "
        "itself, uploading encodes it",
        url ? "URL-safe" : "standard", padded ? "with" : "without");
    return false;
}

/* {"policy": "<base64>"}: the body of a request to the key broker. */
static bool check_request(struct prop_lint *l)
{
    prop_auto_json json_t *v = NULL;
    if (l->text[strspn(l->text, " \t\r\n")] != '{')
        return true;
    if (prop_json_parse(l->text, l->len, l->name, &v, NULL) != 0 ||
        !json_is_string(json_object_get(v, "policy")))
        return true;
    prop_lint_add(
        l, 1, PROP_LINT_ERROR, "base64",
        "this is the body of an upload, with the policy in base64: give the policy itself");
    return false;
}

static void check_line_ends(struct prop_lint *l)
{
    const char *cr = memchr(l->text, '\r', l->len);
    size_t line = 1;
    if (cr == NULL)
        return;
    for (const char *p = l->text; p < cr; p++)
        line += *p == '\n';
    prop_lint_add(
        l, line, PROP_LINT_WARNING, "line-ends",
        "lines end with CR LF: the text that is uploaded, and its digest, differ from the "
        "same file with LF");
}

bool prop_lint_text(struct prop_lint *l)
{
    size_t good = 0;
    if (l->len == 0) {
        prop_lint_add(l, 0, PROP_LINT_ERROR, "empty", "the file is empty");
        return false;
    }
    if (memchr(l->text, 0, l->len) != NULL) {
        bool wide = l->len > 3 && (l->text[1] == '\0' || l->text[3] == '\0' || l->text[0] == '\0');
        prop_lint_add(l, 1, PROP_LINT_ERROR, "not-text", "the file has NUL bytes%s",
                      wide ? ": it looks like UTF-16, policies are UTF-8" : "");
        return false;
    }
    if (l->len >= 3 && memcmp(l->text, "\xef\xbb\xbf", 3) == 0) {
        prop_lint_add(l, 1, PROP_LINT_ERROR, "byte-order-mark",
                      "the file begins with a byte order mark, which key brokers refuse");
        l->text += 3;
        l->len -= 3;
    }
    while (good < l->len) {
        size_t n = prop_utf8_len((const uint8_t *)l->text + good, l->len - good);
        if (n == 0)
            break;
        good += n;
    }
    if (good < l->len) {
        prop_lint_add(l, 1, PROP_LINT_ERROR, "not-text", "not UTF-8 at byte %zu", good);
        return false;
    }
    check_line_ends(l);
    return check_base64(l) && check_request(l);
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* Words such as "if", which every rule with a body has, are words of the older dialect only when
 * they are imported. */
static void check_dialect(struct prop_lint *l)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(l->outline, "imports"), i, one) {
        const char *path = prop_outline_text(one, "path");
        if (strcmp(path, "rego.v1") == 0 || prop_starts_with(path, "future.keywords"))
            return;
    }
    prop_lint_add(l, prop_outline_line(l->outline), PROP_LINT_WARNING, "no-import",
                  "without 'import rego.v1' servers up to v0.16 refuse this text");
}

bool prop_lint_parse(struct prop_lint *l)
{
    struct prop_err why = PROP_ERR_INIT;
    int rc = prop_policy_judge_new_rego(l->name, l->text, l->len, &l->judge, &why);
    if (rc == 0)
        rc = prop_policy_judge_outline(l->judge, &l->outline, &why);
    if (rc == 0) {
        check_dialect(l);
        return true;
    }
    if (rc != PROP_E_INPUT && rc != PROP_E_LIMIT) {
        l->rc = rc;
        if (l->err != NULL)
            *l->err = why;
    } else if (strstr(why.message, "keyword is required") != NULL) {
        prop_lint_failure(l, "rego-v0", &why);
        prop_lint_add(l, 1, PROP_LINT_ERROR, "rego-v0",
                      "this is Rego of before v1, which key brokers refuse since v0.17: write "
                      "'import rego.v1', and 'if' before each body");
    } else {
        prop_lint_failure(l, prop_err_id(&why), &why);
    }
    return false;
}

/* --- putting it together ---------------------------------------------------------------------- */

struct place {
    size_t line, i;
    json_t *finding;
};

static int by_line(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->line != y->line)
        return x->line > y->line ? 1 : -1;
    return (x->i > y->i) - (x->i < y->i);
}

/* The findings by line, those of one line in the order they were made. */
static int sorted(const json_t *list, json_t **ret, struct prop_err *err)
{
    size_t n = json_array_size(list);
    prop_auto_json json_t *out = json_array();
    struct place *all = prop_realloc_array(NULL, n + 1, sizeof *all);
    prop_auto_free void *free_all = all;
    if (out == NULL || all == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_array_get(list, i);
        all[i] = (struct place){ prop_outline_line(one), i, one };
    }
    qsort(all, n, sizeof *all, by_line);
    for (size_t i = 0; i < n; i++)
        if (json_array_append(out, all[i].finding) != 0)
            return prop_err_nomem(err);
    *ret = PROP_TAKE(out);
    return 0;
}

static int begin(struct prop_lint *l)
{
    l->findings = json_array();
    l->seen = json_object();
    l->paths = json_object();
    l->pins = json_object();
    return l->findings != NULL && l->seen != NULL && l->paths != NULL && l->pins != NULL
               ? 0
               : prop_err_nomem(l->err);
}

static int end(struct prop_lint *l, json_t **ret)
{
    if (l->rc == 0)
        l->rc = sorted(l->findings, ret, l->err);
    prop_policy_judge_free(l->judge);
    json_decref(l->findings);
    json_decref(l->seen);
    json_decref(l->paths);
    json_decref(l->pins);
    return l->rc;
}

/* A file of test cases among the policies it is for: a whole folder can be linted. */
static bool lint_cases(struct prop_lint *l)
{
    prop_auto_json json_t *cases = NULL;
    struct prop_err why = PROP_ERR_INIT;
    if (!prop_ends_with(l->name, ".cases.toml") && !prop_ends_with(l->name, ".cases.json"))
        return false;
    if (prop_cases_read(l->name, PROP_CASES_APPRAISAL, &cases, NULL) != 0 &&
        prop_cases_read(l->name, PROP_CASES_DECISION, &cases, &why) != 0)
        prop_lint_failure(l, prop_err_id(&why), &why);
    return true;
}

int prop_policy_lint(const char *name, const char *text, size_t len,
                     const struct prop_lint_options *o, json_t **ret, struct prop_err *err)
{
    static const char *const also[] = { NULL };
    struct prop_lint l = { .name = name, .text = text, .len = len, .options = o, .err = err };
    l.rc = begin(&l);
    if (l.rc == 0 && prop_lint_text(&l) && !lint_cases(&l)) {
        if (prop_policy_is_document(name, l.text, l.len)) {
            prop_lint_document(&l);
        } else if (prop_lint_parse(&l)) {
            prop_lint_names(&l, "allow", also);
            prop_lint_rules(&l);
            prop_lint_claims(&l);
            prop_lint_ask(&l);
        }
    }
    return end(&l, ret);
}

int prop_attestation_lint(const char *name, const char *text, size_t len,
                          const struct prop_lint_options *o, json_t **ret, struct prop_err *err)
{
    static const char *const also[] = { "extensions", NULL };
    struct prop_lint l = { .name = name, .text = text, .len = len, .options = o, .err = err };
    l.rc = begin(&l);
    if (l.rc == 0 && prop_lint_text(&l) && prop_lint_parse(&l)) {
        prop_lint_names(&l, "trust_claims", also);
        prop_lint_attestation(&l);
    }
    return end(&l, ret);
}
