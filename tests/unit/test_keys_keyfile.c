/* Key files from disk in every form, passphrases, and what is refused. */
#include "tests/unit/support.h"

#include "keys/keyfile.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[256];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/keyfile-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name, char out[512])
{
    (void)snprintf(out, 512, "%s/%s", folder, name);
    return out;
}

/* Write bytes under a name in the folder, with this mode; returns the path in `out`. */
static const char *put(const char *name, const void *data, size_t len, mode_t mode, char out[512])
{
    struct prop_err err = PROP_ERR_INIT;
    in_folder(name, out);
    OK(prop_file_write(out, data, len, 0600, true, &err));
    assert_int_equal(chmod(out, mode), 0);
    return out;
}

static const char *put_text(const char *name, const char *text, char out[512])
{
    return put(name, text, strlen(text), 0600, out);
}

/* A vector's copy that only we can read. */
static const char *copy_vector(const char *vector, mode_t mode, char out[512])
{
    struct prop_secret *s = vector_secret(vector);
    const char *slash = strrchr(vector, '/');
    put(slash + 1, prop_secret_data(s), prop_secret_len(s), mode, out);
    prop_secret_free(s);
    return out;
}

static void test_private_forms(void **state)
{
    (void)state;
    static const char *const files[] = { "ecparam.pem", "sec1.pem", "sec1.der", "pkcs8.pem",
                                         "pkcs8.der" };
    struct prop_err err = PROP_ERR_INIT;
    char path[512], vector[128];
    struct prop_pkey *pub = NULL;
    OK(prop_keyfile_public(vector_path("keyfiles/spki.pem", path), &pub, NULL, NULL, &err));
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        struct prop_pkey *key = NULL;
        char *kid = NULL;
        (void)snprintf(vector, sizeof(vector), "keyfiles/%s", files[i]);
        OK(prop_keyfile_private(copy_vector(vector, 0600, path), NULL, &key, &kid, &err));
        assert_true(prop_pkey_is_private(key));
        assert_true(prop_pkey_same_public(key, pub));
        assert_null(kid);
        prop_pkey_free(key);
    }
    struct prop_pkey *rsa = NULL, *pkcs1 = NULL;
    OK(prop_keyfile_private(copy_vector("ocicrypt/keys/rsa.pem", 0600, path), NULL, &rsa, NULL,
                            &err));
    OK(prop_keyfile_private(copy_vector("keyfiles/rsa-pkcs1.pem", 0600, path), NULL, &pkcs1, NULL,
                            &err));
    assert_true(prop_pkey_same_public(rsa, pkcs1));
    prop_pkey_free(rsa);
    prop_pkey_free(pkcs1);
    prop_pkey_free(pub);
}

static void test_public_forms(void **state)
{
    (void)state;
    static const char *const files[] = { "spki.pem", "spki.der", "cert.pem", "cert.der" };
    struct prop_err err = PROP_ERR_INIT;
    char path[512], vector[128];
    struct prop_pkey *want = key_of_file("keyfiles/pkcs8.pem");
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        struct prop_pkey *key = NULL;
        char *kid = NULL, *alg = NULL;
        (void)snprintf(vector, sizeof(vector), "keyfiles/%s", files[i]);
        OK(prop_keyfile_public(vector_path(vector, path), &key, &kid, &alg, &err));
        assert_false(prop_pkey_is_private(key));
        assert_true(prop_pkey_same_public(key, want));
        assert_null(kid);
        assert_null(alg);
        prop_pkey_free(key);
    }
    static const char *const rsa[] = { "ocicrypt/keys/rsa.crt", "ocicrypt/keys/rsa.pub.pem",
                                       "keyfiles/rsa-pkcs1-public.pem" };
    struct prop_pkey *want_rsa = key_of_file("ocicrypt/keys/rsa.pem");
    for (size_t i = 0; i < PROP_ARRAY_LEN(rsa); i++) {
        struct prop_pkey *key = NULL;
        OK(prop_keyfile_public(vector_path(rsa[i], path), &key, NULL, NULL, &err));
        assert_true(prop_pkey_same_public(key, want_rsa));
        prop_pkey_free(key);
    }
    prop_pkey_free(want);
    prop_pkey_free(want_rsa);
}

