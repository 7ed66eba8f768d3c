/* Layers by number or media type. A number that is out of range is an error, where older skopeo takes
 * it modulo the number of layers and encrypts another one. */
#include "ocicrypt/image_select.h"

#include "util/text.h"

#include <string.h>

#define DIGITS_MAX 6

/* "3", "-1": the number; false when it is none. */
static bool number(const char *text, long *ret)
{
    bool negative = text[0] == '-';
    uint64_t n = 0;
    if (strlen(text) > DIGITS_MAX || prop_parse_u64(text + negative, "layer", &n, NULL) != 0)
        return false;
    *ret = negative ? -(long)n : (long)n;
    return true;
}

int prop_layer_choice_check(const struct prop_layer_choice *c, struct prop_err *err)
{
    long n = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (strcmp(c->which[i], "all") == 0 || number(c->which[i], &n) || strchr(c->which[i], '/'))
            continue;
        (void)prop_err_set_id(err, PROP_E_USAGE, "bad-layer", "'%s' names no layer", c->which[i]);
        return prop_err_hint(err, "a number from 0 (-1 is the last), a media type, or all");
    }
    return 0;
}

static bool is_type(const struct prop_descriptor *layer, const char *type)
{
    size_t len = strlen(type);
    return strncmp(layer->media_type, type, len) == 0 &&
           (layer->media_type[len] == 0 ||
            strcmp(layer->media_type + len, PROP_MT_ENCRYPTED) == 0);
}

int prop_layer_choice_apply(const struct prop_layer_choice *c, const struct prop_manifest *m,
                            bool *ret, bool *used, struct prop_err *err)
{
    for (size_t i = 0; i < m->n_layers; i++)
        ret[i] = c->n == 0;
    for (size_t k = 0; k < c->n; k++) {
        long at = 0;
        bool counted = number(c->which[k], &at);
        bool all = strcmp(c->which[k], "all") == 0;
        if (counted && at < 0)
            at += (long)m->n_layers;
        if (counted && (at < 0 || (size_t)at >= m->n_layers))
            return prop_err_set_id(err, PROP_E_USAGE, "no-such-layer",
                                   "there is no layer %s: the image has %zu", c->which[k],
                                   m->n_layers);
        for (size_t i = 0; i < m->n_layers; i++)
            if (counted ? i == (size_t)at : all || is_type(&m->layers[i], c->which[k])) {
                ret[i] = true;
                if (used)
                    used[k] = true;
            }
    }
    return 0;
}
