/* The admin token, to the byte, and the address of the key broker. */
#include "test_kbs_shared.h"

#include "kbs/internal.h"
#include "jose/jws.h"
#include "util/text.h"

static struct prop_pkey *key_of(const char *pem)
{
    struct prop_secret *s = NULL;
    struct prop_pkey *k = NULL;
    assert_int_equal(prop_secret_copy(pem, strlen(pem), &s, NULL), 0);
    assert_int_equal(prop_pkey_load_private(s, NULL, "test key", &k, NULL), 0);
    prop_secret_free(s);
    return k;
}

static void test_token_of_the_vector(void **state)
{
    (void)state;
    json_t *v = shared_json(TRANSCRIPTS, "kbs-vector-admin-jwt.json");
    struct prop_pkey *k = key_of(text_of(v, "private_key_pem"));
    struct prop_buf out = PROP_BUF_INIT(4096);
    struct prop_kbs_config c = { .issuer = "propkey", .audience = "kbs", .role = "admin",
                                 .lifetime_s = 4102444800u - 1700000000u };
    assert_int_equal(prop_kbs_admin_token_at(k, &c, 1700000000, &out, NULL), 0);
    assert_string_equal(prop_buf_str(&out), text_of(v, "jwt"));
    prop_buf_release(&out);
    prop_pkey_free(k);
    json_decref(v);
}

static void test_token_defaults(void **state)
{
    (void)state;
    struct prop_pkey *k = NULL;
    struct prop_buf out = PROP_BUF_INIT(4096);
    struct prop_kbs_config c = { .url = NULL };
    json_t *header = NULL, *claims = NULL;
    assert_int_equal(prop_pkey_generate(PROP_PKEY_ED25519, 0, &k, NULL), 0);
    assert_int_equal(prop_kbs_admin_token(k, &c, &out, NULL), 0);
    assert_int_equal(prop_jws_decode(prop_buf_str(&out), out.len, &header, &claims, NULL), 0);
    assert_string_equal(text_of(claims, "iss"), "propkey");
    assert_string_equal(text_of(claims, "role"), "admin");
    /* v0.18 to v0.20 refuse a token that has an audience at all. */
    assert_null(json_object_get(claims, "aud"));
    json_int_t iat = json_integer_value(json_object_get(claims, "iat"));
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")) - iat, 7200);
    json_decref(header);
    json_decref(claims);
    prop_buf_release(&out);
    prop_pkey_free(k);
}

