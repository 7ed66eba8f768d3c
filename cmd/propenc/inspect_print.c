/* One line per layer, recipient and readable thing. */
#include "cmd/propenc/inspect_print.h"

#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

/* Text of the image on a terminal: made printable first. */
static void put(FILE *out, const char *before, const char *text)
{
    char safe[512];
    if (text)
        (void)fprintf(out, "%s%s", before, prop_printable(text, strlen(text), safe, sizeof(safe)));
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void print_recipients(const json_t *scheme, FILE *out)
{
    static const struct { const char *member, *before; } shown[] = {
        { "alg", "  " }, { "enc", "  " }, { "epk_crv", "  " }, { "wrap_type", "  " },
        { "kid", "  " }, { "issuer", "  issuer " }, { "serial", "  serial " },
        { "key_id", "  key " }, { "hash", "  " },
    };
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(scheme, "recipients"), i, r) {
        put(out, "    ", text_of(scheme, "scheme"));
        for (size_t k = 0; k < PROP_ARRAY_LEN(shown); k++)
            put(out, shown[k].before, text_of(r, shown[k].member));
        const json_t *bytes = json_object_get(r, "bytes");
        if (bytes)
            (void)fprintf(out, "  %lld bytes", (long long)json_integer_value(bytes));
        (void)fprintf(out, "\n");
    }
}

static void print_members(const json_t *object, const char *before, FILE *out)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v) {
        put(out, before, key);
        put(out, " = ", json_string_value(v));
        (void)fprintf(out, "\n");
    }
}

bool propenc_layer_is_sealed(const json_t *layer)
{
    return json_is_true(json_object_get(layer, "encrypted")) &&
           json_is_string(json_object_get(layer, "cipher")) &&
           json_array_size(json_object_get(layer, "schemes")) > 0;
}

static const char *state_of(const json_t *layer)
{
    if (propenc_layer_is_sealed(layer))
        return "encrypted";
    return json_is_true(json_object_get(layer, "encrypted")) ? "encrypted by its type ONLY" : "PLAIN";
}

static void print_layer(size_t number, const json_t *layer, FILE *out)
{
    size_t i;
    json_t *v;
    bool encrypted = json_is_true(json_object_get(layer, "encrypted"));
    (void)fprintf(out, "layer %zu: %s, %lld bytes", number, state_of(layer),
                  (long long)json_integer_value(json_object_get(layer, "size")));
    put(out, ", ", text_of(layer, "media_type"));
    (void)fprintf(out, "\n");
    json_array_foreach(json_object_get(layer, "schemes"), i, v)
        print_recipients(v, out);
    if (encrypted)
        (void)fprintf(out, "    in clear: size (the plaintext has as many bytes)\n");
    print_members(json_object_get(layer, "clear_annotations"), "    in clear: ", out);
}

static void print_list(const json_t *config, const char *name, FILE *out)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(config, name), i, v) {
        (void)fprintf(out, "    %s", name);
        put(out, " ", json_string_value(v));
        (void)fprintf(out, "\n");
    }
}

static void print_config(const json_t *config, FILE *out)
{
    static const char *const lists[] = { "plain_digests", "imports", "exports", "settings" };
    size_t i;
    json_t *v;
    if (!config)
        return;
    (void)fprintf(out, "config: in clear, %lld bytes",
                  (long long)json_integer_value(json_object_get(config, "size")));
    put(out, ", ", text_of(config, "media_type"));
    (void)fprintf(out, "\n");
    json_array_foreach(json_object_get(config, "clear"), i, v)
        (void)fprintf(out, "    in clear: %s\n", json_string_value(v));
    for (i = 0; i < PROP_ARRAY_LEN(lists); i++)
        print_list(config, lists[i], out);
}

static void print_image(const json_t *image, FILE *out)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(image, "layers"), i, v)
        print_layer(i + 1, v, out);
    print_config(json_object_get(image, "config"), out);
    print_members(json_object_get(image, "annotations"), "in clear: ", out);
}

void propenc_print_inspected(const json_t *doc, void *stream)
{
    FILE *out = stream;
    size_t i;
    json_t *image;
    const char *digest = text_of(doc, "digest");
    put(out, "", text_of(doc, "image"));
    (void)fprintf(out, "  %s\n", digest ? digest : "bare module, not encrypted");
    print_image(doc, out);
    json_array_foreach(json_object_get(doc, "images"), i, image) {
        const char *platform = text_of(image, "platform");
        (void)fprintf(out, "\nimage %zu:", i + 1);
        put(out, " ", platform && *platform ? platform : "no platform");
        put(out, "  ", text_of(image, "digest"));
        (void)fprintf(out, "%s\n", json_object_get(image, "missing") ? "  not there" : "");
        print_image(image, out);
    }
}
