/* The policy document: a small declarative file (TOML, or JSON) that people keep in git, and the
 * Rego that is built from it.
 *
 *     version = 1
 *     [[rule]]
 *     resource = "default/key/addition"       # exact path, or parts with "*"
 *     tee = "snp"
 *     tier = "affirming"                      # optional
 *     measurement = ["sha384:..."]            # optional, any of them
 */
#ifndef PROP_POLICY_DOCUMENT_H
#define PROP_POLICY_DOCUMENT_H

#include "policy/allow.h"
#include "policy/build.h"
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
 * Fails: PROP_E_INPUT (id "toml-syntax", "json-syntax", "bad-policy", "bad-rule"), PROP_E_LIMIT. */
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

#endif
