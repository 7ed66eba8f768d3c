/* Image references and transports (registry.md 6). */
#ifndef PROP_OCI_REF_H
#define PROP_OCI_REF_H

#include "crypto/digest.h"
#include "util/err.h"

/* "host[:port]/path[:tag][@digest]" taken apart. All strings owned. */
struct prop_ref {
    char *domain;  /* "docker.io", "127.0.0.1:5000", "[::1]:5000" */
    char *path;    /* "team/app" */
    char *tag;     /* NULL when absent and a digest is given; else at least "latest" */
    struct prop_digest digest; /* len 0 = none */
};
int prop_ref_parse(const char *text, struct prop_ref *ret, struct prop_err *err);
void prop_ref_release(struct prop_ref *r);
/* Full text form; NULL when memory is out. */
char *prop_ref_format(const struct prop_ref *r);

enum prop_transport {
    PROP_T_DOCKER,      /* docker://ref */
    PROP_T_OCI,         /* oci:dir[:name] */
    PROP_T_OCI_ARCHIVE, /* oci-archive:file[:name] */
    PROP_T_DIR,         /* dir:folder */
    PROP_T_FILE,        /* a bare path to a .wasm file, or "-" */
    PROP_T_SINK         /* "sink:" encrypt into nothing: all hashes, nothing written (dry run) */
};

/* A SRC or DST as typed. */
struct prop_location {
    enum prop_transport transport;
    char *path;       /* folder or file; NULL for docker */
    char *name;       /* layout name after the colon, or NULL */
    struct prop_ref ref; /* docker only */
    char *text;       /* as typed, for messages */
};
/* Bare "host/name:tag" is docker; a bare path that ends in .wasm, exists as a file, or starts with
 * "/" or "." is a file; "-" is stdin. */
int prop_location_parse(const char *text, struct prop_location *ret, struct prop_err *err);
void prop_location_release(struct prop_location *l);

#endif
