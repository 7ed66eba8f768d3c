/* What push, copy and pull share: open both ends, move the image, say where it went. */
#include "cmd/proppush/verbs.h"

#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define auto_location __attribute__((cleanup(prop_location_release)))
#define LOCATION_INIT { PROP_T_FILE, NULL, NULL, { NULL, NULL, NULL, { 0 } }, NULL }

int proppush_open_src(const char *text, const char *digest, const struct prop_oci_options *oci,
                      struct prop_src **ret, struct prop_err *err)
{
    auto_location struct prop_location loc = LOCATION_INIT;
    prop_auto_src struct prop_src *src = NULL;
    struct prop_digest want;
    int rc = prop_location_parse(text, &loc, err);

    if (rc == 0)
        rc = prop_src_open(&loc, oci, &src, err);
    if (rc == 0 && digest != NULL) {
        rc = prop_digest_parse(digest, &want, err);
        if (rc < 0)
            return prop_err_wrap(err, "--digest");
        rc = prop_src_expect(src, &want, err);
    }
    if (rc < 0)
        return rc;
    *ret = PROP_TAKE(src);
    return 0;
}

static int open_dst(const char *text, const struct prop_oci_options *oci,
                    struct prop_location *loc, struct prop_dst **ret, struct prop_err *err)
{
    int rc = prop_location_parse(text, loc, err);

    return rc == 0 ? prop_dst_open(loc, oci, ret, err) : rc;
}

static int describe(const struct proppush_copy *c, const struct prop_location *dst,
                    const struct prop_digest *digest, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    prop_auto_free char *reference = NULL;
    prop_auto_free char *pinned = NULL;
    char text[PROP_DIGEST_TEXT];

    prop_digest_format(digest, text);
    if (dst->transport == PROP_T_DOCKER) {
        reference = prop_ref_format(&dst->ref);
        pinned = prop_asprintf("%s/%s@%s", dst->ref.domain, dst->ref.path, text);
    } else {
        reference = prop_strdup(dst->text);
    }
    if (reference == NULL || (dst->transport == PROP_T_DOCKER && pinned == NULL))
        return prop_err_nomem(err);
    doc = json_pack("{s:s, s:s, s:s, s:s*}", "source", c->src, "reference", reference, "digest",
                    text, "pinned", pinned);
    if (doc == NULL)
        return prop_err_nomem(err);
    *ret = PROP_TAKE(doc);
    return 0;
}

int proppush_copy_image(const struct proppush_copy *c, const struct prop_oci_options *oci,
                        json_t **ret_doc, struct prop_err *err)
{
    auto_location struct prop_location loc = LOCATION_INIT;
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    struct prop_digest digest;
    int rc = proppush_open_src(c->src, c->digest, oci, &src, err);

    if (rc == 0 && c->title != NULL) {
        if (!prop_src_is_bare(src))
            return prop_err_set(err, PROP_E_USAGE,
                                "--title is for bare modules; '%s' is an image and is not changed",
                                c->src);
        rc = prop_src_set_title(src, c->title, err);
    }
    if (rc == 0)
        rc = open_dst(c->dst, oci, &loc, &dst, err);
    if (rc < 0)
        return rc;
    rc = prop_image_copy(src, dst, &digest, err);
    if (rc < 0)
        return rc == PROP_E_INTERRUPTED ? rc : prop_err_wrap(err, "copy to '%s'", c->dst);
    return describe(c, &loc, &digest, ret_doc, err);
}

void proppush_print_copied(const json_t *doc, void *stream)
{
    const char *pinned = json_string_value(json_object_get(doc, "pinned"));

    if (pinned != NULL)
        (void)fprintf(stream, "%s\n", pinned);
    else
        (void)fprintf(stream, "%s %s\n", json_string_value(json_object_get(doc, "reference")),
                      json_string_value(json_object_get(doc, "digest")));
}

int proppush_read_host(const char *text, char **ret, struct prop_err *err)
{
    prop_auto_free char *probe = prop_asprintf("%s/x", text);
    struct prop_ref ref = { 0 };
    bool named;

    if (probe == NULL)
        return prop_err_nomem(err);
    named = prop_ref_parse(probe, &ref, NULL) == 0 && strchr(text, '/') == NULL &&
            (strcmp(ref.domain, text) == 0 || strcmp(text, "index.docker.io") == 0);
    if (named)
        *ret = prop_strdup(ref.domain);
    prop_ref_release(&ref);
    if (named)
        return *ret == NULL ? prop_err_nomem(err) : 0;
    prop_err_set_id(err, PROP_E_USAGE, "bad-host", "'%s' is no registry host", text);
    return prop_err_hint(err, "write HOST or HOST:PORT, without https:// and without a path");
}
