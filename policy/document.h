/* The policy document: a small declarative file (TOML, or JSON) that people keep in git, and the
 * Rego that is built from it.
 *
 *     version = 1
 *     [[rule]]
 *     resource = "default/key/addition"       # exact path, or parts with "*"
 *     tee = "snp"
 *     tier = "affirming"                      # optional
 *     measurement = ["sha384:..."]            # optional, any of them
 *
 * All members of a rule: policy/rule.h; for people: examples/policies/README.md.
 */
#ifndef PROP_POLICY_DOCUMENT_H
#define PROP_POLICY_DOCUMENT_H

#include "policy/allow.h"
#include "policy/build.h"
#include "policy/conditions.h"
#include "policy/preset.h"
#include "policy/rule.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_policy_doc;
/* Read and validate; the form follows the text (JSON starts with '{'). `what` names it.
 * Fails: PROP_E_INPUT (id "toml-syntax", "json-syntax", "bad-policy", "bad-rule"), PROP_E_LIMIT;
 * every complaint about the content names the line ("'policy.toml:7': rule 2: ..."). */
int prop_policy_doc_parse(const char *text, size_t len, const char *what,
                          struct prop_policy_doc **ret, struct prop_err *err);
int prop_policy_doc_new(struct prop_policy_doc **ret, struct prop_err *err); /* no rules: deny all */
void prop_policy_doc_free(struct prop_policy_doc *d);
PROP_DEFINE_AUTO(struct prop_policy_doc *, prop_policy_doc_free)
#define prop_auto_policy_doc __attribute__((cleanup(prop_policy_doc_free_p)))

/* The rules in normal form (policy/rule.h), in order; borrowed. */
const json_t *prop_policy_doc_rules(const struct prop_policy_doc *d);
/* Add a rule (copied); false in ret_added when the document lets that in already. */
int prop_policy_doc_add(struct prop_policy_doc *d, const json_t *rule, bool *ret_added,
                        struct prop_err *err);
/* The document's text with what was added: a parsed text is kept byte for byte, comments and order
 * too, and the new rules stand behind its own. Fails: PROP_E_UNSUPPORTED (id "policy-form") for a
 * text whose list of rules cannot be added to without rewriting it. */
int prop_policy_doc_write(const struct prop_policy_doc *d, struct prop_buf *out,
                          struct prop_err *err);
/* Take rule number `index` (from 0) out, of the text too; every other byte that is not between that
 * rule's lines stays. Only before anything was added. Fails: PROP_E_UNSUPPORTED (id "policy-form"),
 * PROP_E_NOTFOUND (id "no-such-rule"). */
int prop_policy_doc_remove(struct prop_policy_doc *d, size_t index, struct prop_err *err);
/* Fill the pins of rules that say `measured` (policy/measured.h); `text` as above is left alone, so
 * write it before. Fails as prop_policy_measured_fill. */
int prop_policy_doc_measure(struct prop_policy_doc *d, const json_t *measured, struct prop_err *err);
/* A document of the rules in normal form, without comments between them: what is remembered where
 * the text alone does not tell the values (after prop_policy_doc_measure). */
int prop_policy_doc_plain(const struct prop_policy_doc *d, struct prop_buf *out,
                          struct prop_err *err);
/* Does this text begin as a policy document does (JSON, or a TOML key or table), or is it to be taken
 * for Rego? */
bool prop_policy_doc_looks_like(const char *text, size_t len);

#endif
