/* PKCS#7 EnvelopedData: taken apart, its recipients shown, and opened where the key is ours. */
#include "tests/fuzz/fuzz.h"

#include "crypto/pkcs7.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\x30\x80", "\x30\x84\xff\xff\xff\xff", "\x02\x01", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
    "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x06",
    "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2e", "\x31\x82", "\xa0\x82", "\x10\x13\x30\x11\x84\x0c",
    "\x02\x01\x10", "\x04\x81", NULL
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct prop_cert *cert;
    static struct prop_pkey *key;
    static unsigned turn;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    prop_auto_secret struct prop_secret *plain = NULL;
    char text[128];
    if (!cert) {
        prop_auto_secret struct prop_secret *pem = fuzz_secret("ocicrypt/keys/rsa.crt");
        FUZZ_CHECK(prop_cert_load(prop_secret_data(pem), prop_secret_len(pem), "certificate", &cert,
                                  &err) == 0);
        key = fuzz_key("ocicrypt/keys/rsa.pem");
    }
    if (!fuzz_ok(prop_pkcs7_parse(data, len, &p, &err), &err))
        return 0;
    for (size_t i = 0; i < p.n; i++)
        FUZZ_CHECK(strlen(prop_cert_name_text(p.recipients[i].issuer, p.recipients[i].issuer_len, text,
                                              sizeof text)) < sizeof text);
    if (prop_pkcs7_names(&p, cert) && turn++ % 8 == 0 &&
        !fuzz_ok(prop_pkcs7_open(&p, cert, key, &plain, &err), &err))
        FUZZ_CHECK(!plain);
    return 0;
}
