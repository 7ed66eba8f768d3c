/* PKCS#7 recipients: one EnvelopedData per certificate, in the encoding of ocicrypt.md 5.3. */
#include "ocicrypt/recipient_internal.h"

#include "crypto/pkcs7.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/opener_internal.h"
#include "util/file.h"
#include "util/limits.h"

static int pkcs7_wrap(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_secret *privopts, struct prop_buf *out,
                      struct prop_err *err)
{
    (void)r;
    return prop_pkcs7_seal(privopts, c->cert, out, err);
}

static bool pkcs7_at_hand(const struct prop_recipients *r, const struct prop_recipient *c)
{
    return prop_openers_private_of(r->openers, prop_cert_key(c->cert)) != NULL;
}

static int pkcs7_open(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_buf *block, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    int rc = prop_pkcs7_parse(block->data, block->len, &p, err);
    return rc != 0 ? rc
                   : prop_pkcs7_open(&p, c->cert,
                                     prop_openers_private_of(r->openers, prop_cert_key(c->cert)),
                                     ret, err);
}

static bool pkcs7_is_named(const struct prop_recipient *c, const struct prop_buf *block)
{
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    return prop_pkcs7_parse(block->data, block->len, &p, NULL) == 0 &&
           prop_pkcs7_names(&p, c->cert);
}

static const struct prop_scheme scheme = { pkcs7_wrap, pkcs7_at_hand, pkcs7_open, pkcs7_is_named };

static int load(const char *path, struct prop_cert **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    prop_auto_free char *what = prop_asprintf("'%s'", path);
    int rc = what ? prop_file_read(path, &bytes, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_cert_load(bytes.data, bytes.len, what, ret, err);
    if (rc == PROP_E_INPUT)
        return prop_err_hint(err, "pkcs7 needs a certificate; a bare public key receives as jwe:%s",
                             path);
    return rc;
}

int prop_recipients_add_pkcs7(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    struct prop_recipient c = { .scheme = &scheme };
    int rc = load(text, &c.cert, err);
    if (rc != 0)
        return rc;
    if (prop_pkey_get_type(prop_cert_key(c.cert)) != PROP_PKEY_RSA) {
        prop_cert_free(c.cert);
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "recipient-key",
                              "recipient '%s': pkcs7 needs a certificate with an RSA key", text);
        return prop_err_hint(err, "jwe:%s takes it as it is", text);
    }
    const char *remark = prop_cert_remark(c.cert);
    if ((rc = prop_recipients_append_new(r, &c, PROP_SCHEME_PKCS7, err)) != 0)
        return rc;
    prop_recipients_warn(r, "recipient '%s': pkcs7 is not read by the Rust library (image-rs, the "
                         "Confidential Data Hub)", text);
    if (remark)
        prop_recipients_warn(r, "recipient '%s': %s", text, remark);
    return 0;
}
