/* The fallback tag: an index that lists who refers to a manifest, kept by those who write referrers where
 * the registry does not (registry.md 2.6). */
#ifndef PROP_OCI_REFERRERS_TAG_H
#define PROP_OCI_REFERRERS_TAG_H

#include "oci/session.h"
#include "util/err.h"
#include "util/json.h"

/* A conversation about one repository. */
struct prop_referrers_talk {
    struct prop_session *session;
    const char *path; /* borrowed */
    char *scope;
};

/* The index under a tag; an empty one when there is none. Owned by the caller. Fails: PROP_E_INPUT (id
 * "bad-referrers"), PROP_E_REMOTE, network codes. */
int prop_referrers_tag_read(const struct prop_referrers_talk *t, const char *tag, json_t **ret,
                            struct prop_err *err);

/* Have `entry` (a descriptor) listed there, beside what others list. Nobody can lock a tag, and registries
 * know no "write if it is still that": after writing, the list is watched until it has not changed for
 * longer than the slowest write seen so far could take, and whatever was seen in it and is lost to
 * another's write, ours or not, is put back (unless it was deleted). As long as those who write at once
 * all do that, nothing is lost.
 * Fails: as above, PROP_E_REMOTE (id "referrers-race") when ours does not stay. */
int prop_referrers_tag_keep(const struct prop_referrers_talk *t, const char *tag, json_t *entry,
                            struct prop_err *err);

#endif
