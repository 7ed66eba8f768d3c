/* proppush logout HOST: forget a registry's credentials wherever they are kept. */
#include "cmd/proppush/verbs.h"

#include "oci/auth.h"
#include "util/mem.h"

#include <stdio.h>

struct logout_opts {
    const char *authfile;
};

static const struct prop_opt options[] = {
    { "authfile", 0, PROP_OPT_STRING, "FILE",
      "registry credentials (default: those of podman, skopeo and docker)",
      offsetof(struct logout_opts, authfile), NULL, NULL, false },
    PROP_OPT_END
};

static void print_logout(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "Removed login credentials for %s\n",
                  json_string_value(json_object_get(doc, "registry")));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct logout_opts *o = opts;
    prop_auto_free char *host = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc = proppush_read_host(prop_cli_arg(cli, 0), &host, err);

    if (rc == 0)
        rc = prop_auth_erase(o->authfile, host, err);
    if (rc < 0)
        return rc;
    doc = json_pack("{s:s}", "registry", host);
    return doc == NULL ? prop_err_nomem(err) : prop_cli_result(cli, doc, print_logout, err);
}

const struct prop_verb proppush_verb_logout = {
    "logout", "HOST[:PORT]", "forget a registry's credentials", NULL,
    options, sizeof(struct logout_opts), 1, 1, run
};