static void test_jwk_files(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    struct prop_pkey *pub = NULL, *priv = NULL;
    char *kid = NULL, *alg = NULL, *kid2 = NULL;
    OK(prop_keyfile_public(vector_path("ocicrypt/keys/rsakid.pub.jwk", path), &pub, &kid, &alg,
                           &err));
    assert_string_equal(kid, "fixture-rsa-1");
    assert_string_equal(alg, "RSA-OAEP");
    OK(prop_keyfile_private(copy_vector("ocicrypt/keys/rsakid.jwk", 0600, path), NULL, &priv,
                            &kid2, &err));
    assert_string_equal(kid2, "fixture-rsa-1");
    assert_true(prop_pkey_same_public(pub, priv));
    prop_pkey_free(pub);
    prop_pkey_free(priv);
    prop_free(kid);
    prop_free(kid2);
    prop_free(alg);
}

/* A key that says it is for signatures signs, and receives nothing. */
static void test_jwk_use(void **state)
{
    static const char *const refused[] = { "\"use\":\"sig\"", "\"key_ops\":[\"verify\"]",
                                           "\"key_ops\":[\"sign\",\"verify\"]" };
    static const char *const taken[] = { "\"use\":\"enc\"", "\"use\":\"x\"", "\"key_ops\":[]",
                                         "\"key_ops\":[\"wrapKey\",\"verify\"]" };
    struct prop_err err = PROP_ERR_INIT;
    char path[512], text[1024];
    json_t *jwk = NULL;
    struct prop_pkey *key = NULL;
    (void)state;
    OK(prop_json_parse_file(vector_path("ocicrypt/keys/rsakid.pub.jwk", path), sizeof text, &jwk,
                            &err));
    const char *n = json_string_value(json_object_get(jwk, "n"));
    for (size_t i = 0; i < PROP_ARRAY_LEN(refused) + PROP_ARRAY_LEN(taken); i++) {
        bool bad = i < PROP_ARRAY_LEN(refused);
        int len = snprintf(text, sizeof text, "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%s\",%s}", n,
                           bad ? refused[i] : taken[i - PROP_ARRAY_LEN(refused)]);
        (void)put("use.jwk", text, (size_t)len, 0600, path);
        if (bad) {
            FAILS(prop_keyfile_public(path, &key, NULL, NULL, &err), PROP_E_UNSUPPORTED, "jwk-use");
            continue;
        }
        OK(prop_keyfile_public(path, &key, NULL, NULL, &err));
        prop_pkey_free(key);
        key = NULL;
    }
    json_decref(jwk);
}

static void test_mixed_up(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    struct prop_pkey *key = NULL;
    char *kid = NULL, *alg = NULL;
    FAILS(prop_keyfile_public(copy_vector("ocicrypt/keys/rsakid.jwk", 0600, path), &key, &kid,
                              &alg, &err), PROP_E_INPUT, "private-key-given");
    FAILS(prop_keyfile_public(vector_path("keyfiles/pkcs8.pem", path), &key, &kid, &alg, &err),
          PROP_E_INPUT, "not-a-public-key");
    FAILS(prop_keyfile_private(copy_vector("ocicrypt/keys/rsakid.pub.jwk", 0600, path), NULL, &key,
                               &kid, &err), PROP_E_INPUT, "not-a-private-key");
    static const char *const publics[] = { "keyfiles/spki.pem", "keyfiles/cert.pem",
                                           "keyfiles/rsa-pkcs1-public.pem", "keyfiles/spki.der" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(publics); i++)
        FAILS(prop_keyfile_private(copy_vector(publics[i], 0600, path), NULL, &key, &kid, &err),
              PROP_E_INPUT, "not-a-private-key");
    assert_null(key);
    assert_null(kid);
    assert_null(alg);
}

