/* The guest of a test case: its token, or its evidence; files and policies are read once. */
#ifndef PROP_POLICY_CASES_GUEST_H
#define PROP_POLICY_CASES_GUEST_H

#include "policy/cases.h"

struct prop_guests {
    const char *file;               /* of the cases */
    const struct prop_cases_options *options;
    json_t *files;                  /* name -> what is in it */
    json_t *names;                  /* of the policies below, in their order */
    struct prop_attestation **policies;
    size_t n_policies;
};

int prop_guests_init(struct prop_guests *g, const char *file, const struct prop_cases_options *o,
                     struct prop_err *err);
void prop_guests_release(struct prop_guests *g);
/* The annotated evidence of a case, and its reference values (NULL when it has none); owned. */
int prop_guests_evidence(struct prop_guests *g, const json_t *one, json_t **ret,
                         struct prop_err *err);
int prop_guests_references(struct prop_guests *g, const json_t *one, json_t **ret,
                           struct prop_err *err);
/* The token of a case, as it is or made from evidence; owned. *ret_refused (owned, else NULL) says
 * why an attestation policy gave none. */
int prop_guests_token(struct prop_guests *g, const json_t *one, json_t **ret, char **ret_refused,
                      struct prop_err *err);

#endif
