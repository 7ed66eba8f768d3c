/* propkbs: a development KBS. */
#include "cmd/cli/cli.h"
#include "cmd/propkbs/serve.h"

#include "crypto/random.h"

static const struct prop_verb *const verbs[] = { &propkbs_verb_serve, NULL };

static const char *(*const libraries[])(void) = { prop_crypto_version, NULL };

static const struct prop_tool tool = {
    .name = "propkbs",
    .summary = "a development key broker service: sample evidence only, never for production",
    .verbs = verbs,
    .libraries = libraries,
};

int main(int argc, char **argv)
{
    return prop_cli_main(&tool, argc, argv);
}
