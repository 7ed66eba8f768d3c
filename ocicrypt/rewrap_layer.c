/* One layer's recipients: the blocks of its key annotations are taken apart, some are dropped, new
 * ones put behind, and the lists are written again. What is kept stays byte for byte. */
#include "ocicrypt/rewrap_layer.h"

#include "crypto/pkcs7.h"
#include "jose/jwe.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/options.h"
#include "ocicrypt/packet.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

/* One block of one scheme. */
struct block {
    char *scheme;         /* owned, as the annotation's key goes away */
    char *text;           /* base64, owned */
    struct prop_buf data; /* decoded; empty when it is not base64 */
    json_t *who;          /* array of objects, one per recipient, with "kid"s where they are told */
    bool dead;            /* damaged: nobody ever opens it */
    bool keep;
};
struct blocks {
    struct block *items;
    size_t n;
};

static void release(struct blocks *b)
{
    for (size_t i = 0; i < b->n; i++) {
        prop_free(b->items[i].scheme);
        prop_free(b->items[i].text);
        prop_buf_release(&b->items[i].data);
        json_decref(b->items[i].who);
    }
    prop_free(b->items);
}
#define auto_blocks __attribute__((cleanup(release)))

/* The recipients of a block; one that cannot be read counts as one nobody is named in. It is dead
 * where that is certain: a provider's bytes and OpenPGP messages are not looked into. */
static json_t *recipients_of(struct block *b)
{
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    prop_auto_pkcs7 struct prop_pkcs7 message = PROP_PKCS7_INIT;
    json_t *who = NULL;
    b->dead = b->data.len == 0;
    if (strcmp(b->scheme, PROP_SCHEME_JWE) == 0) {
        (void)prop_jwe_describe((const char *)b->data.data, b->data.len, &who, NULL);
        b->dead = json_array_size(who) == 0;
    } else if (strcmp(b->scheme, PROP_SCHEME_PKCS7) == 0) {
        b->dead = prop_pkcs7_parse(b->data.data, b->data.len, &message, NULL) != 0;
    } else if (prop_starts_with(b->scheme, PROP_SCHEME_PROVIDER) &&
               prop_packet_parse(b->data.data, b->data.len, &p, NULL) == 0) {
        who = json_pack("[{s:s}]", "kid", p.kid);
    }
    if (json_array_size(who) > 0)
        return who;
    json_decref(who);
    return json_pack("[{}]");
}

static int add_block(struct blocks *all, const char *scheme, const char *text, size_t len,
                     struct prop_err *err)
{
    struct block *more = prop_realloc_array(all->items, all->n + 1, sizeof(*more));
    if (!more)
        return prop_err_nomem(err);
    all->items = more;
    struct block *b = &more[all->n];
    *b = (struct block){ .keep = true, .data = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION) };
    all->n++;
    b->scheme = prop_strdup(scheme);
    b->text = prop_strndup(text, len);
    if (!b->scheme || !b->text)
        return prop_err_nomem(err);
    (void)prop_enc_decode_block(scheme, text, len, &b->data, NULL);
    b->who = recipients_of(b);
    return b->who ? 0 : prop_err_nomem(err);
}

