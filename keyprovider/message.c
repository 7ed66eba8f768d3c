#include "keyprovider/message.h"

#include "keyprovider/pot.h"
#include "keyprovider/scan.h"
#include "util/mem.h"

#include <stdbool.h>
#include <string.h>

#define NO_PARAMS "Enabled" /* ocicrypt's word for "provider:NAME" without PARAMS */

/* One of "keywrapparams" and "keyunwrapparams": how its members are called, and what they held. */
struct half {
    const char *config, *data_name;
    bool plain; /* the data may come as text that is no base64: ocicrypt.md 6.3 */
    struct prop_secret *data;
    struct prop_secret **params;
    size_t n_params;
    bool seen, seen_config, seen_data, seen_params;
};

struct reading {
    struct prop_kp_scan scan;
    const char *provider;
    struct half wrap, unwrap;
    enum prop_kp_op op;
};

static void params_free(struct prop_secret **params, size_t n)
{
    for (size_t i = 0; i < n; i++)
        prop_secret_free(params[i]);
    prop_free(params);
}

static void half_release(struct half *h)
{
    prop_secret_free(h->data);
    params_free(h->params, h->n_params);
}

void prop_kp_request_release(struct prop_kp_request *r)
{
    prop_secret_free(r->data);
    params_free(r->params, r->n_params);
    *r = (struct prop_kp_request)PROP_KP_REQUEST_INIT;
}

/* Said twice, a member means two things to two readers. */
static int once(const struct reading *r, bool *seen, struct prop_err *err)
{
    if (*seen)
        return prop_kp_scan_bad(&r->scan, "a member that was given before", err);
    *seen = true;
    return 0;
}

static int add_param(struct reading *r, struct half *h, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *p = NULL;
    if (h->n_params == PROP_KP_LIMIT_PARAMS)
        return prop_kp_scan_bad(&r->scan, "too many parameters", err);
    int rc = prop_kp_scan_bytes(&r->scan, false, &p, err);
    if (rc != 0)
        return rc;
    if (!p || memchr(prop_secret_data(p), 0, prop_secret_len(p)))
        return prop_kp_scan_bad(&r->scan, "a parameter that is no text before here", err);
    struct prop_secret **more = prop_realloc_array(h->params, h->n_params + 1, sizeof(*more));
    if (!more)
        return prop_err_nomem(err);
    h->params = more;
    h->params[h->n_params++] = PROP_TAKE(p);
    return 0;
}

/* The parameters given for us. */
static int read_ours(struct reading *r, struct half *h, struct prop_err *err)
{
    bool first = true;
    int rc = once(r, &h->seen_params, err);
    if (rc != 0 || prop_kp_scan_null(&r->scan))
        return rc;
    rc = prop_kp_scan_enter(&r->scan, '[', err);
    while (rc == 0 && (rc = prop_kp_scan_element(&r->scan, &first, err)) > 0)
        rc = add_param(r, h, err);
    return rc;
}

/* "Parameters": {name: [bytes, ...]}. What is there for other providers and schemes, private keys
 * among it, is passed over. */
static int read_parameters(struct reading *r, struct half *h, struct prop_err *err)
{
    char name[PROP_KP_NAME];
    bool first = true;
    if (prop_kp_scan_null(&r->scan))
        return 0;
    int rc = prop_kp_scan_enter(&r->scan, '{', err);
    while (rc == 0 && (rc = prop_kp_scan_member(&r->scan, &first, name, err)) > 0)
        rc = strcmp(name, r->provider) == 0 ? read_ours(r, h, err)
                                            : prop_kp_scan_skip(&r->scan, err);
    return rc;
}

/* "ec" or "dc". */
static int read_config(struct reading *r, struct half *h, struct prop_err *err)
{
    char name[PROP_KP_NAME];
    bool first = true, seen = false;
    if (prop_kp_scan_null(&r->scan))
        return 0;
    int rc = prop_kp_scan_enter(&r->scan, '{', err);
    while (rc == 0 && (rc = prop_kp_scan_member(&r->scan, &first, name, err)) > 0) {
        if (strcmp(name, "Parameters") != 0)
            rc = prop_kp_scan_skip(&r->scan, err);
        else if ((rc = once(r, &seen, err)) == 0)
            rc = read_parameters(r, h, err);
    }
    return rc;
}

static int read_half(struct reading *r, struct half *h, struct prop_err *err)
{
    char name[PROP_KP_NAME];
    bool first = true;
    int rc = once(r, &h->seen, err);
    if (rc != 0 || prop_kp_scan_null(&r->scan))
        return rc;
    rc = prop_kp_scan_enter(&r->scan, '{', err);
    while (rc == 0 && (rc = prop_kp_scan_member(&r->scan, &first, name, err)) > 0) {
        if (strcmp(name, h->config) == 0)
            rc = (rc = once(r, &h->seen_config, err)) != 0 ? rc : read_config(r, h, err);
        else if (strcmp(name, h->data_name) == 0)
            rc = (rc = once(r, &h->seen_data, err)) != 0
                     ? rc
                     : prop_kp_scan_bytes(&r->scan, h->plain, &h->data, err);
        else
            rc = prop_kp_scan_skip(&r->scan, err);
    }
    return rc;
}

