/* KEKs: their two forms, their fingerprint, and the folder where generated ones are kept. */
#include "tests/unit/support.h"

#include "crypto/random.h"
#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "util/file.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[256];

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%s/kek-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    return setenv("XDG_DATA_HOME", folder, 1);
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

static void test_forms(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *raw = vector_secret("ocicrypt/keys/kek32.bin"), *kek = NULL;
    char path[512];
    OK(prop_kek_read(vector_path("ocicrypt/keys/kek32.bin", path), &kek, &err));
    assert_true(prop_secret_equal(raw, kek));
    prop_secret_free(kek);

    char *b64 = prop_b64_encode(PROP_B64_STD, prop_secret_data(raw), 32);
    for (size_t i = 0; i < 3; i++) {
        char text[100];
        const char *before = i == 2 ? " \t" : "", *after = i == 0 ? "" : i == 1 ? "\n" : "\r\n\n";
        (void)snprintf(text, sizeof(text), "%s%s%s", before, b64, after);
        struct prop_secret *s = secret_text(text);
        OK(prop_kek_from_bytes(s, "kek", &kek, &err));
        assert_true(prop_secret_equal(raw, kek));
        prop_secret_free(s);
        prop_secret_free(kek);
        kek = NULL;
    }
    prop_free(b64);
    prop_secret_free(raw);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "x", "0123456789012345678901234567890",   /* 31 bytes */
        "012345678901234567890123456789012",          /* 33 bytes */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",  /* 43: padding is missing */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", /* stray bits */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", /* 31 bytes */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* 33 bytes */
        "AAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAAAA=", /* white space inside */
        "-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* the other alphabet */
        "0000000000000000000000000000000000000000000000000000000000000000", /* hex */
        "\n\n\n",
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        struct prop_secret *s = secret_text(bad[i]), *kek = NULL;
        FAILS(prop_kek_from_bytes(s, "'k'", &kek, &err), PROP_E_INPUT, "kek-length");
        assert_null(kek);
        assert_null(bad[i][0] && strlen(bad[i]) > 3 ? strstr(err.message, bad[i]) : NULL);
        assert_int_equal(prop_kek_from_bytes(s, "'k'", &kek, NULL), PROP_E_INPUT);
        prop_secret_free(s);
    }
    struct prop_secret *kek = NULL;
    FAILS(prop_kek_read("/nonexistent/kek", &kek, &err), PROP_E_NOTFOUND, "not-found");
}

/* SHA-256("propkey kek fingerprint" || 32 x 0x42), first 16 digits: computed with sha256sum. */
static void test_fingerprint(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    uint8_t bytes[32];
    char out[17], again[17];
    memset(bytes, 0x42, sizeof(bytes));
    struct prop_secret *kek = secret_of(bytes, sizeof(bytes));
    OK(prop_kek_fingerprint(kek, out, &err));
    assert_string_equal(out, "864f371becf7ddf1");
    prop_secret_bytes(kek)[31] ^= 1;
    OK(prop_kek_fingerprint(kek, again, &err));
    assert_string_not_equal(out, again);
    prop_secret_free(kek);
}

