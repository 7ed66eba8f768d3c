/* The preset policies, as texts of our own (kbs.md 4.1). */
#ifndef PROP_POLICY_PRESET_H
#define PROP_POLICY_PRESET_H

/* Preset texts: "allow-all", "deny-all", "affirming", "default" (sample evidence denied, any other
 * evidence that the verifier took is let in); NULL for an unknown name. */
const char *prop_policy_preset(const char *name);
/* The name of the preset whose text this is, or NULL. */
const char *prop_policy_preset_of(const char *rego);

#endif
