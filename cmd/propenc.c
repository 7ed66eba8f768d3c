/* propenc: encrypt, decrypt and inspect Wasm artifacts and images. */
#include "cmd/cli/cli.h"
#include "cmd/propenc/verbs.h"

#include "crypto/random.h"
#include "http/http.h"

static const struct prop_verb *const verbs[] = {
    &propenc_verb_encrypt,
    &propenc_verb_decrypt,
    &propenc_verb_inspect,
    NULL
};

static const char *(*const libraries[])(void) = { prop_crypto_version, prop_http_version, NULL };

static const struct prop_tool tool = {
    .name = "propenc",
    .summary = "encrypt Wasm modules and images for the machines and people who may run them",
    .verbs = verbs,
    .libraries = libraries,
};

int main(int argc, char **argv)
{
    return prop_cli_main(&tool, argc, argv);
}
