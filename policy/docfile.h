/* The file a policy document is kept in: read, checked that it can be replaced before anything is
 * uploaded, replaced as a whole afterwards. */
#ifndef PROP_POLICY_DOCFILE_H
#define PROP_POLICY_DOCFILE_H

#include "policy/document.h"

#include <stdbool.h>
#include <sys/types.h>

struct prop_policy_file {
    char *path;   /* the file itself where a link was named; NULL = none */
    mode_t mode;
    bool fresh;   /* it is not there yet */
};
#define PROP_POLICY_FILE_INIT { NULL, 0, false }
void prop_policy_file_release(struct prop_policy_file *f);

/* The document in `path`; with may_be_fresh an empty one when the file is not there.
 * Fails: PROP_E_NOTFOUND, PROP_E_IO and what prop_policy_doc_parse fails with. */
int prop_policy_file_read(const char *path, bool may_be_fresh, struct prop_policy_file *ret,
                          struct prop_policy_doc **ret_doc, struct prop_err *err);
/* The file is replaced by a new one beside it: both must be possible. PROP_E_IO. */
int prop_policy_file_check(const struct prop_policy_file *f, struct prop_err *err);
/* After an upload: fails with a hint that the KBS has what the file lacks. */
int prop_policy_file_write(const struct prop_policy_file *f, const struct prop_buf *text,
                           struct prop_err *err);

#endif
