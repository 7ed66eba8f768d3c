/* attestation-agent recipients: packets under a KEK that a key broker has. */
#include "ocicrypt/recipient_internal.h"

#include "keys/keyfile.h"
#include "ocicrypt/agent_spec.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/packet.h"

#include <string.h>
#include <sys/stat.h>

static int agent_wrap(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_secret *privopts, struct prop_buf *out,
                      struct prop_err *err)
{
    (void)r;
    return c->ctr ? prop_packet_seal_ctr(c->kek, &c->kid, NULL, privopts, out, err)
                  : prop_packet_seal(c->kek, &c->kid, NULL, privopts, out, err);
}

static bool agent_at_hand(const struct prop_recipients *r, const struct prop_recipient *c)
{
    (void)r;
    (void)c;
    return true;
}

/* Another kid's packet is another's. One without integrity counts only where that was asked for:
 * anybody could have changed it. */
static int agent_open(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_buf *block, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    prop_auto_free char *uri = prop_resource_id_uri(&c->kid);
    (void)r;
    if (!uri)
        return prop_err_nomem(err);
    int rc = prop_packet_parse(block->data, block->len, &p, err);
    if (rc != 0)
        return rc;
    if (strcmp(p.kid, uri) != 0 || p.has_tag == c->ctr)
        return prop_err_set_id(err, PROP_E_VERIFY, "recipient-missing",
                               "the layer holds no packet for '%s'", uri);
    return prop_packet_open(&p, c->kek, ret, err);
}

static const struct prop_scheme scheme = { agent_wrap, agent_at_hand, agent_open, NULL };

static int check_kid(const struct prop_recipients *r, const struct prop_resource_id *kid,
                     struct prop_err *err)
{
    if (kid->host[0]) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "kid-host", "key id names the host '%s'",
                              kid->host);
        return prop_err_hint(err, "write 'kbs:///%s/%s/%s': readers use their own key broker's "
                             "address and ignore or mistrust this one", kid->repo, kid->type,
                             kid->tag);
    }
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].kek && prop_resource_id_same(&r->items[i].kid, kid))
            return prop_err_set_id(err, PROP_E_USAGE, "duplicate-recipient",
                                   "the key id '%s/%s/%s' is given twice", kid->repo, kid->type,
                                   kid->tag);
    return 0;
}

static int check_kek(const struct prop_secret *kek, struct prop_err *err)
{
    if (prop_secret_len(kek) != 32)
        return prop_err_set_id(err, PROP_E_INPUT, "kek-length",
                               "a key encryption key has 32 bytes, not %zu", prop_secret_len(kek));
    if (prop_kek_is_public(kek))
        return prop_err_set_id(err, PROP_E_DENIED, "public-kek",
                               "this is the key provider's sample key: everybody has it");
    return 0;
}

static int add_kek(struct prop_recipients *r, const struct prop_secret *kek,
                   const struct prop_resource_id *kid, bool ctr, struct prop_err *err)
{
    struct prop_recipient c = { .scheme = &scheme, .kid = *kid, .ctr = ctr };
    int rc = check_kek(kek, err);
    if (rc == 0)
        rc = prop_secret_copy(prop_secret_data(kek), prop_secret_len(kek), &c.kek, err);
    if (rc == 0)
        rc = prop_recipients_append_new(r, &c, PROP_SCHEME_AGENT, err);
    if (rc == 0 && ctr)
        prop_recipients_warn(r, "recipient 'kbs:///%s/%s/%s': an A256CTR packet has no integrity, "
                             "and readers have to be told to take it", kid->repo, kid->type,
                             kid->tag);
    return rc;
}

int prop_recipients_add_kek(struct prop_recipients *r, const struct prop_secret *kek,
                            const struct prop_resource_id *kid, struct prop_err *err)
{
    int rc = check_kek(kek, err);
    if (rc == 0)
        rc = check_kid(r, kid, err);
    return rc != 0 ? rc : add_kek(r, kek, kid, false, err);
}

static int read_kek(struct prop_recipients *r, const char *path, struct prop_secret **ret,
                    struct prop_err *err)
{
    struct stat st;
    int rc = prop_kek_read(path, ret, err);
    if (rc == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size != 32)
        prop_recipients_warn(r, "the KEK in '%s' is base64 text: store the 32 raw bytes in the key "
                             "broker, most readers take nothing else", path);
    return rc;
}

/* The KEK of a recipient that names no file. */
static int supply_kek(struct prop_recipients *r, struct prop_agent_spec *spec,
                      struct prop_secret **ret, struct prop_err *err)
{
    const struct prop_kek_supply *s = &r->supply;
    if (s->generate)
        return s->generate(s->ctx, &spec->kid, ret, err);
    return s->fetch(s->ctx, &spec->kid, ret, err);
}

int prop_recipients_add_agent(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_agent_spec struct prop_agent_spec spec = { .keypath = NULL };
    unsigned flags = (r->allow_ctr ? PROP_AGENT_CTR : PROP_AGENT_STRICT) |
                     (r->supply.generate ? PROP_AGENT_NO_KEYPATH | PROP_AGENT_NO_KEYID
                      : r->supply.fetch  ? PROP_AGENT_NO_KEYPATH
                                         : PROP_AGENT_STRICT);
    int rc = prop_agent_spec_parse_as(text, flags, &spec, err);
    if (rc == 0 && spec.keypath && !spec.has_kid)
        rc = prop_err_set_id(err, PROP_E_USAGE, "bad-recipient",
                             "recipient: attestation-agent needs a 'keyid' for the key in '%s'",
                             spec.keypath);
    /* Before a key is fetched, made or uploaded for it. */
    if (rc == 0 && spec.has_kid)
        rc = check_kid(r, &spec.kid, err);
    if (rc == 0)
        rc = spec.keypath ? read_kek(r, spec.keypath, &kek, err)
                          : supply_kek(r, &spec, &kek, err);
    return rc != 0 ? rc : add_kek(r, kek, &spec.kid, spec.ctr, err);
}
