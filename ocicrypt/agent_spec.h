/* The parameters of an attestation-agent recipient, as the CoCo key provider takes them
 * (ocicrypt.md 8.2): "keypath=FILE::keyid=ID::algorithm=A256GCM", in any order. */
#ifndef PROP_OCICRYPT_AGENT_SPEC_H
#define PROP_OCICRYPT_AGENT_SPEC_H

#include "keys/resource_id.h"
#include "util/err.h"

struct prop_agent_spec {
    char *keypath; /* KEK file; owned */
    struct prop_resource_id kid;
};

/* Stricter than the key provider, which ignores what it does not know: here a parameter that would
 * have no effect is an error.
 * Fails: PROP_E_USAGE (id "bad-recipient"), PROP_E_DENIED (id "public-kek") sample mode,
 * PROP_E_UNSUPPORTED (id "a256ctr-refused"), PROP_E_INPUT (id "bad-resource-path"). */
int prop_agent_spec_parse(const char *text, struct prop_agent_spec *ret, struct prop_err *err);
void prop_agent_spec_release(struct prop_agent_spec *s);
#define prop_auto_agent_spec __attribute__((cleanup(prop_agent_spec_release)))

#endif