static void test_store(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *kek = NULL, *other = NULL, *back = NULL;
    char *path = NULL, *path2 = NULL, fingerprint[17], want[400];
    struct stat st;
    OK(prop_random_secret(32, &kek, &err));
    OK(prop_random_secret(32, &other, &err));
    OK(prop_kek_fingerprint(kek, fingerprint, &err));
    FAILS(prop_kek_store_find(fingerprint, &back, &err), PROP_E_NOTFOUND, "kek-not-kept");

    OK(prop_kek_store_new(kek, &path, &err));
    (void)snprintf(want, sizeof(want), "%s/prop/keys/kek-%s.bin", folder, fingerprint);
    assert_string_equal(path, want);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    (void)snprintf(want, sizeof(want), "%s/prop/keys", folder);
    assert_int_equal(stat(want, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    OK(prop_kek_store_find(fingerprint, &back, &err));
    assert_true(prop_secret_equal(back, kek));
    OK(prop_kek_store_new(kek, &path2, &err)); /* again is fine */
    assert_string_equal(path, path2);
    OK(prop_kek_store_new(other, NULL, &err));

    prop_free(path);
    prop_free(path2);
    prop_secret_free(kek);
    prop_secret_free(other);
    prop_secret_free(back);
}

/* A file that does not hold what its name says is neither used nor replaced. */
static void test_store_damaged(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *kek = NULL, *back = NULL;
    char *path = NULL, fingerprint[17];
    OK(prop_random_secret(32, &kek, &err));
    OK(prop_kek_fingerprint(kek, fingerprint, &err));
    OK(prop_kek_store_new(kek, &path, &err));
    static const char *const contents[] = { "", "short", "01234567890123456789012345678901",
                                            "012345678901234567890123456789012345" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(contents); i++) {
        OK(prop_file_write(path, contents[i], strlen(contents[i]), 0600, true, &err));
        FAILS(prop_kek_store_find(fingerprint, &back, &err), PROP_E_VERIFY, "kek-store");
        FAILS(prop_kek_store_new(kek, NULL, &err), PROP_E_EXISTS, "kek-store");
    }
    OK(prop_file_write(path, prop_secret_data(kek), 32, 0600, true, &err));
    assert_int_equal(chmod(path, 0640), 0);
    FAILS(prop_kek_store_find(fingerprint, &back, &err), PROP_E_DENIED, "key-file-mode");
    FAILS(prop_kek_store_new(kek, NULL, &err), PROP_E_DENIED, "key-file-mode");
    assert_null(back);
    prop_free(path);
    prop_secret_free(kek);
}

static void test_store_arguments(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "0123456789abcde", "0123456789abcdef0",
                                       "0123456789ABCDEF", "../../../../etc/x",
                                       "0123456789abcde/" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *back = NULL, *kek = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++)
        FAILS(prop_kek_store_find(bad[i], &back, &err), PROP_E_INPUT, "bad-fingerprint");
    OK(prop_random_secret(32, &kek, &err));
    char keys[300];
    (void)snprintf(keys, sizeof(keys), "%s/prop/keys", folder);
    assert_int_equal(chmod(keys, 0770), 0);
    FAILS(prop_kek_store_new(kek, NULL, &err), PROP_E_DENIED, "key-folder-mode");
    assert_int_equal(chmod(keys, 0700), 0);
    OK(prop_kek_store_new(kek, NULL, &err));
    prop_secret_free(kek);
}

static void test_store_list(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *kek[2] = { NULL, NULL }, *back = NULL;
    char fingerprint[2][17], name[400], *path = NULL;
    prop_auto_json json_t *before = NULL;
    OK(prop_kek_store_list(&before, &err));
    for (size_t i = 0; i < 2; i++) {
        OK(prop_random_secret(32, &kek[i], &err));
        OK(prop_kek_fingerprint(kek[i], fingerprint[i], &err));
        OK(prop_kek_store_new(kek[i], NULL, &err));
        prop_secret_free(kek[i]);
    }
    /* what else lies there is not looked at */
    static const char *const others[] = { "kek-0123.bin", "kek-0123456789ABCDEF.bin", "notes",
                                          "kek-0123456789abcdef.bin.tmp" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(others); i++) {
        (void)snprintf(name, sizeof(name), "%s/prop/keys/%s", folder, others[i]);
        OK(prop_file_write(name, "x", 1, 0600, false, &err));
    }
    prop_auto_json json_t *list = NULL;
    OK(prop_kek_store_list(&list, &err));
    assert_int_equal(json_array_size(list), json_array_size(before) + 2);
    for (size_t i = 1; i < json_array_size(list); i++)
        assert_true(strcmp(json_string_value(json_array_get(list, i - 1)),
                           json_string_value(json_array_get(list, i))) < 0);

    OK(prop_kek_store_path(fingerprint[0], &path, &err));
    assert_int_equal(access(path, F_OK), 0);
    OK(prop_kek_store_forget(fingerprint[0], &err));
    assert_int_equal(access(path, F_OK), -1);
    prop_free(path);
    FAILS(prop_kek_store_find(fingerprint[0], &back, &err), PROP_E_NOTFOUND, "kek-not-kept");
    FAILS(prop_kek_store_forget(fingerprint[0], &err), PROP_E_NOTFOUND, "kek-not-kept");
    FAILS(prop_kek_store_forget("../../x", &err), PROP_E_INPUT, "bad-fingerprint");
    OK(prop_kek_store_find(fingerprint[1], &back, &err));
    prop_secret_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fingerprint),   cmocka_unit_test(test_store),
        cmocka_unit_test(test_store_damaged), cmocka_unit_test(test_store_arguments),
        cmocka_unit_test(test_store_list),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
