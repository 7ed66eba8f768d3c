/* WWW-Authenticate: what a registry asks for (RFC 9110 section 11.6.1, registry.md 3.1). */
#ifndef PROP_OCI_CHALLENGE_H
#define PROP_OCI_CHALLENGE_H

#include "util/err.h"

#include <stddef.h>

struct prop_challenge {
    char *scheme; /* lower case */
    char *realm, *service, *scope, *error; /* NULL when absent; owned */
};
struct prop_challenges {
    struct prop_challenge *items;
    size_t n;
};
#define PROP_CHALLENGES_INIT { NULL, 0 }

/* Append the challenges of one header. Fails: PROP_E_REMOTE (id "bad-challenge"), PROP_E_NOMEM. */
int prop_challenges_add(struct prop_challenges *all, const char *header, struct prop_err *err);
void prop_challenges_release(struct prop_challenges *all);
#define prop_auto_challenges __attribute__((cleanup(prop_challenges_release)))
/* The first of that scheme (lower case), or NULL. */
const struct prop_challenge *prop_challenges_find(const struct prop_challenges *all,
                                                  const char *scheme);

/* Unite two lists of "type:name:action,action" (either may be NULL): sorted, each once. NULL when
 * memory is out. */
char *prop_scope_unite(const char *a, const char *b);

#endif
