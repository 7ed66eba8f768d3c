/* The shared key broker options, turned into a client. */
#include "cmd/cli/kbs_opts.h"

#include "util/file.h"
#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

/* Did this value come from the environment variable rather than from a flag? A flag that repeats
 * the variable's text names the same file, so nothing is lost by taking it for the variable. */
static bool from_env(const char *value, const char *variable)
{
    const char *env = getenv(variable);
    return env && strcmp(env, value) == 0;
}

static int choose_admin(const struct prop_kbs_opts *o, struct prop_kbs_config *c,
                        struct prop_err *err)
{
    c->admin_key = o->admin_key;
    c->admin_token = o->admin_token;
    if (!o->admin_key || !o->admin_token)
        return 0;
    bool key_env = from_env(o->admin_key, "PROP_ADMIN_KEY");
    bool token_env = from_env(o->admin_token, "PROP_ADMIN_TOKEN");
    if (key_env == token_env) {
        prop_err_set_id(err, PROP_E_USAGE, "two-admins",
                        "an admin key and an admin token are both named");
        return prop_err_hint(err, "give one of --admin-key and --admin-token (or one of "
                                  "PROP_ADMIN_KEY and PROP_ADMIN_TOKEN)");
    }
    if (key_env)
        c->admin_key = NULL;
    else
        c->admin_token = NULL;
    return 0;
}

int prop_kbs_opts_config(const struct prop_kbs_opts *o, struct prop_kbs_config *ret,
                         struct prop_err *err)
{
    if (!o->kbs || !*o->kbs) {
        prop_err_set_id(err, PROP_E_USAGE, "no-kbs", "no key broker is named");
        return prop_err_hint(err, "give --kbs URL or set PROP_KBS_URL");
    }
    struct prop_kbs_config c = {
        .url = o->kbs,
        .ca_cert = o->ca_cert,
        .client_cert = o->client_cert,
        .client_key = o->client_key,
        .insecure_http = o->insecure_http,
        .issuer = o->issuer,
        .audience = o->audience,
        .role = o->role,
        .lifetime_s = o->lifetime_ms / 1000 + (o->lifetime_ms % 1000 != 0),
    };
    /* Verbs without the claims' options have neither; those with them have defaults for both. */
    if (o->role && c.lifetime_s == 0)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--lifetime takes a second or more");
    int rc = choose_admin(o, &c, err);
    if (rc < 0)
        return rc;
    *ret = c;
    return 0;
}

int prop_kbs_opts_open(const struct prop_kbs_opts *o, struct prop_kbs **ret, struct prop_err *err)
{
    struct prop_kbs_config c;
    int rc = prop_kbs_opts_config(o, &c, err);
    return rc < 0 ? rc : prop_kbs_new(&c, ret, err);
}

int prop_kbs_opts_open_admin(struct prop_cli *cli, const struct prop_kbs_opts *o,
                             struct prop_kbs **ret, struct prop_err *err)
{
    int rc = prop_kbs_opts_open(o, ret, err);
    if (rc == 0 && prop_kbs_admin_warning(*ret))
        prop_cli_warn(cli, "%s", prop_kbs_admin_warning(*ret));
    return rc;
}

void prop_kbs_opts_say_form(struct prop_cli *cli, const struct prop_kbs *k, json_t *doc)
{
    const char *form = prop_kbs_admin_form(k);
    if (prop_kbs_admin_audience_dropped(k))
        prop_cli_note(cli, "this server takes no admin token with an audience (v0.18 to v0.20 do not): "
                           "a token without one was sent");
    else if (prop_cli_verbose(cli))
        prop_cli_note(cli, "admin token: %s", form);
    if (doc)
        (void)json_object_set_new(doc, "admin_token_form", json_string(form));
}

int prop_kbs_opts_tee(const struct prop_kbs_opts *o, enum prop_tee *ret, struct prop_err *err)
{
    return prop_tee_choose(o->tee ? o->tee : "auto", ret, err);
}

static int key_type(const char *word, enum prop_kbs_key *ret, struct prop_err *err)
{
    static const struct {
        const char *name;
        enum prop_kbs_key key;
    } known[] = { { "p256", PROP_KBS_KEY_P256 }, { "p521", PROP_KBS_KEY_P521 },
                  { "rsa", PROP_KBS_KEY_RSA } };
    for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++)
        if (!word || strcmp(word, known[i].name) == 0) {
            *ret = known[i].key;
            return 0;
        }
    prop_err_set_id(err, PROP_E_USAGE, "bad-tee-key-type", "'%s' is no kind of TEE key", word);
    return prop_err_hint(err, "--tee-key-type takes p256, p521 or rsa");
}

int prop_kbs_opts_attest(const struct prop_kbs_opts *o, struct prop_kbs_attest *ret,
                         struct prop_buf *init_data, struct prop_err *err)
{
    struct prop_kbs_attest how = { .tee = PROP_TEE_NONE, .allow_debug = o->allow_debug };
    struct prop_initdata pins;
    int rc = key_type(o->tee_key_type, &how.key, err);
    if (rc == 0 && o->init_data) {
        init_data->max = PROP_TEE_INITDATA_MAX;
        rc = prop_file_read(o->init_data, init_data, err);
        if (rc == 0)
            rc = prop_initdata_read(init_data->data, init_data->len, o->init_data, &pins, err);
        how.init_data = prop_buf_str(init_data);
    }
    if (rc < 0)
        return rc;
    rc = prop_kbs_opts_tee(o, &how.tee, err);
    how.sample_device = how.tee == PROP_TEE_SAMPLE && getenv("ENABLE_SAMPLE_DEVICE");
    *ret = how;
    return rc;
}
