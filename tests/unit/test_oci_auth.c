/* Registry credentials: which entry of which file counts, helpers, and what writing keeps. */
#include "tests/unit/support.h"

#include "oci/auth.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[256];
static char file[300];

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, sizeof(dir), "%s/auth-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(file, sizeof(file), "%s/auth.json", dir);
    (void)unsetenv("REGISTRY_AUTH_FILE");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void put(const char *path, const char *text, mode_t mode)
{
    struct prop_err err = PROP_ERR_INIT;
    OK(prop_file_write(path, text, strlen(text), mode, true, &err));
}

static void expect(const char *authfile, const char *domain, const char *path,
                   enum prop_cred_kind kind, const char *user, const char *secret)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_credentials struct prop_credentials c = PROP_CREDENTIALS_INIT;
    OK(prop_auth_lookup(authfile, domain, path, &c, &err));
    assert_int_equal(c.kind, kind);
    if (user != NULL)
        assert_string_equal(c.user, user);
    if (secret != NULL)
        assert_secret_is(c.secret, secret, strlen(secret));
}

/* YTpi is "a:b", Yzpk "c:d", ZTpmOmc= "e:f:g". */
static void test_matching(void **state)
{
    (void)state;
    put(file,
        "{\"auths\":{\"h.x\":{\"auth\":\"YTpi\"},\"h.x/team/app\":{\"auth\":\"Yzpk\"},"
        "\"https://index.docker.io/v1/\":{\"auth\":\"ZTpmOmc=\"},\"empty.x\":{},"
        "\"http://old.x/v2/\":{\"auth\":\"YTpi\"},"
        "\"id.x\":{\"auth\":\"YTpi\",\"identitytoken\":\"tok\"},"
        "\"reg.x\":{\"registrytoken\":\"bear\"},\"pw.x\":{\"username\":\"u\",\"password\":\"p\"},"
        "\"h.x:5000\":{\"auth\":\"YTpiAAA=\"}}}", 0600);
    expect(file, "h.x", NULL, PROP_CRED_PASSWORD, "a", "b");
    expect(file, "h.x", "team/app", PROP_CRED_PASSWORD, "c", "d");
    expect(file, "h.x", "team/app/sub", PROP_CRED_PASSWORD, "c", "d");
    expect(file, "h.x", "team/other", PROP_CRED_PASSWORD, "a", "b");
    expect(file, "h.x:5000", "team/app", PROP_CRED_PASSWORD, "a", "b");
    expect(file, "docker.io", "library/x", PROP_CRED_PASSWORD, "e", "f:g");
    expect(file, "empty.x", NULL, PROP_CRED_NONE, NULL, NULL);
    expect(file, "old.x", "a/b", PROP_CRED_PASSWORD, "a", "b");
    expect(file, "id.x", NULL, PROP_CRED_IDENTITY_TOKEN, "a", "tok");
    expect(file, "reg.x", NULL, PROP_CRED_REGISTRY_TOKEN, NULL, "bear");
    expect(file, "pw.x", NULL, PROP_CRED_PASSWORD, "u", "p");
    expect(file, "nowhere.x", "h.x", PROP_CRED_NONE, NULL, NULL);
    expect(file, "x", NULL, PROP_CRED_NONE, NULL, NULL);
}

