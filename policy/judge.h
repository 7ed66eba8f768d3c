/* A policy ready to be asked many times: parsed once, asked with tokens and resources. */
#ifndef PROP_POLICY_JUDGE_H
#define PROP_POLICY_JUDGE_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_rego;
struct prop_policy_doc;

/* What a KBS asks its policy. */
struct prop_policy_question {
    const json_t *token;  /* EAR body: the policy's input */
    const char *plugin;   /* NULL = "resource" */
    const char *path;     /* "repo/type/tag" */
    const json_t *query;  /* object; NULL = none */
    bool old_server;      /* v0.16 or before: the path is one text, plugin and query are not told */
};

/* The policy's `data` for a question, owned; NULL when memory is out. */
json_t *prop_policy_data(const struct prop_policy_question *q);

/* Is the text a policy document (TOML or JSON), or Rego? Told by the file's name where it ends in
 * .rego, .toml or .json, else by the text. */
bool prop_policy_is_document(const char *name, const char *text, size_t len);

struct prop_policy_judge;
/* A policy from the text of a document or of Rego; `name` appears in errors.
 * Fails: as prop_policy_doc_parse, prop_policy_build, prop_rego_new; PROP_E_INPUT (id "not-text").
 */
int prop_policy_judge_new(const char *name, const char *text, size_t len,
                          struct prop_policy_judge **ret, struct prop_err *err);
/* The same for a text that is Rego whatever it looks like. */
int prop_policy_judge_new_rego(const char *name, const char *text, size_t len,
                               struct prop_policy_judge **ret, struct prop_err *err);
/* prop_file_read and prop_policy_judge_new. */
int prop_policy_judge_load(const char *path, struct prop_policy_judge **ret, struct prop_err *err);
void prop_policy_judge_free(struct prop_policy_judge *j);
PROP_DEFINE_AUTO(struct prop_policy_judge *, prop_policy_judge_free)
#define prop_auto_policy_judge __attribute__((cleanup(prop_policy_judge_free_p)))

/* The Rego that is asked; of a document, what was built from it. Borrowed. */
const char *prop_policy_judge_rego(const struct prop_policy_judge *j, size_t *ret_len);
/* The document it was built from, or NULL. Borrowed. */
const struct prop_policy_doc *prop_policy_judge_doc(const struct prop_policy_judge *j);
/* The policy's outline (engine/rego.h), made when first asked for. Borrowed. */
int prop_policy_judge_outline(struct prop_policy_judge *j, const json_t **ret,
                              struct prop_err *err);

/* Would the guest get the resource? *ret_value (may be NULL) receives the value of `allow`, owned:
 * NULL when undefined; anything but true counts as no.
 * Fails: PROP_E_INPUT (id "rego-eval") where the server would answer with an error. */
int prop_policy_judge_ask(struct prop_policy_judge *j, const struct prop_policy_question *q,
                          bool *ret_allow, json_t **ret_value, struct prop_err *err);
/* The same for a rule of any name ("data.policy.trust_claims"): *ret is NULL when undefined. */
int prop_policy_judge_rule(struct prop_policy_judge *j, const json_t *input, const json_t *data,
                           const char *rule, json_t **ret, struct prop_err *err);
/* The data (`data`) or else the input of the last question, owned by the caller. */
int prop_policy_judge_asked(const struct prop_policy_judge *j, bool data, json_t **ret);
/* The engine, with the data and input of the last question. Borrowed. */
struct prop_rego *prop_policy_judge_engine(struct prop_policy_judge *j);

#endif
