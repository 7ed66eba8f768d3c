/* The names of reference values that the shipped attestation policy asks for, and whether it tests
 * them as a list ("in") or as one value ("=="): attestation.md 4.4. */
#ifndef PROP_POLICY_REFERENCE_H
#define PROP_POLICY_REFERENCE_H

#include "util/json.h"

/* {"snp_launch_measurement": "list", "tdvfkernel": "single", ...}, owned; NULL when memory is out.
 */
json_t *prop_policy_reference_shapes(void);

#endif
