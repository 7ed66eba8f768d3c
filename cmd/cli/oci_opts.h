/* The options every verb shares that reads or writes images: how registries are reached.
 *
 *     struct encrypt_opts { struct prop_oci_opts oci; struct prop_strs recipients; };
 *     static const struct prop_opt options[] = {
 *         PROP_OCI_OPTIONS(struct encrypt_opts, oci),
 *         PROP_OPT_END
 *     };
 *     ...
 *     struct prop_oci_options oci;
 *     prop_oci_opts_fill(cli, &o->oci, &oci);
 */
#ifndef PROP_CMD_CLI_OCI_OPTS_H
#define PROP_CMD_CLI_OCI_OPTS_H

#include "cmd/cli/cli.h"
#include "oci/image.h"
#include "util/stop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Member of a verb's option struct. */
struct prop_oci_opts {
    struct prop_strs insecure_registry;
    const char *authfile;
    const char *cert_dir;
    const char *registry_ca;
    uint64_t registry_timeout_ms, timeout_ms, parallel;
    struct prop_progress progress; /* filled by prop_oci_opts_fill */
};

/* For verbs whose --timeout means something else. */
#define PROP_OCI_OPTIONS_UNTIMED(type, member)                                                     \
    { "insecure-registry", 0, PROP_OPT_LIST, "HOST[:PORT]",                                        \
      "plain HTTP for that registry (repeatable; loopback needs no flag)",                         \
      offsetof(type, member.insecure_registry), "PROP_INSECURE_REGISTRY", NULL, false },           \
    { "authfile", 0, PROP_OPT_STRING, "FILE",                                                      \
      "registry credentials (default: those of podman, skopeo and docker)",                        \
      offsetof(type, member.authfile), NULL, NULL, false },                                        \
    { "cert-dir", 0, PROP_OPT_STRING, "DIR",                                                       \
      "certificates of the registry (*.crt, *.cert, *.key) instead of the certs.d search",         \
      offsetof(type, member.cert_dir), NULL, NULL, false },                                        \
    { "registry-ca", 0, PROP_OPT_STRING, "FILE", "trust these roots too for registries (PEM)",     \
      offsetof(type, member.registry_ca), NULL, NULL, false },                                     \
    { "registry-timeout", 0, PROP_OPT_DURATION, "TIME",                                            \
      "give up on a registry that is silent for so long (default 60s)",                            \
      offsetof(type, member.registry_timeout_ms), NULL, NULL, false },                             \
    { "parallel", 0, PROP_OPT_U64, "N", "blobs moved at once (default 3)",                         \
      offsetof(type, member.parallel), "PROP_PARALLEL", NULL, false }

#define PROP_OCI_OPTIONS(type, member)                                                             \
    PROP_OCI_OPTIONS_UNTIMED(type, member),                                                        \
    { "timeout", 0, PROP_OPT_DURATION, "TIME",                                                     \
      "give up on registries so long after the start, retries included (default: no end)",                   \
      offsetof(type, member.timeout_ms), "PROP_TIMEOUT", NULL, false }

/* Fill what the image rooms take. `ret` borrows from `o` and `cli`: both must outlive it. */
void prop_oci_opts_fill(struct prop_cli *cli, struct prop_oci_opts *o,
                        struct prop_oci_options *ret);

#endif
