/* Reading the forms of a JWE. A strict parser must not be put in front of go-jose's general form,
 * which carries a redundant top-level encrypted_key (ocicrypt.md 5.1); all else is strict. */
#include "jose/jwe_parts.h"

#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

#define MEMBER(name, kind, field, flags)                                                           \
    { name, PROP_JSON_##kind, offsetof(struct top, field), PROP_JSON_##flags }
struct top {
    const char *protected_text, *encrypted_key, *aad, *iv, *ciphertext, *tag;
    json_t *unprotected, *header, *recipients;
};
static const struct prop_json_field top_fields[] = {
    MEMBER("protected", STRING, protected_text, OPTIONAL),
    MEMBER("unprotected", OBJECT, unprotected, OPTIONAL),
    MEMBER("header", OBJECT, header, OPTIONAL),
    MEMBER("encrypted_key", STRING, encrypted_key, OPTIONAL),
    MEMBER("recipients", ARRAY, recipients, OPTIONAL),
    MEMBER("aad", STRING, aad, OPTIONAL),
    MEMBER("iv", STRING, iv, OPTIONAL),
    MEMBER("ciphertext", STRING, ciphertext, REQUIRED),
    MEMBER("tag", STRING, tag, REQUIRED),
};

struct recipient {
    const char *encrypted_key;
    json_t *header;
};
static const struct prop_json_field recipient_fields[] = {
    { "encrypted_key", PROP_JSON_STRING, offsetof(struct recipient, encrypted_key), 0 },
    { "header", PROP_JSON_OBJECT, offsetof(struct recipient, header), 0 },
};

static int bad(const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-jwe", "not a JWE: %s", why);
}

/* a.b.c.d.e to the flattened object of the same names (RFC 7516 section 7.1). */
static int from_compact(const char *jwe, size_t len, json_t **ret, struct prop_err *err)
{
    static const char *const names[] = { "protected", "encrypted_key", "iv", "ciphertext", "tag" };
    prop_auto_json json_t *root = json_object();
    if (!root)
        return prop_err_nomem(err);
    if (memchr(jwe, 0, len))
        return bad("a zero byte in the text", err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        const char *dot = memchr(jwe, '.', len);
        if ((dot != NULL) != (i + 1 < PROP_ARRAY_LEN(names)))
            return bad("neither a JSON object nor five parts with a dot between them", err);
        size_t n = dot ? (size_t)(dot - jwe) : len;
        if (json_object_set_new(root, names[i], json_stringn_nocheck(jwe, n)))
            return prop_err_nomem(err);
        if (dot) {
            jwe += n + 1;
            len -= n + 1;
        }
    }
    *ret = PROP_TAKE(root);
    return 0;
}

static int load(const char *jwe, size_t len, json_t **ret, struct prop_err *err)
{
    size_t i = 0;
    while (i < len && strchr(" \t\r\n", jwe[i]) && jwe[i] != 0)
        i++;
    if (i < len && jwe[i] == '{')
        return prop_json_parse(jwe, len, "JWE", ret, err);
    return from_compact(jwe, len, ret, err);
}

static int parse_protected(const char *text, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf json = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    prop_auto_json json_t *v = NULL;
    int rc = prop_b64_decode(PROP_B64_URL, text, strlen(text), "protected header of the JWE",
                             &json, err);
    if (rc == 0)
        rc = prop_json_parse(prop_buf_str(&json), json.len, "protected header of the JWE", &v, err);
    if (rc)
        return rc;
    if (!json_is_object(v))
        return bad("its protected header is not an object", err);
    *ret = PROP_TAKE(v);
    return 0;
}

static int check_shape(const struct top *t, struct prop_err *err)
{
    if (t->recipients && t->header)
        return bad("both 'recipients' and a 'header' of one recipient", err);
    if (t->recipients && json_array_size(t->recipients) == 0)
        return bad("'recipients' is empty", err);
    if (t->recipients && json_array_size(t->recipients) > PROP_LIMIT_RECIPIENTS)
        return prop_err_set_id(err, PROP_E_LIMIT, "jwe-recipients",
                               "a JWE with %zu recipients, more than %d",
                               json_array_size(t->recipients), PROP_LIMIT_RECIPIENTS);
    return 0;
}

int prop_jwe_parts_init(const char *jwe, size_t len, struct prop_jwe_parts *parts,
                        struct prop_err *err)
{
    struct top t = { 0 };
    prop_auto_json json_t *root = NULL, *protected_header = NULL;

    if (len > PROP_LIMIT_KBS_ANSWER)
        return prop_err_set(err, PROP_E_LIMIT, "a JWE of %zu bytes is too long", len);
    int rc = load(jwe, len, &root, err);
    if (rc == 0)
        rc = prop_json_read(root, "JWE", top_fields, PROP_ARRAY_LEN(top_fields), &t, err);
    if (rc == 0)
        rc = check_shape(&t, err);
    if (rc == 0 && t.protected_text && t.protected_text[0])
        rc = parse_protected(t.protected_text, &protected_header, err);
    if (rc)
        return rc;
    *parts = (struct prop_jwe_parts){
        .root = PROP_TAKE(root),
        .protected_header = PROP_TAKE(protected_header),
        .protected_text = t.protected_text ? t.protected_text : "",
        .aad = t.aad,
        .iv = t.iv ? t.iv : "",
        .ciphertext = t.ciphertext,
        .tag = t.tag,
        .unprotected = t.unprotected,
        .recipients = t.recipients,
        .n_recipients = t.recipients ? json_array_size(t.recipients) : 1,
    };
    return 0;
}

void prop_jwe_parts_release(struct prop_jwe_parts *parts)
{
    json_decref(parts->root);
    json_decref(parts->protected_header);
    memset(parts, 0, sizeof(*parts));
}

static int read_recipient(const struct prop_jwe_parts *parts, size_t i, struct recipient *r,
                          struct prop_err *err)
{
    const json_t *object = parts->recipients ? json_array_get(parts->recipients, i) : parts->root;
    return prop_json_read(object, "recipient of the JWE", recipient_fields,
                          PROP_ARRAY_LEN(recipient_fields), r, err);
}

/* What `from` has and `to` has not. (json_object_update_missing hides that memory ran out.) */
static int add_missing(json_t *to, json_t *from, struct prop_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(from, name, value)
        if (!json_object_get(to, name) && json_object_set(to, name, value))
            return prop_err_nomem(err);
    return 0;
}

int prop_jwe_parts_header(const struct prop_jwe_parts *parts, size_t i, json_t **ret,
                          struct prop_err *err)
{
    struct recipient r = { 0 };
    int rc = read_recipient(parts, i, &r, err);
    if (rc)
        return rc;
    json_t *const sources[] = { parts->protected_header, parts->unprotected, r.header };
    prop_auto_json json_t *merged = json_object();
    if (!merged)
        return prop_err_nomem(err);
    for (size_t k = 0; rc == 0 && k < PROP_ARRAY_LEN(sources); k++)
        rc = add_missing(merged, sources[k], err); /* NULL has no members */
    if (rc)
        return rc;
    *ret = PROP_TAKE(merged);
    return 0;
}

int prop_jwe_parts_key(const struct prop_jwe_parts *parts, size_t i, const char **ret,
                       struct prop_err *err)
{
    struct recipient r = { 0 };
    int rc = read_recipient(parts, i, &r, err);
    if (rc)
        return rc;
    *ret = r.encrypted_key ? r.encrypted_key : "";
    return 0;
}

int prop_jwe_parts_aad(const struct prop_jwe_parts *parts, struct prop_buf *out,
                       struct prop_err *err)
{
    int rc = prop_buf_puts(out, parts->protected_text, err);
    if (rc || !parts->aad)
        return rc;
    rc = prop_buf_puts(out, ".", err);
    return rc ? rc : prop_buf_puts(out, parts->aad, err);
}