static void test_order(void **state)
{
    (void)state;
    char path[400];
    static const char *const places[] = { "home/.dockercfg", "home/.docker/config.json",
                                          "home/.config/containers/auth.json",
                                          "run/containers/auth.json" };
    static const char *const texts[] = {
        "{\"h.x\":{\"auth\":\"YTpi\"},\"only.x\":{\"auth\":\"Yzpk\"}}",
        "{\"auths\":{\"h.x\":{\"auth\":\"Yzpk\"}}}", "{\"auths\":{\"h.x\":{\"auth\":\"ZTpmOmc=\"}}}",
        "{\"auths\":{\"h.x\":{\"username\":\"run\",\"password\":\"time\"},\"e.x\":{}}}" };
    static const char *const users[] = { "a", "c", "e", "run" };
    struct prop_err err = PROP_ERR_INIT;

    (void)unsetenv("DOCKER_CONFIG");
    (void)unsetenv("XDG_CONFIG_HOME");
    (void)snprintf(path, sizeof(path), "%s/home", dir);
    (void)setenv("HOME", path, 1);
    (void)snprintf(path, sizeof(path), "%s/run", dir);
    (void)setenv("XDG_RUNTIME_DIR", path, 1);
    expect(NULL, "h.x", NULL, PROP_CRED_NONE, NULL, NULL);
    for (size_t i = 0; i < PROP_ARRAY_LEN(places); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, places[i]);
        char *slash = strrchr(path, '/');
        *slash = '\0';
        OK(prop_mkdir_p(path, 0700, &err));
        *slash = '/';
        put(path, texts[i], 0600);
        expect(NULL, "h.x", "any/repo", PROP_CRED_PASSWORD, users[i], NULL);
    }
    /* a file without an entry does not end the search */
    expect(NULL, "only.x", NULL, PROP_CRED_PASSWORD, "c", "d");
    /* $REGISTRY_AUTH_FILE stands alone */
    put(file, "{\"auths\":{\"z.x\":{\"auth\":\"YTpi\"}}}", 0600);
    (void)setenv("REGISTRY_AUTH_FILE", file, 1);
    expect(NULL, "z.x", NULL, PROP_CRED_PASSWORD, "a", "b");
    expect(NULL, "h.x", NULL, PROP_CRED_NONE, NULL, NULL);
    (void)unsetenv("REGISTRY_AUTH_FILE");
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const rows[] = { "", "[]", "{\"auths\":{\"h.x\":{\"auth\":\"!!\"}}}",
                                        "{\"auths\":{\"h.x\":{\"auth\":\"YWI=\"}}}",
                                        "{\"auths\":{},\"auths\":{}}" };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_credentials c = PROP_CREDENTIALS_INIT;
        put(file, rows[i], 0600);
        prop_err_clear(&err);
        assert_int_equal(prop_auth_lookup(file, "h.x", NULL, &c, &err), PROP_E_INPUT);
        assert_null(c.secret);
        assert_null(strstr(err.message, "YWI="));
    }
    struct prop_credentials c = PROP_CREDENTIALS_INIT;
    (void)unlink(file);
    assert_int_equal(prop_auth_lookup(file, "h.x", NULL, &c, &err), PROP_E_NOTFOUND);
}

/* A helper that keeps one entry in a file. */
static void install_helper(void)
{
    char path[400], text[2400];
    (void)snprintf(path, sizeof(path), "%s/docker-credential-test", dir);
    (void)snprintf(text, sizeof(text),
                   "#!/bin/sh\nread -r in\ncase $1 in\n"
                   "get) if [ \"$in\" = broken.x ]; then echo 'it is locked'; exit 1; fi\n"
                   "  if [ -f '%s/kept' ]; then cat '%s/kept'; else\n"
                   "  echo 'credentials not found in native keychain'; exit 1; fi;;\n"
                   "store) printf '%%s' \"$in\" > '%s/kept';;\n"
                   "erase) [ -f '%s/kept' ] || { echo 'credentials not found in native keychain'; "
                   "exit 1; }; rm '%s/kept';;\nesac\n",
                   dir, dir, dir, dir, dir);
    put(path, text, 0700);
    (void)snprintf(text, sizeof(text), "%s:/usr/bin:/bin", dir);
    (void)setenv("PATH", text, 1);
}

