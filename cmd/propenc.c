/* propenc: encrypt, decrypt and inspect Wasm artifacts and images. */
#include "cmd/cli/cli.h"
#include "cmd/propenc/verbs.h"

#include "crypto/random.h"
#include "http/http.h"
#include "util/mem.h"

#include <string.h>

static const struct prop_verb *const verbs[] = {
    &propenc_verb_encrypt,
    &propenc_verb_decrypt,
    &propenc_verb_inspect,
    &propenc_verb_rewrap,
    &propenc_verb_keyprovider,
    NULL
};

static const char *(*const libraries[])(void) = { prop_crypto_version, prop_http_version, NULL };

static const struct prop_tool tool = {
    .name = "propenc",
    .summary = "encrypt Wasm modules and images for the machines and people who may run them",
    .verbs = verbs,
    .libraries = libraries,
};

/* Called as coco_keyprovider (a link): the one verb of ours that does what it does. */
static char **as_keyprovider(int *argc, char **argv)
{
    static char verb[] = "keyprovider";
    const char *slash = *argc > 0 ? strrchr(argv[0], '/') : NULL;
    if (*argc < 1 || strcmp(slash ? slash + 1 : argv[0], "coco_keyprovider") != 0)
        return argv;
    size_t n = (size_t)*argc;
    char **more = prop_zalloc((n + 2) * sizeof(*more)); /* for the whole run */
    if (!more)
        return argv;
    more[0] = argv[0];
    more[1] = verb;
    memcpy(more + 2, argv + 1, (n - 1) * sizeof(*more));
    ++*argc;
    return more;
}

int main(int argc, char **argv)
{
    char **args = as_keyprovider(&argc, argv);
    int status = prop_cli_main(&tool, argc, args);
    if (args != argv)
        prop_free(args);
    return status;
}
