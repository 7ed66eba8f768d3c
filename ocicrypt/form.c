/* The three ways to pack a module (registry.md 1.1, 1.2; ocicrypt.md 9 for what image-rs demands). */
#include "ocicrypt/form.h"

#include "oci/manifest.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

#define IMAGE_CONFIG "application/vnd.oci.image.config.v1+json"
#define TAR_LAYER "application/vnd.oci.image.layer.v1.tar"

static const struct {
    const char *name, *config_type, *layer_type;
} forms[] = {
    [PROP_FORM_PROPELLER] = { "propeller", PROP_MT_WASM_CONFIG, PROP_MT_WASM_LAYER },
    [PROP_FORM_CNCF] = { "cncf", PROP_MT_CNCF_CONFIG, PROP_MT_CNCF_LAYER },
    [PROP_FORM_TAR] = { "tar", IMAGE_CONFIG, TAR_LAYER },
};

int prop_form_parse(const char *text, enum prop_form *ret, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(forms); i++)
        if (strcmp(text, forms[i].name) == 0) {
            *ret = (enum prop_form)i;
            return 0;
        }
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-form", "'%s' is no form of a module", text);
    return prop_err_hint(err, "propeller, cncf or tar");
}

const char *prop_form_layer_type(enum prop_form form)
{
    return forms[form].layer_type;
}

void prop_form_created(char out[21])
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    uint64_t t = 0;
    if (epoch && (prop_parse_u64(epoch, "SOURCE_DATE_EPOCH", &t, NULL) != 0 || t > 253402300799))
        t = 0;
    prop_rfc3339((time_t)t, out);
}

static json_t *digests(const struct prop_digest *plain)
{
    char text[PROP_DIGEST_TEXT];
    return plain ? json_pack("[s]", prop_digest_format(plain, text)) : json_array();
}

static int cncf_config(const struct prop_digest *plain, const struct prop_wasm_scan *scan,
                       json_t **ret, struct prop_err *err)
{
    enum prop_wasm_kind kind = prop_wasm_scan_kind(scan);
    prop_auto_json json_t *imports = NULL;
    prop_auto_json json_t *exports = NULL;
    prop_auto_json json_t *component = json_null();
    char time[21];
    prop_form_created(time);
    if (kind == PROP_WASM_NONE)
        return prop_err_set_id(err, PROP_E_INPUT, "not-wasm",
                               "it is no WebAssembly module or component");
    if (kind == PROP_WASM_COMPONENT && plain) {
        int rc = prop_wasm_scan_names(scan, &imports, &exports, err);
        if (rc != 0)
            return rc;
        component = json_pack("{s:O,s:O,s:n}", "exports", exports, "imports", imports, "target");
    }
    *ret = json_pack("{s:s,s:n,s:s,s:s,s:o,s:O}", "created", time, "author", "architecture", "wasm",
                     "os", kind == PROP_WASM_MODULE ? "wasip1" : "wasip2", "layerDigests",
                     digests(plain), "component", component);
    return *ret ? 0 : prop_err_nomem(err);
}

static int tar_config(const struct prop_digest *plain, json_t **ret, struct prop_err *err)
{
    char time[21];
    prop_form_created(time);
    *ret = json_pack("{s:s,s:s,s:s,s:{s:[s]},s:{s:s,s:o}}", "created", time, "architecture", "wasm",
                     "os", "linux", "config", "Entrypoint", "/module.wasm", "rootfs", "type",
                     "layers", "diff_ids", digests(plain));
    return *ret ? 0 : prop_err_nomem(err);
}

int prop_form_config(enum prop_form form, const struct prop_digest *plain,
                     const struct prop_wasm_scan *scan, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_json json_t *config = NULL;
    if (form == PROP_FORM_PROPELLER)
        return prop_buf_puts(out, prop_wasm_config_blob, err);
    int rc = form == PROP_FORM_CNCF ? cncf_config(plain, scan, &config, err)
                                    : tar_config(plain, &config, err);
    if (rc != 0)
        return rc;
    prop_auto_free char *text = prop_json_compact(config);
    return text ? prop_buf_puts(out, text, err) : prop_err_nomem(err);
}

json_t *prop_form_manifest(enum prop_form form, const struct prop_digest *config,
                           uint64_t config_size, const struct prop_digest *layer,
                           uint64_t layer_size, const char *title)
{
    if (form == PROP_FORM_PROPELLER)
        return prop_manifest_new_wasm(layer, layer_size, title);
    prop_auto_json json_t *c = prop_descriptor_new(forms[form].config_type, config, config_size);
    prop_auto_json json_t *l = prop_descriptor_new(forms[form].layer_type, layer, layer_size);
    if (!c || !l ||
        (title && *title && prop_descriptor_annotate(l, PROP_ANNOTATION_TITLE, title, NULL) != 0))
        return NULL;
    return json_pack("{s:i,s:s,s:O,s:[O]}", "schemaVersion", 2, "mediaType", PROP_MT_OCI_MANIFEST,
                     "config", c, "layers", l);
}
