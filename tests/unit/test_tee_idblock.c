/* SNP ID block and ID authentication: layout and digests as recorded, and signatures that hold. */
#include "support.h"

#include "tee/idblock.h"

static json_t *shared_cases(json_t **root)
{
    struct prop_err err = PROP_ERR_INIT;
    const char *shared = getenv("PROP_SHARED");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/fixtures/measure/idblock.json",
                   shared && *shared ? shared : "../shared");
    *root = NULL;
    if (prop_json_parse_file(path, 1u << 20, root, &err) < 0) {
        print_message("skipped: not there: PROP_SHARED/fixtures/measure/idblock.json\n");
        skip();
    }
    return json_object_get(*root, "cases");
}

static void reverse(const uint8_t *from, uint8_t *to)
{
    for (int i = 0; i < 48; i++)
        to[i] = from[47 - i];
}

/* A key from its private number and the public one as the structure has it: u32 curve, x, y. */
static struct prop_pkey *key_of(const char *scalar_hex, const uint8_t *structure)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_pkey_numbers n;
    struct prop_pkey *key = NULL;
    uint8_t xy[2][48];
    prop_pkey_numbers_init(&n);
    reverse(structure + 4, xy[0]);
    reverse(structure + 76, xy[1]);
    n.x.max = n.y.max = 48;
    OK(prop_buf_add(&n.x, xy[0], 48, &err));
    OK(prop_buf_add(&n.y, xy[1], 48, &err));
    n.d = secret_hex(scalar_hex);
    OK(prop_pkey_from_numbers(PROP_PKEY_P384, &n, &key, &err));
    prop_pkey_numbers_release(&n);
    return key;
}

/* Does a signature at `sig` (r and s little-endian in 72 bytes each) hold over the bytes? */
static void check_signature(const struct prop_pkey *key, const uint8_t *data, size_t len,
                            const uint8_t *sig)
{
    struct prop_err err = PROP_ERR_INIT;
    uint8_t rs[96];
    reverse(sig, rs);
    reverse(sig + 72, rs + 48);
    OK(prop_verify(key, data, len, rs, sizeof rs, &err));
    for (int i = 0; i < 24; i++)
        assert_int_equal(sig[48 + i] | sig[72 + 48 + i], 0);
    for (int i = 144; i < 512; i++)
        assert_int_equal(sig[i], 0);
}

static void decode(const json_t *c, const char *name, uint8_t *out, size_t len)
{
    struct prop_buf b = PROP_BUF_INIT(8192);
    const char *s = text_of(c, name);
    assert_int_equal(prop_b64_decode(PROP_B64_STD, s, strlen(s), name, &b, NULL), 0);
    assert_int_equal(b.len, len);
    memcpy(out, b.data, len);
    prop_buf_release(&b);
}

static void check_case(const json_t *c)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_id_block b = { .guest_svn = (uint32_t)json_integer_value(json_object_get(c, "guest_svn")),
                               .policy = strtoull(text_of(c, "policy"), NULL, 16) };
    uint8_t block[PROP_ID_BLOCK], want[PROP_ID_BLOCK], auth[PROP_ID_AUTH], theirs[PROP_ID_AUTH], d[48];
    (void)hex_bytes(text_of(c, "launch_digest"), b.launch_digest, 48);
    (void)hex_bytes(text_of(c, "family_id"), b.family_id, 16);
    (void)hex_bytes(text_of(c, "image_id"), b.image_id, 16);
    prop_id_block_bytes(&b, block);
    decode(c, "id_block_base64", want, sizeof want);
    assert_memory_equal(block, want, sizeof want);
    decode(c, "id_auth_base64_one_valid_answer", theirs, sizeof theirs);
    struct prop_pkey *id = key_of(text_of(c, "id_key_private_scalar"), theirs + 576);
    struct prop_pkey *author = key_of(text_of(c, "author_key_private_scalar"), theirs + 2176);
    OK(prop_id_key_digest(id, d, &err));
    assert_bytes_hex(d, 48, text_of(c, "id_key_struct_sha384"));
    OK(prop_id_key_digest(author, d, &err));
    assert_bytes_hex(d, 48, text_of(c, "author_key_struct_sha384"));
    OK(prop_id_auth(block, id, author, auth, &err));
    /* Where no signature stands, the same bytes. */
    assert_memory_equal(auth, theirs, 64);
    assert_memory_equal(auth + 576, theirs + 576, 1664 - 576);
    assert_memory_equal(auth + 2176, theirs + 2176, 4096 - 2176);
    const uint8_t *const answers[] = { auth, theirs };
    for (size_t i = 0; i < 2; i++) {
        check_signature(id, block, sizeof block, answers[i] + 64);
        check_signature(author, answers[i] + 576, 1028, answers[i] + 1664);
    }
    OK(prop_id_auth(block, id, NULL, auth, &err));
    check_signature(id, block, sizeof block, auth + 64);
    for (int i = 1664; i < 4096; i++)
        assert_int_equal(auth[i], 0);
    prop_pkey_free(id);
    prop_pkey_free(author);
}

static void test_recorded_cases(void **state)
{
    (void)state;
    json_t *root = NULL, *cases = shared_cases(&root), *c;
    size_t i;
    json_array_foreach(cases, i, c)
        check_case(c);
    assert_int_equal(i, 2);
    json_decref(root);
}

static void test_other_keys_refused(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    uint8_t block[PROP_ID_BLOCK] = { 0 }, auth[PROP_ID_AUTH], d[48];
    struct prop_pkey *p256 = NULL, *p384 = NULL;
    OK(prop_pkey_generate(PROP_PKEY_P256, 0, &p256, &err));
    OK(prop_pkey_generate(PROP_PKEY_P384, 0, &p384, &err));
    struct prop_pkey *public_half = public_of(p384);
    FAILS(prop_id_auth(block, p256, NULL, auth, &err), PROP_E_INPUT, "id-key");
    FAILS(prop_id_auth(block, p384, p256, auth, &err), PROP_E_INPUT, "id-key");
    FAILS(prop_id_auth(block, public_half, NULL, auth, &err), PROP_E_INPUT, "id-key");
    FAILS(prop_id_key_digest(p256, d, &err), PROP_E_INPUT, "id-key");
    OK(prop_id_auth(block, p384, p384, auth, &err));
    prop_pkey_free(public_half);
    prop_pkey_free(p256);
    prop_pkey_free(p384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_cases),
        cmocka_unit_test(test_other_keys_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