static void test_refused_kinds(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    struct prop_pkey *key = NULL;
    FAILS(prop_keyfile_private(copy_vector("keyfiles/weak-rsa1024.pem", 0600, path), NULL, &key,
                               NULL, &err), PROP_E_UNSUPPORTED, "key-size");
    FAILS(prop_keyfile_private(copy_vector("keyfiles/other-secp256k1.pem", 0600, path), NULL, &key,
                               NULL, &err), PROP_E_UNSUPPORTED, "key-type");
    FAILS(prop_keyfile_private(copy_vector("keyfiles/other-x25519.pem", 0600, path), NULL, &key,
                               NULL, &err), PROP_E_UNSUPPORTED, "key-type");
    struct prop_secret *der = vector_secret("keyfiles/pkcs8.der");
    uint8_t longer[512];
    size_t n = prop_secret_len(der);
    memcpy(longer, prop_secret_data(der), n);
    longer[n] = 0;
    FAILS(prop_keyfile_private(put("trail.der", longer, n + 1, 0600, path), NULL, &key, NULL,
                               &err), PROP_E_INPUT, "not-a-private-key");
    for (size_t i = 0; i < n; i++) /* each truncation */
        assert_int_equal(prop_keyfile_private(put("cut.der", longer, i, 0600, path), NULL, &key,
                                              NULL, NULL), PROP_E_INPUT);
    prop_secret_free(der);
    FAILS(prop_keyfile_private(put_text("empty", "", path), NULL, &key, NULL, &err), PROP_E_INPUT,
          "not-a-private-key");
    FAILS(prop_keyfile_public(path, &key, NULL, NULL, &err), PROP_E_INPUT, "not-a-public-key");
    FAILS(prop_keyfile_private(put_text("set.jwk", "{\"keys\":[]}", path), NULL, &key, NULL, &err),
          PROP_E_UNSUPPORTED, "jwk-set");
    assert_null(key);
}

/* A broken private JWK: the message must not quote the file. */
static void test_broken_jwk_is_not_quoted(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    struct prop_pkey *key = NULL;
    FAILS(prop_keyfile_private(put_text("b.jwk", " {\"kty\":\"EC\",\"d\": secretnumber", path),
                               NULL, &key, NULL, &err), PROP_E_INPUT, "bad-jwk");
    assert_null(strstr(err.message, "secretnumber"));
    FAILS(prop_keyfile_private(put_text("c.jwk", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"A\","
                                        "\"y\":\"A\",\"d\":\"secretnumber\"}", path),
                               NULL, &key, NULL, &err), PROP_E_INPUT, "bad-base64");
    assert_null(strstr(err.message, "secretnumber"));
}

static void test_modes(void **state)
{
    (void)state;
    static const mode_t open_modes[] = { 0640, 0604, 0644, 0660, 0602 };
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    struct prop_pkey *key = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(open_modes); i++) {
        copy_vector("keyfiles/pkcs8.pem", open_modes[i], path);
        FAILS(prop_keyfile_private(path, NULL, &key, NULL, &err), PROP_E_DENIED, "key-file-mode");
        assert_non_null(strstr(err.hint, "chmod 600"));
    }
    FAILS(prop_keyfile_private(in_folder("absent", path), NULL, &key, NULL, &err), PROP_E_NOTFOUND,
          "not-found");
    FAILS(prop_keyfile_public(path, &key, NULL, NULL, &err), PROP_E_NOTFOUND, "not-found");
    char *big = prop_zalloc(70000);
    FAILS(prop_keyfile_public(put("big", big, 70000, 0600, path), &key, NULL, NULL, &err),
          PROP_E_LIMIT, "file-too-big");
    prop_free(big);
    assert_null(key);
}

