/* What a KBS is known to have: it holds one policy for everybody and, since v0.19, does not give the
 * text back, so what is known is what this machine's ledger remembers. Another machine may have
 * uploaded since; nothing on the server can compare and set. */
#ifndef PROP_POLICY_KNOWN_H
#define PROP_POLICY_KNOWN_H

#include "policy/document.h"
#include "store/ledger.h"

#include <stdbool.h>

struct prop_policy_known {
    char *rego;      /* NULL: this machine uploaded none */
    char *document;  /* what it was built from; NULL = none, or not known */
};
#define PROP_POLICY_KNOWN_INIT { NULL, NULL }
void prop_policy_known_release(struct prop_policy_known *k);
#define prop_auto_policy_known __attribute__((cleanup(prop_policy_known_release)))

/* The upload this machine made last. l NULL, or none: nothing known, which is no failure. */
int prop_policy_known_read(struct prop_ledger *l, const char *url, struct prop_policy_known *ret,
                           struct prop_err *err);

/* The document to go on from without --policy-doc: that of the last upload; an empty one where the
 * last upload let nobody in, or when everything is to be replaced.
 * Fails: PROP_E_USAGE (id "policy-unknown"). */
int prop_policy_known_document(const struct prop_policy_known *k, const char *url, bool replace,
                               struct prop_policy_doc **ret, struct prop_err *err);

/* Does document `d`, called `name`, still let in all that the last upload did? Exact where both
 * sides are documents.
 * Fails: PROP_E_USAGE (id "policy-loses-rule", or "policy-unknown" for a last upload of foreign
 * Rego). */
int prop_policy_known_kept(const struct prop_policy_known *k, const char *url,
                           const struct prop_policy_doc *d, const char *name, struct prop_err *err);

/* Would these rules, uploaded now, let in more than the last upload? ret_examples as
 * prop_policy_compare gives them. Exact where the last upload came from a document, or was deny-all,
 * allow-all or default.
 * Fails: PROP_E_USAGE (id "policy-wider"), also when that is not known. */
int prop_policy_known_not_wider(const struct prop_policy_known *k, const json_t *rules,
                                json_t **ret_examples, struct prop_err *err);

/* What changes for whom: enum prop_policy_change and examples; ret_known false when the last upload
 * cannot be compared with (it came from no document and was not deny-all). */
int prop_policy_known_change(const struct prop_policy_known *k, const json_t *rules, bool *ret_known,
                             unsigned *ret_change, json_t **ret_examples, struct prop_err *err);

#endif
