/* Referrers of referrers are followed with a list, not by recursion: whoever pushes decides how deep
 * it goes. */
#include "cmd/proppush/follow.h"

#include "cmd/proppush/names.h"
#include "oci/referrers.h"
#include "util/mem.h"

#include <string.h>

#define FOLLOW_MAX 1000

struct following {
    const struct proppush_copy *c;
    const struct prop_oci_options *oci;
    struct prop_location from, to;
    json_t *all; /* descriptors, each once */
};

static int list(const struct following *f, const struct prop_digest *subject, json_t **ret,
                struct prop_err *err)
{
    enum prop_referrers_way way;

    return f->from.transport == PROP_T_DOCKER
               ? prop_referrers_list(&f->from.ref, f->oci, subject, NULL, ret, &way, err)
               : prop_layout_referrers(f->from.path, subject, NULL, ret, err);
}

static bool known(const json_t *all, const char *digest)
{
    size_t i;
    json_t *have;

    json_array_foreach((json_t *)(uintptr_t)all, i, have)
        if (strcmp(json_string_value(json_object_get(have, "digest")), digest) == 0)
            return true;
    return false;
}

static int add_new(struct following *f, json_t *found, struct prop_err *err)
{
    size_t i;
    json_t *entry;

    json_array_foreach(found, i, entry) {
        if (known(f->all, json_string_value(json_object_get(entry, "digest"))))
            continue;
        if (json_array_size(f->all) >= FOLLOW_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "more than %d artifacts refer to it",
                                FOLLOW_MAX);
        if (json_array_append(f->all, entry) < 0)
            return prop_err_nomem(err);
    }
    return 0;
}

static int copy_one(const struct following *f, const char *digest, struct prop_err *err)
{
    prop_auto_free char *src =
        f->from.transport == PROP_T_DOCKER
            ? prop_asprintf("docker://%s/%s@%s", f->from.ref.domain, f->from.ref.path, digest)
            : prop_asprintf("oci:%s:@%s", f->from.path, digest);
    prop_auto_free char *dst =
        prop_asprintf("docker://%s/%s@%s", f->to.ref.domain, f->to.ref.path, digest);
    const struct proppush_copy c = { .src = src, .dst = dst, .dry_run = f->c->dry_run };
    prop_auto_json json_t *doc = NULL;

    if (src == NULL || dst == NULL)
        return prop_err_nomem(err);
    return proppush_copy_image(&c, f->oci, &doc, err);
}

static int follow(struct following *f, const struct prop_digest *subject, struct prop_err *err)
{
    struct prop_digest next = *subject;

    for (size_t i = 0;; i++) {
        prop_auto_json json_t *found = NULL;
        const char *digest;
        int rc = list(f, &next, &found, err);

        if (rc == 0)
            rc = add_new(f, found, err);
        if (rc < 0 || i == json_array_size(f->all))
            return rc;
        digest = json_string_value(json_object_get(json_array_get(f->all, i), "digest"));
        rc = prop_digest_parse(digest, &next, err);
        if (rc == 0)
            rc = copy_one(f, digest, err);
        if (rc < 0)
            return prop_err_wrap(err, "what refers to it");
    }
}

static int check_places(const struct following *f, struct prop_err *err)
{
    if ((f->from.transport == PROP_T_DOCKER || f->from.transport == PROP_T_OCI) &&
        f->to.transport == PROP_T_DOCKER)
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "no-referrers",
                    "--referrers copies from registries and layouts to registries");
    return prop_err_hint(err, "leave it out, or name a repository as DST");
}

int proppush_copy_referrers(const struct proppush_copy *c, const struct prop_digest *subject,
                            const struct prop_oci_options *oci, json_t *doc, struct prop_err *err)
{
    struct following f = { .c = c, .oci = oci, .all = json_array() };
    struct proppush_names names = PROPPUSH_NAMES_INIT;
    int rc = f.all == NULL ? prop_err_nomem(err) : proppush_names_read(c->dst, &names, err);

    f.to = names.first;
    if (rc == 0)
        rc = prop_location_parse(c->src, &f.from, err);
    if (rc == 0 && subject != NULL)
        rc = follow(&f, subject, err);
    else if (rc == 0)
        rc = check_places(&f, err);
    if (rc == 0 && doc != NULL && json_object_set(doc, "referrers", f.all) < 0)
        rc = prop_err_nomem(err);
    json_decref(f.all);
    prop_location_release(&f.from);
    proppush_names_release(&names);
    return rc;
}
