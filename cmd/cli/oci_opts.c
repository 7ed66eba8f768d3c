/* Registry options of the command line, handed to the image rooms. */
#include "cmd/cli/oci_opts.h"

#include "util/text.h"

#include <limits.h>
#include <string.h>

static void warn(void *ctx, const char *registry, const char *text)
{
    prop_cli_warn(ctx, "'%s' says: %s", registry, text);
}

void prop_oci_opts_fill(struct prop_cli *cli, struct prop_oci_opts *o,
                        struct prop_oci_options *ret)
{
    memset(ret, 0, sizeof(*ret));
    o->progress.report = prop_cli_progress;
    o->progress.ctx = cli;
    ret->insecure_registries = o->insecure_registry.items;
    ret->n_insecure = o->insecure_registry.n;
    ret->authfile = o->authfile;
    ret->ca_cert = o->registry_ca;
    ret->cert_dir = o->cert_dir;
    ret->stall_timeout_ms = o->registry_timeout_ms;
    /* one end for all that the command asks of registries, however many connections that takes */
    if (o->timeout_ms > 0 && o->timeout_ms < UINT64_MAX - prop_now_ms())
        ret->deadline_ms = prop_now_ms() + o->timeout_ms;
    ret->parallel = o->parallel > UINT_MAX ? UINT_MAX : (unsigned)o->parallel;
    ret->warn = warn;
    ret->warn_ctx = cli;
    ret->progress = &o->progress;
}
