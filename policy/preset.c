/* Texts that the current KBS loads and evaluates as named. The words at the start are comments of
 * the policy, so that whoever finds one on a server knows what it is. */
#include "policy/preset.h"

#include "util/mem.h"

#include <string.h>

static const char allow_all[] =
    "# allow-all: whoever passed attestation may have every resource\n"
    "package policy\n"
    "\n"
    "import rego.v1\n"
    "\n"
    "default allow := false\n"
    "\n"
    "# Servers up to v0.16 know no plugins and do not name one.\n"
    "default plugin := \"resource\"\n"
    "\n"
    "plugin := data.plugin\n"
    "\n"
    "allow if plugin == \"resource\"\n";

static const char deny_all[] =
    "# deny-all: nobody may have anything\n"
    "package policy\n"
    "\n"
    "import rego.v1\n"
    "\n"
    "default allow := false\n";

static const char affirming[] =
    "# affirming: every submodule of the guest must be affirming, and there must be one\n"
    "package policy\n"
    "\n"
    "import rego.v1\n"
    "\n"
    "default allow := false\n"
    "\n"
    "not_ok if {\n"
    "\tsome s in input.submods\n"
    "\ts[\"ear.status\"] != \"affirming\"\n"
    "}\n"
    "\n"
    "# A submodule that does not tell its status is not affirming.\n"
    "not_ok if {\n"
    "\tsome s in input.submods\n"
    "\tnot s[\"ear.status\"]\n"
    "}\n"
    "\n"
    "allow if {\n"
    "\tcount(input.submods) > 0\n"
    "\tnot not_ok\n"
    "}\n";

/* As a fresh KBS decides: it looks at what kind of evidence came, never at the verdict on it. */
static const char sample_denied[] =
    "# default: any evidence the verifier took may have every resource, except sample evidence,\n"
    "# which anybody can make. Rules for your own keys belong in a policy document.\n"
    "package policy\n"
    "\n"
    "import rego.v1\n"
    "\n"
    "default allow := false\n"
    "\n"
    "# Servers up to v0.16 know no plugins and do not name one.\n"
    "default plugin := \"resource\"\n"
    "\n"
    "plugin := data.plugin\n"
    "\n"
    "# The guest's CPU: \"cpu0\" since v0.14, \"cpu\" before.\n"
    "cpu := input.submods.cpu0\n"
    "\n"
    "cpu := input.submods.cpu if not input.submods.cpu0\n"
    "\n"
    "claims := object.keys(cpu[\"ear.veraison.annotated-evidence\"])\n"
    "\n"
    "allow if {\n"
    "\tplugin == \"resource\"\n"
    "\tcount(claims) > 0\n"
    "\tnot \"sample\" in claims\n"
    "}\n";

static const struct {
    const char *name, *text;
} presets[] = {
    { "allow-all", allow_all },
    { "deny-all", deny_all },
    { "affirming", affirming },
    { "default", sample_denied },
};

const char *prop_policy_preset(const char *name)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(presets); i++)
        if (strcmp(presets[i].name, name) == 0)
            return presets[i].text;
    return NULL;
}

const char *prop_policy_preset_of(const char *rego)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(presets); i++)
        if (strcmp(presets[i].text, rego) == 0)
            return presets[i].name;
    return NULL;
}
