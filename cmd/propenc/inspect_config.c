/* Configs of container images, of CNCF Wasm artifacts and of wasm-to-oci, told by their members. */
#include "cmd/propenc/inspect_config.h"

#include "util/limits.h"
#include "util/mem.h"

static int keep(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static json_t *read_config(struct prop_src *src, const struct prop_descriptor *config)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    json_t *doc = NULL;
    if (config->size > PROP_LIMIT_CONFIG || prop_src_blob(src, config, keep, &bytes, NULL) != 0 ||
        prop_json_parse((const char *)bytes.data, bytes.len, "config", &doc, NULL) != 0)
        return NULL;
    return doc;
}

/* A list that is not empty is copied under `name`, and said in words. */
static void tell_list(json_t *out, const char *name, const json_t *list, const char *words)
{
    if (json_array_size(list) == 0)
        return;
    (void)json_object_set_new(out, name, json_deep_copy(list));
    (void)json_array_append_new(json_object_get(out, "clear"), json_string(words));
}

/* Members of an image config that say how the program is run, each in clear. */
static void tell_settings(json_t *out, const json_t *doc)
{
    static const char *const names[] = { "Env", "Entrypoint", "Cmd", "Labels", "User", "WorkingDir",
                                         "ExposedPorts", "Volumes" };
    const json_t *config = json_object_get(doc, "config");
    prop_auto_json json_t *found = json_array();
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++)
        if (json_object_get(config, names[i]))
            (void)json_array_append_new(found, json_string(names[i]));
    if (json_array_size(json_object_get(doc, "history")) > 0)
        (void)json_array_append_new(found, json_string("history"));
    tell_list(out, "settings", found, "settings: how the program is built and run");
}

json_t *propenc_describe_config(struct prop_src *src, const struct prop_descriptor *config)
{
    prop_auto_json json_t *doc = read_config(src, config);
    const json_t *component = json_object_get(doc, "component");
    json_t *out = json_pack("{s:s,s:I,s:b,s:[]}", "media_type", config->media_type, "size",
                            (json_int_t)config->size, "readable", doc ? 1 : 0, "clear");
    if (!out)
        return NULL;
    tell_list(out, "plain_digests", json_object_get(json_object_get(doc, "rootfs"), "diff_ids"),
              "diff_ids: digests of the plain layers, which confirm a guess");
    tell_list(out, "plain_digests", json_object_get(doc, "layerDigests"),
              "layerDigests: digests of the plain layers, which confirm a guess");
    tell_list(out, "imports", json_object_get(component, "imports"),
              "component: the interfaces it imports");
    tell_list(out, "exports", json_object_get(component, "exports"),
              "component: the interfaces it exports");
    tell_settings(out, doc);
    return out;
}
