/* What a guest wrote, as JSON. */
#include "cmd/propcvm/result.h"

#include "util/text.h"

#include <string.h>

static int text_json(const struct prop_buf *b, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf clean = PROP_BUF_INIT(SIZE_MAX / 2);
    int rc = prop_utf8_clean(b->data, b->len, &clean, err);

    if (rc)
        return rc;
    *ret = json_stringn(prop_buf_str(&clean), clean.len);
    return *ret ? 0 : prop_err_nomem(err);
}

static int add_origin(json_t *doc, const struct prop_guest_report *r)
{
    char digest[PROP_DIGEST_TEXT];
    int bad = 0;

    if (r->manifest.len)
        bad |= json_object_set_new(doc, "digest",
                                   json_string(prop_digest_format(&r->manifest, digest)));
    bad |= json_object_set_new(doc, "encrypted", json_boolean(r->encrypted));
    if (r->kid[0])
        bad |= json_object_set_new(doc, "kid", json_string(r->kid));
    return bad;
}

int propcvm_result_doc(const struct prop_guest_run *g, const struct prop_wasm_result *result,
                       json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *out = NULL;
    prop_auto_json json_t *err_out = NULL;
    int rc = text_json(&result->out, &out, err);

    if (rc == 0)
        rc = text_json(&result->err_out, &err_out, err);
    if (rc)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s*,s:O,s:O,s:i}", "name", g->wasm.name, "image", g->image->text,
                  "results", out, "stderr", err_out, "exit_status", result->exit_status);
    if (!doc || add_origin(doc, g->report) ||
        json_object_set_new(doc, "timing", prop_guest_timing_json(g->timing)))
        return prop_err_nomem(err);
    *ret = PROP_TAKE(doc);
    return 0;
}
