/* Reading WWW-Authenticate. Commas separate parameters and challenges alike, so a name is a
 * parameter when "=" and a value follow, and a scheme otherwise. */
#include "oci/challenge.h"

#include "util/mem.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHALLENGES_MAX 16
#define SCOPES_MAX 64

static int malformed(struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_REMOTE, "bad-challenge",
                           "the registry sent a malformed WWW-Authenticate header");
}

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static size_t token_len(const char *p)
{
    size_t n = 0;

    while (is_token(p[n]))
        n++;
    return n;
}

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* Length of `"..."` with its quotes, or 0 when it has no end. */
static size_t quoted_len(const char *p)
{
    size_t n = 1;

    while (p[n] != '"') {
        if (p[n] == '\\' && p[n + 1] != '\0')
            n++;
        if (p[n] == '\0')
            return 0;
        n++;
    }
    return n + 1;
}

static char *unquote(const char *p, size_t len)
{
    char *out = prop_alloc(len + 1);
    size_t n = 0;

    if (out == NULL)
        return NULL;
    for (size_t i = 1; i + 1 < len; i++) {
        if (p[i] == '\\')
            i++;
        out[n++] = p[i];
    }
    out[n] = '\0';
    return out;
}

static int new_challenge(struct prop_challenges *all, const char *scheme, size_t len,
                         struct prop_err *err)
{
    struct prop_challenge *grown, c = { 0 };

    if (all->n == CHALLENGES_MAX)
        return malformed(err);
    grown = prop_realloc_array(all->items, all->n + 1, sizeof(*grown));
    if (grown == NULL)
        return prop_err_nomem(err);
    all->items = grown;
    c.scheme = prop_strndup(scheme, len);
    if (c.scheme == NULL)
        return prop_err_nomem(err);
    for (char *s = c.scheme; *s != '\0'; s++)
        *s = (char)tolower((unsigned char)*s);
    all->items[all->n++] = c;
    return 0;
}

/* Keep `name=value`; the first of a name counts. Takes `value`. */
static void keep_param(struct prop_challenge *c, const char *name, size_t len, char *value)
{
    static const struct {
        const char *name;
        size_t offset;
    } known[] = { { "realm", offsetof(struct prop_challenge, realm) },
                  { "service", offsetof(struct prop_challenge, service) },
                  { "scope", offsetof(struct prop_challenge, scope) },
                  { "error", offsetof(struct prop_challenge, error) } };

    for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++) {
        char **field = (char **)(void *)((char *)c + known[i].offset);

        if (strlen(known[i].name) == len && strncasecmp(known[i].name, name, len) == 0 &&
            *field == NULL) {
            *field = value;
            return;
        }
    }
    prop_free(value);
}

/* `p` stands after "name=". Returns what follows the value, or NULL with err filled. */
static const char *read_value(struct prop_challenges *all, const char *name, size_t name_len,
                              const char *p, struct prop_err *err)
{
    size_t len = *p == '"' ? quoted_len(p) : token_len(p);
    char *value;

    if (len == 0 || all->n == 0) {
        malformed(err);
        return NULL;
    }
    value = *p == '"' ? unquote(p, len) : prop_strndup(p, len);
    if (value == NULL) {
        prop_err_nomem(err);
        return NULL;
    }
    keep_param(&all->items[all->n - 1], name, name_len, value);
    return p + len;
}

/* "scheme token68": text that ends in any number of "=". Its length, or 0 when it is a parameter. */
static size_t token68_len(const char *p)
{
    size_t n = 0;

    while (isalnum((unsigned char)p[n]) || (p[n] != '\0' && strchr("-._~+/", p[n]) != NULL))
        n++;
    if (n == 0)
        return 0;
    while (p[n] == '=')
        n++;
    return *skip_space(p + n) == '\0' || *skip_space(p + n) == ',' ? n : 0;
}