static int collect(const json_t *descriptor, struct blocks *all, struct prop_err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(descriptor, "annotations"), key, value) {
        const char *cursor = json_string_value(value);
        const char *text = NULL;
        size_t len = 0, n = 0;
        if (!prop_starts_with(key, PROP_ENC_KEYS) || !cursor)
            continue;
        int rc = prop_enc_count_blocks(cursor, &n, err);
        while (rc == 0 && prop_enc_next_block(&cursor, &text, &len))
            rc = add_block(all, key + strlen(PROP_ENC_KEYS), text, len, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static const char *kid_of(const json_t *one)
{
    return json_string_value(json_object_get(one, "kid"));
}

static bool same_resource(const char *a, const char *b)
{
    struct prop_resource_id x, y;
    return strcmp(a, b) == 0 ||
           (prop_resource_id_parse(a, true, &x, NULL) == 0 &&
            prop_resource_id_parse(b, true, &y, NULL) == 0 && prop_resource_id_same(&x, &y) &&
            strcmp(x.host, y.host) == 0);
}

/* Does the selector mean this recipient of the block? */
static bool selects(const char *who, const struct block *b, const json_t *one)
{
    const char *kid = kid_of(one);
    bool jwe = strcmp(b->scheme, PROP_SCHEME_JWE) == 0;
    if (strcmp(who, b->scheme) == 0)
        return true;
    if (!kid)
        return false;
    if (prop_starts_with(who, "kid:"))
        return strcmp(who + 4, kid) == 0;
    if (prop_starts_with(who, "thumb:"))
        return jwe && strcmp(who + 6, kid) == 0;
    return !jwe && same_resource(who, kid);
}

static int encode_block(struct block *b, const json_t *doc, struct prop_err *err)
{
    prop_auto_free char *compact = prop_json_compact(doc);
    char *text = compact ? prop_b64_encode(PROP_B64_STD, compact, strlen(compact)) : NULL;
    if (!text)
        return prop_err_nomem(err);
    prop_free(b->text);
    b->text = text;
    return 0;
}

/* A general JWE with several recipients loses some of them. */
static int cut_recipients(struct block *b, const bool *gone, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    int rc = prop_json_parse((const char *)b->data.data, b->data.len, "a JWE", &doc, err);
    if (rc != 0)
        return rc;
    json_t *list = json_object_get(doc, "recipients");
    if (json_array_size(list) != json_array_size(b->who))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "a JWE's recipients cannot be told apart");
    for (size_t i = json_array_size(list); i-- > 0;)
        if (gone[i]) {
            (void)json_array_remove(list, i);
            (void)json_array_remove(b->who, i);
        }
    /* go-jose repeats the first recipient's key beside the list */
    json_t *key = json_object_get(json_array_get(list, 0), "encrypted_key");
    if (json_object_get(doc, "encrypted_key") && key &&
        json_object_set(doc, "encrypted_key", key) != 0)
        return prop_err_nomem(err);
    return encode_block(b, doc, err);
}

/* Drop whom the options name from one block. */
static int remove_from(struct block *b, const struct prop_rewrap_options *o, bool *used,
                       size_t *removed, struct prop_err *err)
{
    size_t n = json_array_size(b->who), out = 0;
    prop_auto_free bool *gone = prop_zalloc(n * sizeof(*gone));
    if (!gone)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < o->n_remove; k++)
            if (selects(o->remove[k], b, json_array_get(b->who, i)))
                used[k] = gone[i] = true;
        out += gone[i];
    }
    *removed += out;
    if (out == n)
        b->keep = false;
    return out == 0 || out == n ? 0 : cut_recipients(b, gone, err);
}

/* Recipients that are kept. */
static size_t count(const struct blocks *all)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].keep)
            n += json_array_size(all->items[i].who);
    return n;
}

/* Could somebody still open what is kept? */
static bool any_alive(const struct blocks *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].keep && !all->items[i].dead)
            return true;
    return false;
}

static int put_back(const struct blocks *all, json_t *annotations, struct prop_err *err)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct block *b = &all->items[i];
        prop_auto_free char *key = prop_asprintf(PROP_ENC_KEYS "%s", b->scheme);
        if (!key)
            return prop_err_nomem(err);
        if (!b->keep)
            continue;
        const char *list = json_string_value(json_object_get(annotations, key));
        json_t *value = list ? json_sprintf("%s,%s", list, b->text) : json_string(b->text);
        if (json_string_length(value) > PROP_LIMIT_ANNOTATION) {
            json_decref(value);
            return prop_err_set(err, PROP_E_LIMIT, "annotation '%s' would be over %u bytes", key,
                                PROP_LIMIT_ANNOTATION);
        }
        if (json_object_set_new(annotations, key, value) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* The annotations with the blocks that are kept; everything else in them as it was. */
static int write_back(const struct blocks *all, json_t *descriptor, struct prop_err *err)
{
    const json_t *had = json_object_get(descriptor, "annotations");
    prop_auto_json json_t *annotations = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)had, key, value)
        if (!prop_starts_with(key, PROP_ENC_KEYS) && json_object_set(annotations, key, value) != 0)
            return prop_err_nomem(err);
    int rc = put_back(all, annotations, err);
    if (rc == 0 && json_object_set(descriptor, "annotations", annotations) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

/* The layer's key, proved to be one. */
static int unwrap(const struct prop_rewrap_options *o, const struct prop_descriptor *layer,
                  struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_free char *pubopts = NULL;
    prop_auto_layer_options struct prop_layer_options options = { .key = NULL };
    int rc = prop_openers_unwrap(o->openers, layer, &privopts, &pubopts, err);
    if (rc == 0)
        rc = prop_layer_options_read(pubopts, privopts, &options, err);
    if (rc == 0)
        *ret = PROP_TAKE(privopts);
    return rc;
}

static bool adds(const struct prop_rewrap_options *o)
{
    return o->add && prop_recipients_count(o->add) > 0;
}

static int check_options(const struct prop_rewrap_options *o, struct prop_err *err)
{
    if (o->replace && !adds(o))
        return prop_err_set_id(err, PROP_E_USAGE, "no-recipient",
                               "nobody is named to be put in the place of the recipients");
    if (!adds(o) || o->openers)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "no-key",
                          "adding a recipient needs a key that opens the layer today");
    return prop_err_hint(err, "--key PRIVATE-KEY.pem, or --key KEK-FILE");
}

/* With `replace`: does this old block serve nobody but recipients that are to open the layer? Then
 * it stays, so that doing it twice changes nothing. */
