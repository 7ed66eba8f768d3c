/* Certificates of our own, read back by OpenSSL's code through our own key loader, and refusals. */
#include "crypto/x509.h"
#include "kbsd/tls.h"
#include "support.h"

#include <sys/stat.h>
#include <unistd.h>

static struct prop_pkey *fresh(void)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey *key = NULL;

    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err));
    return key;
}

static void test_ca_and_leaf(void **state)
{
    static const char *const names[] = { "localhost", "127.0.0.1", "::1", "kbs.example" };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_pkey struct prop_pkey *ca = fresh();
    prop_auto_pkey struct prop_pkey *other = fresh();
    prop_auto_pkey struct prop_pkey *leaf = fresh();
    prop_auto_pkey struct prop_pkey *back = NULL;
    prop_auto_buf struct prop_buf ca_pem = PROP_BUF_INIT(10000);
    prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(10000);

    (void)state;
    OK(prop_x509_make_ca(ca, "a CA", PROP_X509_CA_DAYS, &ca_pem, &err));
    OK(prop_x509_make_leaf(ca, ca_pem.data, ca_pem.len, leaf, names, 4, PROP_X509_LEAF_DAYS, &pem,
                           &err));
    OK(prop_pkey_load_public(pem.data, pem.len, "leaf", &back, &err));
    assert_true(prop_pkey_same_public(back, leaf));

    size_t len = pem.len;
    FAILS(prop_x509_make_leaf(other, ca_pem.data, ca_pem.len, leaf, names, 4, 1, &pem, &err),
          PROP_E_INPUT, "ca-mismatch");
    FAILS(prop_x509_make_leaf(ca, "nothing", 7, leaf, names, 4, 1, &pem, &err), PROP_E_INPUT,
          "malformed-input");
    FAILS(prop_x509_make_leaf(ca, "", 0, leaf, names, 4, 1, &pem, &err), PROP_E_INPUT,
          "malformed-input");
    assert_int_equal(pem.len, len);

    prop_auto_buf struct prop_buf small = PROP_BUF_INIT(10);
    assert_int_equal(prop_x509_make_ca(ca, "a CA", 1, &small, &err), PROP_E_LIMIT);
    assert_int_equal(small.len, 0);
}

static void test_identity(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    char dir[300], path[400];
    const char *tmp = getenv("TMPDIR");
    struct stat st;

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/tls-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    prop_auto_buf struct prop_buf chain = PROP_BUF_INIT(60000);
    prop_auto_buf struct prop_buf again = PROP_BUF_INIT(60000);
    prop_auto_secret struct prop_secret *key = NULL;
    prop_auto_secret struct prop_secret *key_again = NULL;
    OK(prop_kbsd_tls_identity(dir, "kbs.example", &chain, &key, &err));
    OK(prop_kbsd_tls_identity(dir, "localhost", &again, &key_again, &err));
    assert_false(prop_secret_equal(key, key_again)); /* a leaf of its own at every start */
    (void)snprintf(path, sizeof(path), "%s/ca.key", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* both chains end with the same CA */
    const char *ca = strstr(prop_buf_str(&chain) + 1, "-----BEGIN");
    const char *ca_again = strstr(prop_buf_str(&again) + 1, "-----BEGIN");
    assert_non_null(ca);
    assert_string_equal(ca, ca_again);

    prop_auto_buf struct prop_buf none = PROP_BUF_INIT(60000);
    prop_auto_secret struct prop_secret *no_key = NULL;
    assert_int_equal(chmod(path, 0644), 0);
    FAILS(prop_kbsd_tls_identity(dir, "localhost", &none, &no_key, &err), PROP_E_DENIED,
          "key-file-mode");
    assert_int_equal(unlink(path), 0);
    FAILS(prop_kbsd_tls_identity(dir, "localhost", &none, &no_key, &err), PROP_E_INPUT,
          "ca-mismatch");
    assert_null(no_key);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/ca.pem", dir);
    (void)unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ca_and_leaf),
        cmocka_unit_test(test_identity),
    };
    return cmocka_run_group_tests_name("kbsd x509", tests, NULL, NULL);
}
