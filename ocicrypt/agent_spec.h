/* The parameters of an attestation-agent recipient, as the CoCo key provider takes them
 * (ocicrypt.md 8.2): "keypath=FILE::keyid=ID::algorithm=A256GCM", in any order. */
#ifndef PROP_OCICRYPT_AGENT_SPEC_H
#define PROP_OCICRYPT_AGENT_SPEC_H

#include "keys/resource_id.h"
#include "util/err.h"

#include <stdbool.h>

struct prop_agent_spec {
    char *keypath; /* KEK file; owned; NULL: none given */
    bool has_kid;  /* false: none given, `kid` is empty */
    struct prop_resource_id kid;
    bool ctr;      /* algorithm=A256CTR: wrapping without integrity */
};

enum prop_agent_spec_flags {
    PROP_AGENT_STRICT = 0,
    PROP_AGENT_NO_KEYPATH = 1, /* the KEK may come from elsewhere */
    PROP_AGENT_NO_KEYID = 2,   /* the key id may come from elsewhere */
    PROP_AGENT_CTR = 4         /* A256CTR may be asked for */
};

/* Stricter than the key provider, which ignores what it does not know: here a parameter that would
 * have no effect is an error. `flags` (enum prop_agent_spec_flags) say what may be missing or asked
 * for; prop_agent_spec_parse is strict.
 * Fails: PROP_E_USAGE (id "bad-recipient"), PROP_E_DENIED (id "public-kek") sample mode,
 * PROP_E_UNSUPPORTED (id "a256ctr-refused"), PROP_E_INPUT (id "bad-resource-path"). */
int prop_agent_spec_parse_as(const char *text, unsigned flags, struct prop_agent_spec *ret,
                             struct prop_err *err);
int prop_agent_spec_parse(const char *text, struct prop_agent_spec *ret, struct prop_err *err);
void prop_agent_spec_release(struct prop_agent_spec *s);
#define prop_auto_agent_spec __attribute__((cleanup(prop_agent_spec_release)))

#endif
