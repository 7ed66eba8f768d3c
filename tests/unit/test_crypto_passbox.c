/* Data under a passphrase: what goes in comes out, and nothing else does. */
#include "crypto/passbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CHEAP = 8 << 20 };

static struct prop_secret *secret(const void *data, size_t len)
{
    struct prop_secret *s = NULL;
    assert_int_equal(prop_secret_copy(data, len, &s, NULL), 0);
    return s;
}

static struct prop_secret *text(const char *s)
{
    return secret(s, strlen(s));
}

static void seal(const char *pass, const void *data, size_t len, struct prop_buf *out)
{
    prop_auto_secret struct prop_secret *p = text(pass);
    prop_auto_secret struct prop_secret *d = secret(data, len);
    assert_int_equal(prop_passbox_seal(p, CHEAP, d, out, NULL), 0);
}

static int open_box(const char *pass, const void *sealed, size_t len, struct prop_secret **ret,
                    struct prop_err *err)
{
    prop_auto_secret struct prop_secret *p = text(pass);
    return prop_passbox_open(p, sealed, len, "'box'", ret, err);
}

/* Lengths around a piece of 64 KiB. */
static void test_round_trip(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 32, 65535, 65536, 65537, 131072, 200000 };
    static uint8_t data[200000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t i = 0; i < PROP_ARRAY_LEN(lengths); i++) {
        prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(1u << 20);
        prop_auto_secret struct prop_secret *back = NULL;
        seal("tree", data, lengths[i], &sealed);
        assert_int_equal(open_box("tree", sealed.data, sealed.len, &back, NULL), 0);
        assert_int_equal(prop_secret_len(back), lengths[i]);
        assert_memory_equal(prop_secret_data(back), data, lengths[i]);
    }
}

static void test_two_are_never_the_same(void **state)
{
    (void)state;
    prop_auto_buf struct prop_buf a = PROP_BUF_INIT(4096);
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(4096);
    seal("tree", "data", 4, &a);
    seal("tree", "data", 4, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.data, b.data, a.len);
}

static void test_wrong_passphrase(void **state)
{
    (void)state;
    static const char *const wrong[] = { "Tree", "tree ", "", "tre" };
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(4096);
    seal("tree", "data", 4, &sealed);
    for (size_t i = 0; i < PROP_ARRAY_LEN(wrong); i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_secret *back = NULL;
        assert_int_equal(open_box(wrong[i], sealed.data, sealed.len, &back, &err), PROP_E_VERIFY);
        assert_string_equal(prop_err_id(&err), "wrong-passphrase");
        assert_null(back);
    }
}

/* Every byte behind the head, and what was moved about in there. */
static void test_damage(void **state)
{
    (void)state;
    enum { HEAD = 64, EMPTY = 17 };
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(4096);
    seal("tree", "some data", 9, &sealed);
    assert_int_equal(sealed.len, HEAD + EMPTY + 9 + 17);
    for (size_t i = HEAD + EMPTY; i < sealed.len; i += 5) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_secret *back = NULL;
        sealed.data[i] ^= 0x80;
        assert_int_equal(open_box("tree", sealed.data, sealed.len, &back, &err), PROP_E_VERIFY);
        assert_string_equal(prop_err_id(&err), "sealed-damaged");
        assert_null(back);
        sealed.data[i] ^= 0x80;
    }
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *back = NULL;
    assert_int_equal(open_box("tree", sealed.data, sealed.len - 1, &back, &err), PROP_E_VERIFY);
    assert_int_equal(open_box("tree", sealed.data, HEAD + EMPTY, &back, &err), PROP_E_VERIFY);
    assert_null(back);
}

/* A piece left out: each is whole, the row of them is not. */
static void test_missing_piece(void **state)
{
    (void)state;
    enum { HEAD = 64, EMPTY = 17, PIECE = 65536 + 17 };
    static uint8_t data[3 * 65536];
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(1u << 20);
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *back = NULL;
    seal("tree", data, sizeof data, &sealed);
    uint8_t *second = sealed.data + HEAD + EMPTY + PIECE;
    memmove(second, second + PIECE, PIECE);
    assert_int_equal(open_box("tree", sealed.data, sealed.len - PIECE, &back, &err), PROP_E_VERIFY);
    assert_string_equal(prop_err_id(&err), "sealed-damaged");
    /* the last one left out: nothing says that this is the end */
    assert_int_equal(open_box("tree", sealed.data, HEAD + EMPTY + PIECE, &back, &err),
                     PROP_E_VERIFY);
    assert_null(back);
}

static void test_cost(void **state)
{
    (void)state;
    static const uint64_t bad[] = { 0, 1 << 20, (uint64_t)2 << 30, UINT64_MAX };
    prop_auto_secret struct prop_secret *p = text("tree");
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        struct prop_err err = PROP_ERR_INIT;
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(4096);
        assert_int_equal(prop_passbox_seal(p, bad[i], p, &out, &err), PROP_E_USAGE);
        assert_string_equal(prop_err_id(&err), "sealed-cost");
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_two_are_never_the_same),
        cmocka_unit_test(test_wrong_passphrase), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_missing_piece),    cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests_name("crypto passbox", tests, NULL, NULL);
}