static void test_passphrases(void **state)
{
    (void)state;
    static const char *const files[] = { "keyfiles/pkcs8-encrypted.pem",
                                         "keyfiles/sec1-encrypted.pem",
                                         "keyfiles/pkcs8-encrypted.der" };
    static const struct { const char *name, *text; bool right; } words[] = {
        { "exact", "secret", true },      { "newline", "secret\n", true },
        { "crlf", "secret\r\n", true },   { "twice", "secret\n\n", false },
        { "wrong", "Secret", false },     { "none", "", false },
        { "more", "secretx", false },     { "only", "\n", false },
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *want = key_of_file("keyfiles/pkcs8.pem");
    char path[512], word[512], spec[1100];
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        struct prop_pkey *key = NULL;
        copy_vector(files[i], 0600, path);
        FAILS(prop_keyfile_private_spec(path, &key, NULL, &err), PROP_E_AUTH, "passphrase");
        for (size_t k = 0; k < PROP_ARRAY_LEN(words); k++) {
            (void)snprintf(spec, sizeof(spec), "%s:file=%s", path,
                           put_text(words[k].name, words[k].text, word));
            if (words[k].right) {
                OK(prop_keyfile_private_spec(spec, &key, NULL, &err));
                assert_true(prop_pkey_same_public(key, want));
                prop_pkey_free(key);
                key = NULL;
            } else {
                FAILS(prop_keyfile_private_spec(spec, &key, NULL, &err), PROP_E_AUTH,
                      "passphrase");
                assert_null(key);
            }
        }
    }
    prop_pkey_free(want);
}

static void test_passphrase_from_descriptor(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    char path[512], spec[600];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "secret\n", 7), 7);
    (void)close(fds[1]);
    copy_vector("keyfiles/pkcs8-encrypted.pem", 0600, path);
    (void)snprintf(spec, sizeof(spec), "%s:fd=%d", path, fds[0]);
    OK(prop_keyfile_private_spec(spec, &key, NULL, &err));
    prop_pkey_free(key);
    key = NULL;
    (void)close(fds[0]);
    (void)snprintf(spec, sizeof(spec), "%s:fd=x", path);
    FAILS(prop_keyfile_private_spec(spec, &key, NULL, &err), PROP_E_INPUT, "malformed-input");
    (void)snprintf(spec, sizeof(spec), "%s:fd=987", path);
    FAILS(prop_keyfile_private_spec(spec, &key, NULL, &err), PROP_E_NOTFOUND, "not-found");
    assert_null(key);
}

/* A passphrase in argv is refused and never shown. */
static void test_passphrase_in_argv(void **state)
{
    (void)state;
    static const char *const tails[] = { ":pass=hunter2", ":hunter2", ":x=hunter2", ":" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;
    char path[512], spec[600];
    copy_vector("keyfiles/pkcs8-encrypted.pem", 0600, path);
    for (size_t i = 0; i < PROP_ARRAY_LEN(tails); i++) {
        (void)snprintf(spec, sizeof(spec), "%s%s", path, tails[i]);
        FAILS(prop_keyfile_private_spec(spec, &key, NULL, &err), PROP_E_USAGE, "password-in-argv");
        assert_null(strstr(err.message, "hunter2"));
        assert_null(strstr(err.hint, "hunter2"));
    }
    /* a file that really has a colon in its name is a file */
    copy_vector("keyfiles/pkcs8.pem", 0600, path);
    char colon[512];
    assert_int_equal(rename(path, in_folder("a:b.pem", colon)), 0);
    OK(prop_keyfile_private_spec(colon, &key, NULL, &err));
    prop_pkey_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_private_forms), cmocka_unit_test(test_public_forms),
        cmocka_unit_test(test_jwk_files),     cmocka_unit_test(test_jwk_use), cmocka_unit_test(test_mixed_up),
        cmocka_unit_test(test_refused_kinds), cmocka_unit_test(test_broken_jwk_is_not_quoted),
        cmocka_unit_test(test_modes),         cmocka_unit_test(test_passphrases),
        cmocka_unit_test(test_passphrase_from_descriptor),
        cmocka_unit_test(test_passphrase_in_argv),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