static void test_helper(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_credentials c = { PROP_CRED_PASSWORD, NULL, NULL }, none = PROP_CREDENTIALS_INIT;
    char *where = NULL, path[400];
    struct stat st;

    install_helper();
    put(file, "{\"credHelpers\":{\"h.x\":\"test\"},\"auths\":{\"h.x\":{\"auth\":\"YTpi\"}}}", 0600);
    expect(file, "h.x", NULL, PROP_CRED_PASSWORD, "a", "b"); /* the helper knows nothing */
    c.user = prop_strdup("alice");
    c.secret = secret_text("s3cr\"et");
    OK(prop_auth_store(file, "h.x", &c, &where, &err));
    assert_string_equal(where, "docker-credential-test");
    prop_free(where);
    expect(file, "h.x", "any/path", PROP_CRED_PASSWORD, "alice", "s3cr\"et");
    expect(file, "other.x", NULL, PROP_CRED_NONE, NULL, NULL);
    OK(prop_auth_erase(file, "h.x", &err));
    (void)snprintf(path, sizeof(path), "%s/kept", dir);
    assert_int_not_equal(stat(path, &st), 0);
    /* an identity token, and a store for every host */
    put(path, "{\"ServerURL\":\"h.x\",\"Username\":\"<token>\",\"Secret\":\"idtok\"}", 0600);
    put(file, "{\"credsStore\":\"test\"}", 0600);
    expect(file, "any.x", NULL, PROP_CRED_IDENTITY_TOKEN, NULL, "idtok");
    FAILS(prop_auth_lookup(file, "broken.x", NULL, &none, &err), PROP_E_REMOTE,
          "credential-helper");
    assert_non_null(strstr(err.message, "it is locked"));
    put(path, "{\"Username\":1}", 0600);
    FAILS(prop_auth_lookup(file, "any.x", NULL, &none, &err), PROP_E_REMOTE, "credential-helper");
    put(file, "{\"credsStore\":\"../evil\"}", 0600);
    FAILS(prop_auth_lookup(file, "any.x", NULL, &none, &err), PROP_E_INPUT, "credential-helper");
    put(file, "{\"credsStore\":\"absent\"}", 0600);
    assert_int_equal(prop_auth_lookup(file, "any.x", NULL, &none, &err), PROP_E_REMOTE);
    prop_credentials_release(&c);
}

static void test_writing(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_credentials c = { PROP_CRED_PASSWORD, prop_strdup("alice"), secret_text("pw") };
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    char *where = NULL;
    struct stat st;

    (void)unlink(file);
    OK(prop_auth_store(file, "127.0.0.1:5991", &c, &where, &err));
    assert_string_equal(where, file);
    prop_free(where);
    OK(prop_file_read(file, &text, &err));
    assert_string_equal(prop_buf_str(&text),
                        "{\n\t\"auths\": {\n\t\t\"127.0.0.1:5991\": {\n\t\t\t\"auth\": "
                        "\"YWxpY2U6cHc=\"\n\t\t}\n\t}\n}");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    expect(file, "127.0.0.1:5991", "a/b", PROP_CRED_PASSWORD, "alice", "pw");
    OK(prop_auth_erase(file, "127.0.0.1:5991", &err));
    FAILS(prop_auth_erase(file, "127.0.0.1:5991", &err), PROP_E_NOTFOUND, "not-logged-in");
    prop_buf_clear(&text);
    OK(prop_file_read(file, &text, &err));
    assert_string_equal(prop_buf_str(&text), "{\n\t\"auths\": {}\n}");
    /* what others wrote stays */
    put(file, "{\"HttpHeaders\":{\"X\":\"a  b\"},\"auths\":{\"h.x/ns\":{\"auth\":\"YTpi\"}}}", 0600);
    OK(prop_auth_store(file, "h.x", &c, &where, &err));
    prop_free(where);
    prop_buf_clear(&text);
    OK(prop_file_read(file, &text, &err));
    assert_non_null(strstr(prop_buf_str(&text), "\"X\": \"a  b\""));
    expect(file, "h.x", "ns/app", PROP_CRED_PASSWORD, "a", "b");
    prop_credentials_release(&c);
}

static void test_checks(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    static const struct {
        const char *user, *secret;
        bool good;
    } rows[] = { { "a", "b", true }, { "a:b", "c", false }, { "a\n", "c", false },
                 { "a", "c\r\nX: y", false }, { "a", "b:c d", true }, { "\x7f", "b", false } };
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_credentials c = { PROP_CRED_PASSWORD, prop_strdup(rows[i].user),
                                      secret_text(rows[i].secret) };
        struct prop_secret *basic = NULL;
        prop_err_clear(&err);
        int rc = prop_credentials_basic(&c, &basic, &err);
        assert_int_equal(rc, rows[i].good ? 0 : PROP_E_INPUT);
        if (i == 0)
            assert_secret_is(basic, "Basic YTpi", 10);
        prop_secret_free(basic);
        prop_credentials_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching), cmocka_unit_test(test_order),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_helper),
        cmocka_unit_test(test_writing),  cmocka_unit_test(test_checks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
