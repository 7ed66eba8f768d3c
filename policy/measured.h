/* Measurement files: what `propcvm vm measure --json` says of an image, given to `policy build
 * --measured FILE` so that nobody copies digests by hand.
 *
 * A file is a JSON object, or a list of them, or an object whose member "measurements" is such a
 * list or an object of them by name. Each has
 *
 *     launch_digest                     snp: 96 hex digits, or
 *     mr_td, rtmr_0 ... rtmr_3          tdx: 96 hex digits each; all but mr_td may be absent
 *     init_data                         optional: "sha256:HEX" or "sha384:HEX"
 *     name                              optional; else the file's name without folder and ".json"
 *
 * A value is a text, a list of texts (any of them), an object of texts by profile, or a list of
 * {"profile","value"}. Other members are ignored: the output of a tool may grow.
 *
 * A rule with measured = true takes the values of every entry for its tee, one with measured = "x"
 * those of the entries called x: measurement, each rtmr_N that all those entries have, and init_data
 * when they have it. Values the rule has itself stay; any of them counts.
 */
#ifndef PROP_POLICY_MEASURED_H
#define PROP_POLICY_MEASURED_H

#include "util/err.h"
#include "util/json.h"

#include <stddef.h>

/* Append the entries of one file's text to `list`: {"name","tee","measurement","rtmr_0"...,
 * "init_data"}, values as lists in normal form. `path` names the file.
 * Fails: PROP_E_INPUT (id "bad-measurement", "json-syntax"). */
int prop_policy_measured_add(json_t *list, const char *text, size_t len, const char *path,
                             struct prop_err *err);
int prop_policy_measured_read(json_t *list, const char *path, struct prop_err *err);

/* The rule (normal form) with its pins filled; a rule without `measured` comes back as it is.
 * Fails: PROP_E_INPUT (id "not-measured"): no entry fits, or entries that do not say the same
 * things. */
int prop_policy_measured_fill(const json_t *rule, const char *what, const json_t *list, json_t **ret,
                              struct prop_err *err);

#endif