int prop_challenges_add(struct prop_challenges *all, const char *header, struct prop_err *err)
{
    const char *p = header, *after;
    size_t before = all->n, len;
    int rc;

    for (;;) {
        while (*p == ',' || *p == ' ' || *p == '\t')
            p++;
        if (*p == '\0')
            return all->n > before ? 0 : malformed(err);
        len = token_len(p);
        if (len == 0)
            return malformed(err);
        after = skip_space(p + len);
        if (*after == '=') {
            if (all->n == before)
                return malformed(err);
            p = read_value(all, p, len, skip_space(after + 1), err);
            if (p == NULL)
                return err != NULL ? (int)err->code : PROP_E_REMOTE;
        } else {
            rc = new_challenge(all, p, len, err);
            if (rc < 0)
                return rc;
            p = after + token68_len(after);
            continue; /* its first parameter follows without a comma */
        }
        p = skip_space(p);
        if (*p != ',' && *p != '\0')
            return malformed(err);
    }
}

void prop_challenges_release(struct prop_challenges *all)
{
    for (size_t i = 0; i < all->n; i++) {
        prop_free(all->items[i].scheme);
        prop_free(all->items[i].realm);
        prop_free(all->items[i].service);
        prop_free(all->items[i].scope);
        prop_free(all->items[i].error);
    }
    prop_free(all->items);
    all->items = NULL;
    all->n = 0;
}

const struct prop_challenge *prop_challenges_find(const struct prop_challenges *all,
                                                  const char *scheme)
{
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->items[i].scheme, scheme) == 0)
            return &all->items[i];
    }
    return NULL;
}

/* --- scopes --- */

struct pair {
    const char *resource; /* "type:name", not terminated */
    size_t resource_len;
    const char *action;
    size_t action_len;
};

/* Split "type:name:a,b type:name:c" into one pair per action. */
static size_t split_scopes(const char *text, struct pair *out, size_t n)
{
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, " ");
        const char *colon = memrchr(text, ':', len), *end = text + len;

        for (const char *a = colon != NULL ? colon + 1 : end; a < end && n < SCOPES_MAX;) {
            size_t action = (size_t)(end - a);
            const char *comma = memchr(a, ',', action);

            if (comma != NULL)
                action = (size_t)(comma - a);
            if (action > 0)
                out[n++] = (struct pair){ text, (size_t)(colon - text), a, action };
            a += action + 1;
        }
        text = end + strspn(end, " ");
    }
    return n;
}

static int compare_span(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

static int compare_pairs(const void *x, const void *y)
{
    const struct pair *a = x, *b = y;
    int c = compare_span(a->resource, a->resource_len, b->resource, b->resource_len);

    return c != 0 ? c : compare_span(a->action, a->action_len, b->action, b->action_len);
}

char *prop_scope_unite(const char *a, const char *b)
{
    struct pair pairs[SCOPES_MAX];
    size_t n = split_scopes(b, pairs, split_scopes(a, pairs, 0)), used = 0;
    char *out = prop_alloc((a != NULL ? strlen(a) : 0) * 2 + (b != NULL ? strlen(b) : 0) * 2 + 8);

    if (out == NULL)
        return NULL;
    qsort(pairs, n, sizeof(pairs[0]), compare_pairs);
    for (size_t i = 0; i < n; i++) {
        const struct pair *p = &pairs[i];
        bool same = i > 0 && compare_span(p->resource, p->resource_len, p[-1].resource,
                                          p[-1].resource_len) == 0;

        if (same && compare_pairs(p, p - 1) == 0)
            continue;
        if (same) {
            out[used++] = ',';
        } else {
            if (used > 0)
                out[used++] = ' ';
            memcpy(out + used, p->resource, p->resource_len);
            used += p->resource_len;
            out[used++] = ':';
        }
        memcpy(out + used, p->action, p->action_len);
        used += p->action_len;
    }
    out[used] = '\0';
    return out;
}