static int still_wanted(const struct prop_rewrap_options *o, const struct block *b,
                        const struct prop_secret *privopts, const json_t *layer, bool *ret,
                        struct prop_err *err)
{
    struct block copy = *b;
    const struct blocks one = { &copy, 1 };
    prop_auto_json json_t *trial = json_deep_copy(layer);
    size_t added = 0;
    int rc;
    copy.keep = true;
    if (!trial)
        return prop_err_nomem(err);
    if ((rc = write_back(&one, trial, err)) != 0 ||
        (rc = prop_recipients_append(o->add, privopts, trial, &added, err)) != 0)
        return rc;
    *ret = prop_recipients_count(o->add) - added == json_array_size(b->who);
    return 0;
}

static int drop_others(const struct prop_rewrap_options *o, struct blocks *all,
                       const struct prop_secret *privopts, const json_t *layer,
                       struct prop_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < all->n && o->replace && rc == 0; i++)
        if (all->items[i].keep)
            rc = still_wanted(o, &all->items[i], privopts, layer, &all->items[i].keep, err);
    return rc;
}

/* A packet that was added must be the only one of its kid: whoever has the other KEK under that name
 * could not tell why one of the two does not open. */
static int check_kids(const struct blocks *old, const json_t *descriptor, struct prop_err *err)
{
    auto_blocks struct blocks all = { .n = 0 };
    int rc = collect(descriptor, &all, err);
    for (size_t i = 0; i < old->n && rc == 0; i++) {
        const char *kid = kid_of(json_array_get(old->items[i].who, 0));
        size_t n = 0;
        if (!old->items[i].keep || !kid || strcmp(old->items[i].scheme, PROP_SCHEME_JWE) == 0)
            continue;
        for (size_t k = 0; k < all.n; k++) {
            const char *other = kid_of(json_array_get(all.items[k].who, 0));
            n += other && strcmp(all.items[k].scheme, PROP_SCHEME_JWE) != 0 &&
                 same_resource(kid, other);
        }
        if (n < 2)
            continue;
        rc = prop_err_set_id(err, PROP_E_USAGE, "kid-taken",
                             "the layer holds a packet for '%s' under another key", kid);
        (void)prop_err_hint(err, "take the old one out too: --remove %s, or --replace", kid);
    }
    return rc;
}

static int append(const struct prop_rewrap_options *o, const struct blocks *old,
                  const struct prop_secret *privopts, json_t *descriptor, size_t *ret_added,
                  struct prop_err *err)
{
    size_t added = 0;
    int rc = prop_recipients_append(o->add, privopts, descriptor, &added, err);
    if (rc == 0 && added > 0)
        rc = check_kids(old, descriptor, err);
    if (rc != 0)
        return rc;
    const struct prop_descriptor after = { .json = descriptor };
    rc = prop_recipients_verify(o->add, &after, NULL, err);
    *ret_added = added;
    return rc;
}

/* Worked out on a copy: a failure leaves the descriptor as it was. */
static int change(json_t *copy, const struct prop_rewrap_options *o, bool *used,
                  size_t *ret_added, size_t *ret_removed, struct prop_err *err)
{
    auto_blocks struct blocks old = { .n = 0 };
    prop_auto_secret struct prop_secret *privopts = NULL;
    struct prop_descriptor layer;
    size_t added = 0;
    int rc;
    if ((rc = prop_descriptor_read(copy, "the layer", &layer, err)) != 0 ||
        (o->openers && (rc = unwrap(o, &layer, &privopts, err)) != 0) ||
        (rc = collect(copy, &old, err)) != 0)
        return rc;
    size_t before = count(&old), cut = 0;
    for (size_t i = 0; i < old.n; i++)
        if ((rc = remove_from(&old.items[i], o, used, &cut, err)) != 0)
            return rc;
    if ((rc = drop_others(o, &old, privopts, copy, err)) != 0)
        return rc;
    size_t left = count(&old);
    if ((left == 0 || (left != before && !any_alive(&old))) && !adds(o))
        return prop_err_set_id(err, PROP_E_USAGE, "no-recipient",
                               "no recipient would be left: nobody could ever open the layer");
    if ((left != before && (rc = write_back(&old, copy, err)) != 0) ||
        (adds(o) && (rc = append(o, &old, privopts, copy, &added, err)) != 0))
        return rc;
    *ret_added = added;
    *ret_removed = before - left;
    return 0;
}

int prop_rewrap_layer(json_t *descriptor, const struct prop_rewrap_options *o, bool *used,
                      size_t *ret_added, size_t *ret_removed, struct prop_err *err)
{
    prop_auto_json json_t *copy = json_deep_copy(descriptor);
    if (!copy)
        return prop_err_nomem(err);
    int rc = check_options(o, err);
    if (rc == 0)
        rc = change(copy, o, used, ret_added, ret_removed, err);
    /* only these: others borrow the descriptor's other members */
    if (rc == 0 && *ret_added + *ret_removed > 0 &&
        json_object_set(descriptor, "annotations", json_object_get(copy, "annotations")) != 0)
        rc = prop_err_nomem(err);
    return rc;
}
