/* kbs-client get-resource and attest: what a guest does. Sample evidence, which proves nothing, is
 * sent when PROP_TEE=sample asks for it, never because there is nothing better. */
#include "cmd/propkey/kbs_client_guest.h"

#include "cmd/propkey/kbs_client.h"
#include "cmd/propkey/kbs_client_wire.h"
#include "kbs/kbs.h"
#include "keys/resource_id.h"
#include "util/encode.h"
#include "util/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKEN_MAX = 256 << 10, UNAUTHORIZED = 401 };

static int open_kbs(const struct propkey_kbs_client *c, struct prop_kbs **ret, struct prop_err *err)
{
    const struct prop_kbs_config config = { .url = c->url, .ca_cert = c->cert_file,
                                            .insecure_http = true };
    if (c->cert_file && access(c->cert_file, R_OK) != 0)
        return propkey_kc_os_error(errno);
    return prop_kbs_new(&config, ret, err);
}

/* The machine's evidence, and the key it is bound to. */
static int prepare(const struct propkey_kbs_client *c, struct prop_kbs_attest *how,
                   struct prop_pkey **key, struct prop_err *err)
{
    const char *wish = getenv("PROP_TEE");
    int rc = prop_tee_choose(wish && *wish ? wish : "auto", &how->tee, err);
    if (rc < 0) {
        err->hint[0] = 0;
        (void)prop_err_hint(err, "PROP_TEE=sample in the environment sends sample evidence, which "
                                 "proves nothing: for tests");
        return rc;
    }
    if (how->tee == PROP_TEE_SAMPLE)
        propkey_kc_warn("sample evidence proves nothing about this machine");
    if (c->tee_key_file)
        rc = propkey_kc_tee_key(c->tee_key_file, key);
    how->tee_key = *key;
    how->init_data = c->init_data;
    how->sample_device = how->tee == PROP_TEE_SAMPLE && getenv("ENABLE_SAMPLE_DEVICE");
    return rc;
}

/* Any refusal of the resource is one sentence there; why goes to the log. */
static int explain(const struct prop_err *e, struct prop_err *err)
{
    if (e->http_status == UNAUTHORIZED) {
        propkey_kc_warn("%s%s%s", e->message, e->hint[0] ? "; " : "", e->hint);
        return propkey_kc_error("request unauthorized", NULL);
    }
    *err = *e;
    if (e->code == PROP_E_NETWORK)
        (void)prop_err_wrap(err, "http request failed: get failed");
    return err->code;
}

static int with_token(struct prop_kbs *k, const struct propkey_kbs_client *c,
                      const struct prop_resource_id *id, struct prop_secret **ret,
                      struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_secret struct prop_secret *token = NULL;
    if (!c->tee_key_file)
        return propkey_kc_error("if `--attestation-token` is set, `--tee_key_file` argument should "
                                "also be set, and the public part of TEE Key should be consistent "
                                "with tee-pubkey in the token.", NULL);
    int rc = propkey_kc_tee_key(c->tee_key_file, &key);
    if (rc == 0)
        rc = propkey_kc_read_text(c->attestation_token, TOKEN_MAX, &token);
    if (rc < 0)
        return rc;
    size_t len = prop_secret_len(token);
    while (len && strchr(" \t\r\n", prop_secret_data(token)[len - 1]))
        len--;
    prop_secret_truncate(token, len);
    struct prop_err e = PROP_ERR_INIT;
    rc = prop_kbs_get_resource_with_token(k, (const char *)prop_secret_data(token), key, id, ret,
                                          &e);
    return rc < 0 ? explain(&e, err) : 0;
}

static int attested(struct prop_kbs *k, const struct propkey_kbs_client *c,
                    const struct prop_resource_id *id, struct prop_secret **ret,
                    struct prop_err *err)
{
    struct prop_kbs_attest how = { .tee = PROP_TEE_NONE };
    prop_auto_pkey struct prop_pkey *key = NULL;
    int rc = prepare(c, &how, &key, err);
    if (rc < 0)
        return rc;
    struct prop_err e = PROP_ERR_INIT;
    rc = prop_kbs_get_resource(k, &how, id, ret, &e);
    return rc < 0 ? explain(&e, err) : 0;
}

int propkey_kc_get_resource(const struct propkey_kbs_client *c, struct prop_err *err)
{
    struct prop_resource_id id;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_secret struct prop_secret *value = NULL;
    int rc = open_kbs(c, &k, err);
    if (rc == 0)
        rc = prop_resource_id_parse(c->path, false, &id, err);
    if (rc == 0)
        rc = c->attestation_token ? with_token(k, c, &id, &value, err)
                                  : attested(k, c, &id, &value, err);
    if (rc < 0)
        return rc;
    char *b64 = prop_b64_encode(PROP_B64_STD, prop_secret_data(value), prop_secret_len(value));
    if (!b64)
        return prop_err_nomem(err);
    (void)puts(b64);
    prop_wipe(b64, strlen(b64));
    prop_free(b64);
    return 0;
}

int propkey_kc_attest(const struct propkey_kbs_client *c, struct prop_err *err)
{
    struct prop_kbs_attest how = { .tee = PROP_TEE_NONE };
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_buf struct prop_buf token = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    int rc = open_kbs(c, &k, err);
    if (rc == 0)
        rc = prepare(c, &how, &key, err);
    if (rc < 0)
        return rc;
    rc = prop_kbs_attest(k, &how, &token, err);
    if (rc < 0) {
        (void)prop_err_wrap(err, "RCAR handshake failed: Unable to get token");
        return rc;
    }
    (void)puts(prop_buf_str(&token));
    return 0;
}