static int read_op(struct reading *r, struct prop_err *err)
{
    char word[16];
    bool seen = r->op != PROP_KP_ANY;
    int rc = once(r, &seen, err);
    if (rc != 0 || prop_kp_scan_null(&r->scan))
        return rc;
    if ((rc = prop_kp_scan_word(&r->scan, word, sizeof word, err)) != 0)
        return rc;
    if (strcmp(word, "keywrap") == 0)
        r->op = PROP_KP_WRAP;
    else if (strcmp(word, "keyunwrap") == 0)
        r->op = PROP_KP_UNWRAP;
    else
        return prop_kp_scan_bad(&r->scan, "'op' is neither keywrap nor keyunwrap", err);
    return 0;
}

static int read_request(struct reading *r, struct prop_err *err)
{
    char name[PROP_KP_NAME];
    bool first = true;
    int rc = prop_kp_scan_enter(&r->scan, '{', err);
    while (rc == 0 && (rc = prop_kp_scan_member(&r->scan, &first, name, err)) > 0) {
        if (strcmp(name, "op") == 0)
            rc = read_op(r, err);
        else if (strcmp(name, "keywrapparams") == 0)
            rc = read_half(r, &r->wrap, err);
        else if (strcmp(name, "keyunwrapparams") == 0)
            rc = read_half(r, &r->unwrap, err);
        else
            rc = prop_kp_scan_skip(&r->scan, err);
    }
    return rc == 0 ? prop_kp_scan_finish(&r->scan, err) : rc;
}

static int incomplete(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_INPUT, "keyprovider-request", "key provider request: %s",
                           what);
}

/* Take what the operation needs out of the half that belongs to it. */
static int choose(struct reading *r, enum prop_kp_op only, struct prop_kp_request *ret,
                  struct prop_err *err)
{
    enum prop_kp_op op = r->op == PROP_KP_ANY ? only : r->op;
    if (op == PROP_KP_ANY)
        return incomplete(err, "member 'op' is missing");
    if (only != PROP_KP_ANY && op != only)
        return incomplete(err, "'op' is not what the method says");
    struct half *h = op == PROP_KP_WRAP ? &r->wrap : &r->unwrap;
    if (!h->data || prop_secret_len(h->data) == 0)
        return incomplete(err, op == PROP_KP_WRAP ? "keywrapparams.optsdata is missing"
                                                  : "keyunwrapparams.annotation is missing");
    ret->op = op;
    ret->data = PROP_TAKE(h->data);
    ret->params = PROP_TAKE(h->params);
    ret->n_params = h->n_params;
    h->n_params = 0;
    return 0;
}

