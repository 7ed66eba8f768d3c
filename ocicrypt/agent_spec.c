/* keypath=FILE::keyid=ID::algorithm=A256GCM, taken apart and checked. */
#include "ocicrypt/agent_spec.h"

#include "util/mem.h"

#include <string.h>

#define FORM                                                                                       \
    "provider:attestation-agent:keypath=FILE::keyid=kbs:///repo/type/tag::algorithm=A256GCM"

struct params {
    char *keypath, *keyid, *algorithm, *sample;
};

static void params_release(struct params *p)
{
    prop_free(p->keypath);
    prop_free(p->keyid);
    prop_free(p->algorithm);
    prop_free(p->sample);
}

/* One "key=value" of the list. */
static int params_set(struct params *p, const char *text, size_t len, struct prop_err *err)
{
    const struct { const char *name; char **to; } known[] = {
        { "keypath=", &p->keypath }, { "keyid=", &p->keyid },
        { "algorithm=", &p->algorithm }, { "sample=", &p->sample },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++) {
        size_t skip = strlen(known[i].name);
        if (len < skip || strncmp(text, known[i].name, skip) != 0)
            continue;
        if (*known[i].to)
            return prop_err_set_id(err, PROP_E_USAGE, "bad-recipient",
                                   "recipient: '%.*s' is given twice", (int)skip, known[i].name);
        *known[i].to = prop_strndup(text + skip, len - skip);
        return *known[i].to ? 0 : prop_err_nomem(err);
    }
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-recipient",
                          "recipient: attestation-agent knows no parameter '%.*s'", (int)len, text);
    return prop_err_hint(err, FORM);
}

static int params_parse(struct params *p, const char *text, struct prop_err *err)
{
    while (*text) {
        const char *end = strstr(text, "::");
        size_t len = end ? (size_t)(end - text) : strlen(text);
        int rc = params_set(p, text, len, err);
        if (rc != 0)
            return rc;
        text += len + (end ? 2 : 0);
    }
    return 0;
}

static bool given(const char *text)
{
    return text && text[0];
}

static int params_check(const struct params *p, unsigned flags, struct prop_err *err)
{
    if (p->sample && strcmp(p->sample, "false") != 0)
        return prop_err_set_id(err, PROP_E_DENIED, "public-kek",
                               "recipient: 'sample' wraps with a key that everybody has");
    if (p->algorithm && strcmp(p->algorithm, "A256CTR") == 0) {
        if (!(flags & PROP_AGENT_CTR)) {
            (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "a256ctr-refused",
                                  "recipient: A256CTR packets have no integrity and are written "
                                  "only on request");
            return prop_err_hint(err, "A256GCM is what every reader takes; --allow-a256ctr to have "
                                 "it all the same");
        }
    } else if (p->algorithm && strcmp(p->algorithm, "A256GCM") != 0) {
        return prop_err_set_id(err, PROP_E_USAGE, "bad-recipient",
                               "recipient: algorithm '%s' is unknown", p->algorithm);
    }
    /* An empty value is a mistake in a script, never a wish for another source. */
    if ((given(p->keypath) || (!p->keypath && (flags & PROP_AGENT_NO_KEYPATH))) &&
        (given(p->keyid) || (!p->keyid && (flags & PROP_AGENT_NO_KEYID))))
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-recipient",
                          "recipient: attestation-agent needs 'keypath' and 'keyid'");
    return prop_err_hint(err, FORM);
}

int prop_agent_spec_parse_as(const char *text, unsigned flags, struct prop_agent_spec *ret,
                             struct prop_err *err)
{
    struct params p = { .keypath = NULL };
    struct prop_resource_id kid = { .host = "" };
    int rc;
    if ((rc = params_parse(&p, text, err)) == 0 && (rc = params_check(&p, flags, err)) == 0 &&
        (!p.keyid || (rc = prop_resource_id_parse(p.keyid, true, &kid, err)) == 0)) {
        ret->kid = kid;
        ret->has_kid = p.keyid != NULL;
        ret->keypath = PROP_TAKE(p.keypath);
        ret->ctr = p.algorithm && strcmp(p.algorithm, "A256CTR") == 0;
    }
    params_release(&p);
    return rc;
}

int prop_agent_spec_parse(const char *text, struct prop_agent_spec *ret, struct prop_err *err)
{
    return prop_agent_spec_parse_as(text, PROP_AGENT_STRICT, ret, err);
}

void prop_agent_spec_release(struct prop_agent_spec *s)
{
    prop_free(s->keypath);
    s->keypath = NULL;
}
