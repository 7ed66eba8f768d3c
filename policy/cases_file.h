/* Files of test cases for policies, TOML or JSON (docs/policy-cases.schema.json).
 *
 *     version = 1
 *     [default]                       # members for every case that does not have them itself
 *     server = "current"
 *     [guest.laptop]                  # members that cases take by guest = "laptop"
 *     evidence.sample = { svn = "1" }
 *     status = "affirming"
 *     [[case]]
 *     name = "staging takes sample evidence"
 *     guest = "laptop"
 *     resource = "staging/key/app"
 *     expect = "allow"
 */
#ifndef PROP_POLICY_CASES_FILE_H
#define PROP_POLICY_CASES_FILE_H

#include "util/err.h"
#include "util/json.h"

#include <stddef.h>

enum prop_cases_kind {
    PROP_CASES_DECISION,  /* of resource policies: expect allow or deny */
    PROP_CASES_APPRAISAL  /* of attestation policies: expect status, vector, ... */
};

/* Read and check a file: *ret, owned, is the list of its cases with everything filled in that they
 * take from elsewhere in the file, with "name" always there and "line" where it is known. Files
 * that a case names (token, evidence, reference_values, attestation_policy) are named relative to
 * the cases' own, and are not read here.
 * Fails: PROP_E_INPUT (id "bad-cases", "toml-syntax", ...) naming file, line and case. */
int prop_cases_read(const char *file, enum prop_cases_kind kind, json_t **ret,
                    struct prop_err *err);

/* The name of a file that a case of `cases_file` names (prop_alloc); NULL when memory is out. */
char *prop_cases_path(const char *cases_file, const char *name);

#endif
