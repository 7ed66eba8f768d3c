/* Recipients that a key provider of an ocicrypt configuration wraps for. A provider is asked once
 * per layer, with the PARAMS of all its arguments (ocicrypt.md 6.2). */
#include "ocicrypt/recipient_internal.h"

#include "keyprovider/keyprovider.h"
#include "ocicrypt/annot.h"

#include <string.h>

static const char *provider_of(const struct prop_recipient *c)
{
    return c->annotation + strlen(PROP_SCHEME_PROVIDER);
}

static int external_wrap(const struct prop_recipients *r, const struct prop_recipient *c,
                         const struct prop_secret *privopts, struct prop_buf *out,
                         struct prop_err *err)
{
    int rc = prop_kp_wrap(r->config, provider_of(c), (const char *const *)c->params, c->n_params,
                          privopts, out, err);
    if (rc == 0 && memmem(out->data, out->len, prop_secret_data(privopts),
                          prop_secret_len(privopts)))
        rc = prop_err_set_id(err, PROP_E_REMOTE, "provider-failed",
                             "key provider '%s' gave the layer's key back as it is: everybody could "
                             "read it", provider_of(c));
    if (rc == 0 && out->len == 0) /* ocicrypt takes this for success and adds nothing */
        rc = prop_err_set_id(err, PROP_E_REMOTE, "provider-failed",
                             "key provider '%s' gave nothing for the annotation", provider_of(c));
    return rc;
}

/* Asking it to unwrap needs what only the reader has. */
static bool external_at_hand(const struct prop_recipients *r, const struct prop_recipient *c)
{
    (void)r;
    (void)c;
    return false;
}

static const struct prop_scheme scheme = { external_wrap, external_at_hand, NULL, NULL };

static int add_params(struct prop_recipient *c, const char *params, struct prop_err *err)
{
    char **more = prop_realloc_array(c->params, c->n_params + 1, sizeof(*more));
    if (!more)
        return prop_err_nomem(err);
    c->params = more;
    c->params[c->n_params] = prop_strdup(params);
    if (!c->params[c->n_params])
        return prop_err_nomem(err);
    c->n_params++;
    return 0;
}

static struct prop_recipient *find(struct prop_recipients *r, const char *annotation)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].scheme == &scheme && strcmp(r->items[i].annotation, annotation) == 0)
            return &r->items[i];
    return NULL;
}

static int check_configured(const struct prop_recipients *r, const char *annotation,
                            struct prop_err *err)
{
    const char *name = annotation + strlen(PROP_SCHEME_PROVIDER);
    if (r->config && prop_kp_config_has(r->config, name))
        return 0;
    (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-provider",
                          "key provider '%s' is in no configuration", name);
    return prop_err_hint(err, "name the file that has it with --keyprovider-config, or in "
                         "OCICRYPT_KEYPROVIDER_CONFIG");
}

int prop_recipients_add_external(struct prop_recipients *r, const char *text,
                                 struct prop_err *err)
{
    struct prop_recipient c = { .scheme = &scheme };
    size_t len = strcspn(text, ":");
    /* Go's word for no PARAMS (ocicrypt.md 6.3) */
    const char *params = text[len] ? text + len + 1 : "Enabled";
    prop_auto_free char *annotation = prop_asprintf(PROP_SCHEME_PROVIDER "%.*s", (int)len, text);
    if (!annotation)
        return prop_err_nomem(err);
    int rc = check_configured(r, annotation, err);
    if (rc != 0)
        return rc;
    struct prop_recipient *known = find(r, annotation);
    if (!known) {
        if ((rc = prop_recipients_append_new(r, &c, annotation, err)) != 0)
            return rc;
        known = &r->items[r->n - 1];
    }
    return add_params(known, params, err);
}