int prop_kp_request_read(const struct prop_secret *text, const char *provider, enum prop_kp_op only,
                         struct prop_kp_request *ret, struct prop_err *err)
{
    struct reading r = {
        .provider = provider,
        .wrap = { .config = "ec", .data_name = "optsdata", .plain = true },
        .unwrap = { .config = "dc", .data_name = "annotation" },
        .op = PROP_KP_ANY,
    };
    prop_kp_scan_begin(&r.scan, text, "key provider request", PROP_E_INPUT, "keyprovider-request");
    int rc = prop_secret_len(text) > PROP_KP_LIMIT_MESSAGE ? incomplete(err, "it is too long")
                                                           : read_request(&r, err);
    if (rc == 0)
        rc = choose(&r, only, ret, err);
    half_release(&r.wrap);
    half_release(&r.unwrap);
    return rc;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* A JSON string of a provider's name. */
static int put_name(struct prop_kp_pot *p, const char *name, struct prop_err *err)
{
    static const char hex[] = "0123456789abcdef";
    int rc = prop_kp_pot_puts(p, "\"", err);
    for (; rc == 0 && *name; name++) {
        unsigned char c = (unsigned char)*name;
        char text[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
        bool escape = c < 0x20 || c == '"' || c == '\\';
        rc = escape ? prop_kp_pot_add(p, text, 6, err) : prop_kp_pot_add(p, name, 1, err);
    }
    return rc == 0 ? prop_kp_pot_puts(p, "\"", err) : rc;
}

static int put_base64(struct prop_kp_pot *p, const char *before, const void *data, size_t len,
                      const char *after, struct prop_err *err)
{
    int rc = prop_kp_pot_puts(p, before, err);
    if (rc == 0)
        rc = prop_kp_pot_base64(p, data, len, err);
    return rc == 0 ? prop_kp_pot_puts(p, after, err) : rc;
}

/* {"NAME":["...","..."]} */
static int put_parameters(struct prop_kp_pot *p, const char *provider, const char *const *params,
                          size_t n, struct prop_err *err)
{
    static const char *const none[] = { NO_PARAMS };
    if (n == 0) {
        params = none;
        n = 1;
    }
    int rc = prop_kp_pot_puts(p, "{", err);
    if (rc == 0)
        rc = put_name(p, provider, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = put_base64(p, i ? ",\"" : ":[\"", params[i], strlen(params[i]), "\"", err);
    return rc == 0 ? prop_kp_pot_puts(p, "]}", err) : rc;
}

int prop_kp_request_write(enum prop_kp_op op, const char *provider, const char *const *params,
                          size_t n_params, const void *data, size_t len, struct prop_secret **ret,
                          struct prop_err *err)
{
    prop_auto_kp_pot struct prop_kp_pot p = PROP_KP_POT_INIT(PROP_KP_LIMIT_MESSAGE);
    bool wrap = op == PROP_KP_WRAP;
    int rc = prop_kp_pot_puts(
        &p, wrap ? "{\"op\":\"keywrap\",\"keywrapparams\":{\"ec\":{\"Parameters\":"
                 : "{\"op\":\"keyunwrap\",\"keywrapparams\":{\"ec\":null,\"optsdata\":null},"
                   "\"keyunwrapparams\":{\"dc\":{\"Parameters\":", err);
    if (rc == 0)
        rc = put_parameters(&p, provider, params, n_params, err);
    if (rc == 0)
        rc = put_base64(&p, wrap ? ",\"DecryptConfig\":{\"Parameters\":{}}},\"optsdata\":\""
                                 : "},\"annotation\":\"", data, len, "\"", err);
    if (rc == 0)
        rc = prop_kp_pot_puts(&p, wrap ? "},\"keyunwrapparams\":{\"dc\":null,\"annotation\":null}}"
                                       : "}}", err);
    return rc == 0 ? prop_kp_pot_take(&p, ret, err) : rc;
}

static const char *results_name(enum prop_kp_op op)
{
    return op == PROP_KP_WRAP ? "keywrapresults" : "keyunwrapresults";
}

static const char *result_name(enum prop_kp_op op)
{
    return op == PROP_KP_WRAP ? "annotation" : "optsdata";
}

int prop_kp_reply_write(enum prop_kp_op op, const void *data, size_t len, struct prop_secret **ret,
                        struct prop_err *err)
{
    prop_auto_kp_pot struct prop_kp_pot p = PROP_KP_POT_INIT(PROP_KP_LIMIT_MESSAGE);
    const char *const before[] = { "{\"", results_name(op), "\":{\"", result_name(op), "\":" };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(before); i++)
        rc = prop_kp_pot_puts(&p, before[i], err);
    if (rc == 0)
        rc = prop_kp_pot_numbers(&p, data, len, err);
    if (rc == 0)
        rc = prop_kp_pot_puts(&p, "}}", err);
    return rc == 0 ? prop_kp_pot_take(&p, ret, err) : rc;
}

/* --- reading replies -------------------------------------------------------------------------- */

static int read_result(struct prop_kp_scan *s, const char *member, struct prop_secret **ret,
                       struct prop_err *err)
{
    char name[PROP_KP_NAME];
    bool first = true;
    if (prop_kp_scan_null(s))
        return 0;
    int rc = prop_kp_scan_enter(s, '{', err);
    while (rc == 0 && (rc = prop_kp_scan_member(s, &first, name, err)) > 0) {
        if (strcmp(name, member) != 0)
            rc = prop_kp_scan_skip(s, err);
        else
            rc = *ret ? prop_kp_scan_bad(s, "a member that was given before", err)
                      : prop_kp_scan_bytes(s, false, ret, err);
    }
    return rc;
}

int prop_kp_reply_read(const struct prop_secret *text, enum prop_kp_op op, struct prop_secret **ret,
                       struct prop_err *err)
{
    prop_auto_secret struct prop_secret *bytes = NULL;
    struct prop_kp_scan s;
    char name[PROP_KP_NAME];
    bool first = true;
    prop_kp_scan_begin(&s, text, "its answer", PROP_E_REMOTE, "provider-failed");
    int rc = prop_kp_scan_enter(&s, '{', err);
    while (rc == 0 && (rc = prop_kp_scan_member(&s, &first, name, err)) > 0)
        rc = strcmp(name, results_name(op)) == 0 ? read_result(&s, result_name(op), &bytes, err)
                                                 : prop_kp_scan_skip(&s, err);
    if (rc == 0)
        rc = prop_kp_scan_finish(&s, err);
    if (rc != 0)
        return rc;
    if (!bytes || prop_secret_len(bytes) == 0)
        return prop_err_set_id(err, PROP_E_REMOTE, "provider-failed",
                               "its answer holds no %s.%s", results_name(op), result_name(op));
    *ret = PROP_TAKE(bytes);
    return 0;
}