static void test_other_keys_do_not_sign(void **state)
{
    (void)state;
    struct prop_pkey *k = NULL;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf out = PROP_BUF_INIT(4096);
    struct prop_kbs_config c = { .url = NULL };
    assert_int_equal(prop_pkey_generate(PROP_PKEY_P256, 0, &k, NULL), 0);
    assert_int_equal(prop_kbs_admin_token(k, &c, &out, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "admin-key-type");
    assert_int_equal(out.len, 0);
    prop_pkey_free(k);
}

static void refuse_url(const char *url, bool insecure, const char *id)
{
    struct prop_kbs_config c = { .url = url, .insecure_http = insecure };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kbs *k = NULL;
    int rc = prop_kbs_new(&c, &k, &err);
    if (rc != PROP_E_USAGE || strcmp(prop_err_id(&err), id) != 0)
        fail_msg("'%s': code %d id %s '%s'", url, rc, prop_err_id(&err), err.message);
    assert_true(err.hint[0] != 0);
    assert_null(k);
}

static void test_urls(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        { "https://kbs.example.com", "https://kbs.example.com" },
        { "https://kbs.example.com:8443/", "https://kbs.example.com:8443" },
        { "HTTPS://KBS.example.com:443", "https://kbs.example.com" },
        { "https://kbs.example.com:4430", "https://kbs.example.com:4430" },
        { "https://kbs.example.com/Team/A/", "https://kbs.example.com/Team/A" },
        { "https://kbs.example.com:443/x", "https://kbs.example.com/x" },
        { "http://127.0.0.1:8080", "http://127.0.0.1:8080" },
        { "http://localhost:80///", "http://localhost" },
        { "http://[::1]:8080", "http://[::1]:8080" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++) {
        struct prop_kbs_config c = { .url = good[i][0] };
        struct prop_kbs *k = NULL;
        assert_int_equal(prop_kbs_new(&c, &k, NULL), 0);
        assert_string_equal(prop_kbs_url(k), good[i][1]);
        prop_kbs_free(k);
    }
    refuse_url("http://kbs.example.com", false, "plain-http");
    refuse_url("HTTP://kbs.example.com", false, "plain-http");
    refuse_url("http://127.0.0.1.example.com", false, "plain-http");
    refuse_url("http://localhost.example.com:8080", false, "plain-http");
    refuse_url("kbs.example.com", true, "bad-url");
    refuse_url("ftp://kbs.example.com", true, "bad-url");
    refuse_url("https://user:secret@kbs.example.com", true, "bad-url");
    refuse_url("https://kbs.example.com/?a=b", true, "bad-url");
    refuse_url("https://", true, "bad-url");
    refuse_url("", true, "bad-url");
    struct prop_kbs_config c = { .url = "http://kbs.example.com", .insecure_http = true };
    struct prop_kbs *k = NULL;
    assert_int_equal(prop_kbs_new(&c, &k, NULL), 0);
    prop_kbs_free(k);
}

static void test_hosts_of_resource_ids(void **state)
{
    (void)state;
    assert_true(prop_kbs_same_host("https://kbs.example.com", "kbs.example.com"));
    assert_true(prop_kbs_same_host("https://kbs.example.com", "KBS.example.com:443"));
    assert_true(prop_kbs_same_host("https://kbs.example.com:8443", "kbs.example.com"));
    assert_true(prop_kbs_same_host("http://[::1]:8080", "[::1]:8080"));
    assert_true(prop_kbs_same_host("http://[::1]:8080", "[::1]"));
    assert_false(prop_kbs_same_host("https://kbs.example.com:8443", "kbs.example.com:443"));
    assert_false(prop_kbs_same_host("https://kbs.example.com", "kbs.example.com.evil.example"));
    assert_false(prop_kbs_same_host("https://kbs.example.com", "evil.example"));
    assert_false(prop_kbs_same_host("https://kbs.example.com", "evil@kbs.example.com"));
}

/* No connection is made for a resource of another key broker. */
static void test_foreign_resources_are_refused(void **state)
{
    (void)state;
    struct prop_kbs_config c = { .url = "https://kbs.invalid" };
    struct prop_kbs_attest how = { .tee = PROP_TEE_SAMPLE };
    struct prop_resource_id id;
    struct prop_kbs *k = NULL;
    struct prop_secret *got = NULL;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_kbs_new(&c, &k, NULL), 0);
    assert_int_equal(prop_resource_id_parse("kbs://evil.example/a/b/c", false, &id, NULL), 0);
    assert_int_equal(prop_kbs_get_resource(k, &how, &id, &got, &err), PROP_E_DENIED);
    assert_string_equal(prop_err_id(&err), "foreign-kbs");
    assert_null(got);
    assert_int_equal(prop_kbs_delete_resource(k, &id, &err), PROP_E_DENIED);
    prop_kbs_free(k);
}

static void test_too_big_is_not_sent(void **state)
{
    (void)state;
    struct prop_kbs_config c = { .url = "https://kbs.invalid" };
    struct prop_resource_id id;
    struct prop_kbs *k = NULL;
    struct prop_secret *value = NULL;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_kbs_new(&c, &k, NULL), 0);
    assert_int_equal(prop_resource_id_parse("a/b/c", false, &id, NULL), 0);
    assert_int_equal(prop_secret_new(PROP_LIMIT_KBS_BODY + 1, &value, NULL), 0);
    assert_int_equal(prop_kbs_set_resource(k, &id, value, &err), PROP_E_LIMIT);
    assert_string_equal(prop_err_id(&err), "resource-too-big");
    prop_secret_free(value);
    prop_kbs_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_of_the_vector),
        cmocka_unit_test(test_token_defaults),
        cmocka_unit_test(test_other_keys_do_not_sign),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_hosts_of_resource_ids),
        cmocka_unit_test(test_foreign_resources_are_refused),
        cmocka_unit_test(test_too_big_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
