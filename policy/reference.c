/* The names come from the table of policy/tee.h; those of a single value are few. */
#include "policy/reference.h"

#include "policy/tee.h"

#include <string.h>

json_t *prop_policy_reference_shapes(void)
{
    static const char *const single[] = {
        "major_version",       "minimum_minor_version", "snp_smt_enabled",   "snp_tsme_enabled",
        "snp_guest_abi_major", "snp_guest_abi_minor",   "snp_single_socket", "snp_smt_allowed",
        "tdvfkernel",          "tdvfkernelparams",
    };
    json_t *out = json_object();
    for (const struct prop_policy_reference *r = prop_policy_reference_table();
         out != NULL && r->name != NULL; r++) {
        const char *shape = "list";
        for (size_t i = 0; i < PROP_ARRAY_LEN(single); i++)
            if (strcmp(single[i], r->name) == 0)
                shape = "single";
        if (json_object_set_new(out, r->name, json_string(shape)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}
