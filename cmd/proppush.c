/* proppush: a registry client for Wasm artifacts, and publish, the whole transaction. */
#include "cmd/cli/cli.h"
#include "cmd/proppush/verbs.h"

#include "crypto/random.h"
#include "http/http.h"

static const struct prop_verb *const verbs[] = {
    &proppush_verb_login,
    &proppush_verb_logout,
    &proppush_verb_push,
    &proppush_verb_copy,
    &proppush_verb_pull,
    &proppush_verb_tag,
    &proppush_verb_inspect,
    &proppush_verb_list_tags,
    &proppush_verb_referrers,
    &proppush_verb_publish,
    &proppush_verb_verify,
    &proppush_verb_delete,
    NULL
};

static const char *(*const libraries[])(void) = { prop_crypto_version, prop_http_version, NULL };

static const struct prop_tool tool = {
    .name = "proppush",
    .summary = "push, copy and publish Wasm artifacts",
    .verbs = verbs,
    .libraries = libraries,
};

int main(int argc, char **argv)
{
    return prop_cli_main(&tool, argc, argv);
}
