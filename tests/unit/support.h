/* Shared by the unit tests of jose/, keys/, crypto/ and util/: where the vectors are, small readers
 * of them, and assertions that say what failed. */
#ifndef PROP_TESTS_UNIT_SUPPORT_H
#define PROP_TESTS_UNIT_SUPPORT_H

#include "crypto/pkey.h"
#include "jose/jwk.h"
#include "util/encode.h"
#include "util/err.h"
#include "util/file.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))

/* A call that must succeed; the error is printed otherwise. Wants a `struct prop_err err`. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        prop_err_clear(&err);                                                                      \
        int ok_rc_ = (call);                                                                       \
        if (ok_rc_)                                                                                \
            print_error("%s: %d, %s: %s\n", #call, ok_rc_, prop_err_id(&err), err.message);        \
        assert_int_equal(ok_rc_, 0);                                                               \
        assert_int_equal(err.code, PROP_OK);                                                       \
    } while (0)

/* A call that must fail with this code and this exact cause, and say something. */
#define FAILS(call, want_code, want_id)                                                            \
    do {                                                                                           \
        prop_err_clear(&err);                                                                      \
        int f_rc_ = (call);                                                                        \
        if (f_rc_ != (want_code) || strcmp(prop_err_id(&err), want_id) != 0)                       \
            print_error("%s: %d, %s: %s\n", #call, f_rc_, prop_err_id(&err), err.message);         \
        assert_int_equal(f_rc_, (want_code));                                                      \
        assert_int_equal(err.code, (want_code));                                                   \
        assert_string_equal(prop_err_id(&err), want_id);                                           \
        assert_true(err.message[0] != 0);                                                          \
    } while (0)

UNUSED static const char *vector_path(const char *name, char out[512])
{
    const char *root = getenv("PROP_ROOT");
    (void)snprintf(out, 512, "%s/tests/vectors/%s", root ? root : ".", name);
    return out;
}

UNUSED static json_t *vector_json(const char *name)
{
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    json_t *v = NULL;
    OK(prop_json_parse_file(vector_path(name, path), 1u << 20, &v, &err));
    return v;
}

UNUSED static struct prop_secret *vector_secret(const char *name)
{
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    struct prop_secret *s = NULL;
    OK(prop_file_read_secret(vector_path(name, path), 1u << 20, PROP_SECRET_FILE_ANY_MODE, &s,
                             &err));
    return s;
}

UNUSED static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    assert_non_null(s);
    return s;
}

UNUSED static struct prop_secret *secret_of(const void *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    OK(prop_secret_copy(data, len, &s, &err));
    return s;
}

UNUSED static struct prop_secret *secret_text(const char *text)
{
    return secret_of(text, strlen(text));
}

/* Bytes of a hex text into `out`; returns how many. */
UNUSED static size_t hex_bytes(const char *hex, uint8_t *out, size_t size)
{
    size_t n = strlen(hex) / 2;
    assert_true(n <= size);
    assert_int_equal(prop_hex_decode(hex, strlen(hex), out, n), 0);
    return n;
}

UNUSED static struct prop_secret *secret_hex(const char *hex)
{
    uint8_t bytes[4096];
    size_t n = hex_bytes(hex, bytes, sizeof(bytes));
    return secret_of(bytes, n);
}

UNUSED static void assert_bytes_hex(const void *data, size_t len, const char *hex)
{
    char got[8193];
    assert_true(len <= 4096);
    prop_hex_encode(data, len, got);
    assert_string_equal(got, hex);
}

UNUSED static void assert_secret_is(const struct prop_secret *s, const void *data, size_t len)
{
    assert_int_equal(prop_secret_len(s), len);
    assert_memory_equal(prop_secret_data(s), data, len);
}

UNUSED static struct prop_pkey *key_of_pem(const char *pem)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = secret_text(pem);
    struct prop_pkey *k = NULL;
    OK(prop_pkey_load_private(s, NULL, "test key", &k, &err));
    prop_secret_free(s);
    return k;
}

UNUSED static struct prop_pkey *key_of_jwk(const json_t *jwk)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *k = NULL;
    OK(prop_jwk_import(jwk, "test key", &k, &err));
    return k;
}

/* A key file below tests/vectors: PEM, or a JWK when its name ends in .jwk. */
UNUSED static struct prop_pkey *key_of_file(const char *name)
{
    if (strstr(name, ".jwk")) {
        json_t *jwk = vector_json(name);
        struct prop_pkey *k = key_of_jwk(jwk);
        json_decref(jwk);
        return k;
    }
    struct prop_secret *s = vector_secret(name);
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *k = NULL;
    OK(prop_pkey_load_private(s, NULL, name, &k, &err));
    prop_secret_free(s);
    return k;
}

/* The public half as a key of its own. */
UNUSED static struct prop_pkey *public_of(const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *jwk = NULL;
    OK(prop_jwk_export(key, false, NULL, &jwk, &err));
    struct prop_pkey *k = key_of_jwk(jwk);
    json_decref(jwk);
    assert_false(prop_pkey_is_private(k));
    return k;
}

#endif
