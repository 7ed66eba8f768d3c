/* The published schema of policy documents. */
#ifndef PROP_POLICY_SCHEMA_H
#define PROP_POLICY_SCHEMA_H

#include "util/err.h"
#include "util/json.h"

/* JSON Schema 2020-12 of a document, made from the tables the parser reads (owned). It says all that
 * can be said without comparing members of a rule with each other, and of that: which members go
 * with which tee, and that a rule must not be for everybody. */
int prop_policy_schema(json_t **ret, struct prop_err *err);

#endif
