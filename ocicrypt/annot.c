/* Comma lists of base64 blocks in the annotations of a layer descriptor. */
#include "ocicrypt/annot.h"

#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

bool prop_enc_next_block(const char **cursor, const char **ret, size_t *ret_len)
{
    const char *at = *cursor;
    if (!at || at[0] == 0)
        return false;
    if (at[0] == ',')
        at++;
    *ret = at;
    *ret_len = strcspn(at, ",");
    /* A comma at the very end closes the last block; it does not open an empty one. */
    *cursor = at + *ret_len;
    if (strcmp(*cursor, ",") == 0)
        *cursor += 1;
    return true;
}

int prop_enc_count_blocks(const char *value, size_t *ret, struct prop_err *err)
{
    const char *cursor = value;
    const char *block = NULL;
    size_t len = 0, n = 0;
    if (strlen(value) > PROP_LIMIT_ANNOTATION)
        return prop_err_set(err, PROP_E_LIMIT, "annotation of %zu bytes, at most %u are read",
                            strlen(value), PROP_LIMIT_ANNOTATION);
    while (prop_enc_next_block(&cursor, &block, &len))
        n++;
    if (n > PROP_LIMIT_RECIPIENTS)
        return prop_err_set(err, PROP_E_LIMIT,
                            "annotation with %zu recipients, at most %d are read", n,
                            PROP_LIMIT_RECIPIENTS);
    *ret = n;
    return 0;
}

int prop_enc_decode_block(const char *scheme, const char *text, size_t len, struct prop_buf *out,
                          struct prop_err *err)
{
    prop_buf_clear(out);
    int rc = prop_b64_decode(PROP_B64_STD, text, len, "annotation", out, err);
    if (rc == PROP_E_INPUT || (rc == 0 && out->len == 0))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "annotation '" PROP_ENC_KEYS "%s' is not base64", scheme);
    return rc;
}

int prop_enc_pubopts(const struct prop_descriptor *layer, char **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    const char *value = prop_descriptor_annotation(layer, PROP_ENC_PUBOPTS);
    if (!value)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "the layer has no annotation '" PROP_ENC_PUBOPTS
                               "': no cipher type provided");
    int rc = prop_b64_decode(PROP_B64_STD, value, strlen(value), "pubopts", &text, err);
    if (rc == PROP_E_INPUT || (rc == 0 && (text.len == 0 || memchr(text.data, 0, text.len))))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "annotation '" PROP_ENC_PUBOPTS "' is not the base64 of a text");
    if (rc != 0)
        return rc;
    char *taken = prop_buf_take(&text, NULL);
    *ret = taken;
    return 0;
}

int prop_enc_append_block(json_t *descriptor, const char *key, const void *data, size_t len,
                          struct prop_err *err)
{
    prop_auto_buf struct prop_buf list = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    const char *old = json_string_value(
        json_object_get(json_object_get(descriptor, "annotations"), key));
    int rc = 0;
    if (old && ((rc = prop_buf_puts(&list, old, err)) != 0 ||
                (rc = prop_buf_puts(&list, ",", err)) != 0))
        return rc;
    rc = prop_b64_append(&list, PROP_B64_STD, data, len, err);
    return rc != 0 ? rc : prop_descriptor_annotate(descriptor, key, prop_buf_str(&list), err);
}

void prop_enc_strip(json_t *descriptor)
{
    json_t *all = json_object_get(descriptor, "annotations");
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(all, next, key, value)
        if (prop_starts_with(key, PROP_ENC_PREFIX))
            (void)json_object_del(all, key);
    if (all && json_object_size(all) == 0)
        (void)json_object_del(descriptor, "annotations");
}
