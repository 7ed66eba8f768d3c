/* The verbs of proppush, one file each, and what several of them share. */
#ifndef PROP_CMD_PROPPUSH_VERBS_H
#define PROP_CMD_PROPPUSH_VERBS_H

#include "cmd/cli/cli.h"
#include "oci/image.h"

#include <stdbool.h>
#include <stddef.h>

extern const struct prop_verb proppush_verb_login;
extern const struct prop_verb proppush_verb_logout;
extern const struct prop_verb proppush_verb_push;
extern const struct prop_verb proppush_verb_copy;
extern const struct prop_verb proppush_verb_pull;
extern const struct prop_verb proppush_verb_tag;
extern const struct prop_verb proppush_verb_inspect;
extern const struct prop_verb proppush_verb_list_tags;
extern const struct prop_verb proppush_verb_referrers;
extern const struct prop_verb proppush_verb_publish;
extern const struct prop_verb proppush_verb_verify;
extern const struct prop_verb proppush_verb_delete;

/* Open a source as typed; `digest` (may be NULL) pins what its name must stand for. */
int proppush_open_src(const char *text, const char *digest, const struct prop_oci_options *oci,
                      struct prop_src **ret, struct prop_err *err);

struct proppush_copy {
    const char *src, *dst; /* as typed; DST may be REF:TAG,TAG */
    const char *digest;    /* pin, or NULL */
    const char *title;     /* of a bare module's layer, or NULL */
    const char *const *platforms; /* of an index: "os/arch[/variant]"; none = all */
    size_t n_platforms;
    bool dry_run;          /* read and ask, write nothing */
    bool referrers;        /* copy what refers to it, too */
};
/* Copy a whole image or index, or pack a bare module, and give it its names last; `doc` is as
 * proppush_describe makes it (transfer.h). Owned. */
int proppush_copy_image(const struct proppush_copy *c, const struct prop_oci_options *oci,
                        json_t **ret_doc, struct prop_err *err);
/* What people see: what was left out, and REFERENCE@DIGEST. */
void proppush_print_copied(const json_t *doc, void *stream);

/* Check that `text` is HOST[:PORT] and give it as references name it. Owned. */
int proppush_read_host(const char *text, char **ret, struct prop_err *err);

#endif
