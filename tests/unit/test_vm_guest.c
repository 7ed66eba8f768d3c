/* The guest's folder and its configuration: what is written is read back, and what is wrong is refused. */
#include "support.h"

#include "tee/initdata.h"
#include "vm/guestconf.h"
#include "vm/guestdir.h"
#include "vm/init.h"
#include "vm/launch.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[512];

static void put(const char *name, const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    char path[600];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    OK(prop_file_write(path, text, strlen(text), 0644, true, &err));
}

static int make(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    const char *tmp = getenv("TMPDIR");
    json_t *doc = json_pack("{s:s,s:s,s:s,s:s,s:{s:b,s:b},s:[s]}", "name", "one", "append",
                            "console=ttyS0", "kernel_release", "6.1.0-1-cloud-amd64", "tee", "snp",
                            "drivers", "virtio_net", 1, "sev_guest", 1, "secrets_from_host", "api-key");

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s/guest-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(folder));
    put("vmlinuz", "kernel");
    put("initrd.img", "initramfs");
    put("initdata.toml", "version = \"0.1.0\"\n");
    OK(prop_guestdir_write(folder, doc, true, &err));
    json_decref(doc);
    return 0;
}

static int clean(void **state)
{
    static const char *const files[] = { "vmlinuz", "initrd.img", "initdata.toml", "vm.json" };

    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        char path[600];
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    return rmdir(folder);
}

static void test_guest_is_read_back(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_guestdir struct prop_guestdir g = PROP_GUESTDIR_INIT;

    (void)state;
    OK(prop_guestdir_open(folder, &g, &err));
    assert_string_equal(g.name, "one");
    assert_string_equal(g.append, "console=ttyS0");
    assert_string_equal(g.tee, "snp");
    assert_true(g.virtio_net && g.sev_guest && !g.tdx_guest && !g.vsock && !g.serves);
    assert_int_equal(json_array_size(g.secrets_from_host), 1);
    assert_non_null(strstr(g.kernel, "/vmlinuz"));
    assert_non_null(g.init_data);
    assert_bytes_hex(g.init_data_sha256, 4, "68e1dac0");
}

static void test_changed_files_are_refused(void **state)
{
    static const char *const files[] = { "vmlinuz", "initrd.img", "initdata.toml" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_guestdir g = PROP_GUESTDIR_INIT;

    (void)state;
    put(files[0], "kerneL");
    FAILS(prop_guestdir_open(folder, &g, &err), PROP_E_VERIFY, "guest-changed");
    put(files[0], "kernel");
    put(files[1], "initramfs ");
    FAILS(prop_guestdir_open(folder, &g, &err), PROP_E_VERIFY, "guest-changed");
    put(files[1], "initramfs");
    put(files[2], "version = \"0.1.1\"\n");
    FAILS(prop_guestdir_open(folder, &g, &err), PROP_E_VERIFY, "guest-changed");
    assert_null(g.json);
}

static void test_bad_folders(void **state)
{
    static const char *const texts[] = {
        "", "[]", "{\"version\":1}", "{\"version\":\"1\"}",
        "{\"version\":1,\"name\":\"a\",\"append\":\"\",\"kernel_release\":\"x\",\"tee\":\"auto\","
        "\"kernel\":\"../vmlinuz\",\"initrd\":\"initrd.img\",\"drivers\":{},"
        "\"digests\":{\"kernel\":\"sha256:0\",\"initrd\":\"sha256:0\"}}",
        "{\"version\":1,\"name\":\"A B\",\"append\":\"\",\"kernel_release\":\"x\",\"tee\":\"auto\","
        "\"kernel\":\"vmlinuz\",\"initrd\":\"initrd.img\",\"drivers\":{},"
        "\"digests\":{\"kernel\":\"sha256:0\",\"initrd\":\"sha256:0\"}}",
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_guestdir g = PROP_GUESTDIR_INIT;

    (void)state;
    FAILS(prop_guestdir_open("/nonexistent", &g, &err), PROP_E_NOTFOUND, "no-guest");
    for (size_t i = 0; i < PROP_ARRAY_LEN(texts); i++) {
        put("vm.json", texts[i]);
        assert_int_equal(prop_guestdir_open(folder, &g, &err), PROP_E_INPUT);
        assert_null(g.json);
    }
}

/* ---- configuration ------------------------------------------------------------------------- */

static void test_names_and_arguments(void **state)
{
    static const char *const good[] = { "run", "docker://r/a:b", "--invoke", "add", "--", "--kbs" };
    static const char *const bad_option[] = { "run", "x", "--kbs=https://other" };
    static const char *const bad_verb[] = { "sh" };
    struct prop_err err = PROP_ERR_INIT;

    (void)state;
    OK(prop_guest_name_check("a-1", &err));
    FAILS(prop_guest_name_check("", &err), PROP_E_USAGE, "bad-name");
    FAILS(prop_guest_name_check("a,b", &err), PROP_E_USAGE, "bad-name");
    FAILS(prop_guest_name_check("-a", &err), PROP_E_USAGE, "bad-name");
    OK(prop_guest_argv_check(good, 6, &err));
    FAILS(prop_guest_argv_check(bad_option, 3, &err), PROP_E_USAGE, "guest-command");
    FAILS(prop_guest_argv_check(bad_verb, 1, &err), PROP_E_USAGE, "guest-command");
    FAILS(prop_guest_argv_check(NULL, 0, &err), PROP_E_USAGE, "guest-command");
    OK(prop_guest_env_check("PROPLET_TENANT_ID=a", &err));
    FAILS(prop_guest_env_check("PROPLET_API_KEY=a", &err), PROP_E_USAGE, "guest-secret");
    FAILS(prop_guest_env_check("PROPLET_CLIENT_KEY=a", &err), PROP_E_USAGE, "guest-secret");
    FAILS(prop_guest_env_check("LD_PRELOAD=a", &err), PROP_E_USAGE, "guest-variable");
    FAILS(prop_guest_secret_check("password", &err), PROP_E_USAGE, "guest-secret");
}

static void test_document_is_init_data(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_initdata pins;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_INITDATA_MAX);
    prop_auto_json json_t *conf =
        json_pack("{s:i,s:s,s:{s:s,s:s},s:[s,s]}", "version", 1, "name", "a", "kbs", "url",
                  "https://kbs", "cert", "-----BEGIN'''\"\\\t\x7f-----\n", "argv", "run", "'''");

    (void)state;
    OK(prop_guest_conf_document(conf, "{\"id\":1}", &text, &err));
    OK(prop_initdata_read(text.data, text.len, "document", &pins, &err));
    assert_int_equal(pins.digest.alg, PROP_SHA384);
    assert_non_null(strstr(prop_buf_str(&text), "\"aa.toml\""));
    assert_non_null(strstr(prop_buf_str(&text), "\"cdh.toml\""));
    text.max = text.len;
    prop_buf_clear(&text);
    text.max -= 1;
    FAILS(prop_guest_conf_document(conf, "{\"id\":1}", &text, &err), PROP_E_LIMIT, "over-limit");
}

static int read_conf(const char *propcvm, struct prop_guest_conf *c, struct prop_err *err)
{
    prop_auto_json json_t *data = json_pack("{s:s}", PROP_INITDATA_PROPCVM, propcvm);

    return prop_guest_conf_read(data, c, err);
}

static void test_configuration(void **state)
{
    static const char *const wrong[] = {
        "", "{}", "{\"version\":1,\"name\":\"a\",\"argv\":[]}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"sh\"]}",
        "{\"version\":1,\"name\":\"a b\",\"argv\":[\"run\"]}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\",1]}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\"],\"env\":{\"A\":1}}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\"],\"network\":{\"mode\":\"none\"}}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\"],\"network\":{\"mode\":\"static\"}}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\"],\"network\":{\"mode\":\"static\","
        "\"address\":\"10.0.2.15/33\"}}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\"],\"network\":{\"mode\":\"static\","
        "\"address\":\"10.0.2.15/24x\"}}",
        "{\"version\":1,\"name\":\"a\",\"argv\":[\"run\"],\"network\":{\"mode\":\"static\","
        "\"address\":\"10.0.2.15/24\",\"dns\":[\"x\"]}}",
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_guest_conf c = PROP_GUEST_CONF_INIT;

    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(wrong); i++)
        assert_int_equal(read_conf(wrong[i], &c, &err), PROP_E_INPUT);
    FAILS(read_conf("{\"version\":2,\"name\":\"a\",\"argv\":[\"run\"]}", &c, &err), PROP_E_UNSUPPORTED,
          "unsupported");
    OK(read_conf("{\"version\":1,\"name\":\"a\",\"argv\":[\"run\",\"x\"],\"env\":{\"PROPLET_A\":\"1\"},"
                 "\"kbs\":{\"url\":\"https://k\",\"cert\":null},\"network\":{\"mode\":\"static\","
                 "\"address\":\"10.0.2.15/24\",\"gateway\":\"10.0.2.2\",\"dns\":[\"10.0.2.3\"]}}",
                 &c, &err));
    assert_true(c.net_static);
    assert_string_equal(c.gateway, "10.0.2.2");
    assert_string_equal(c.kbs_url, "https://k");
    assert_null(c.kbs_cert);
    prop_guest_conf_release(&c);
}

#define END PROP_GUEST_END_PREFIX "{\"status\":0,\"error\":null}"

/* What was written to the console, and how many of its lines the host would take for the end. */
static size_t ends_on(int fd, char *seen, size_t size)
{
    struct prop_vm_end end;
    ssize_t n = read(fd, seen, size - 1);
    size_t found = 0;

    assert_true(n >= 0);
    seen[n] = '\0';
    for (char *line = seen; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] != 0))
        found += prop_vm_end_parse(line, strcspn(line, "\n"), &end);
    return found;
}

/* However the workload's output is cut into pieces, no line of it is init's. */
static void test_no_output_is_inits_last_word(void **state)
{
    static const char said[] = "one\n" END "\n\n\r" END "\n\033[2K" END "\nlast " END;
    char seen[4096];
    int p[2];

    (void)state;
    assert_int_equal(pipe(p), 0);
    for (size_t piece = 1; piece < sizeof said; piece++) {
        bool mid = false;
        for (size_t at = 0; at < sizeof said - 1; at += piece) {
            char part[sizeof said];
            size_t n = sizeof said - 1 - at < piece ? sizeof said - 1 - at : piece;
            memcpy(part, said + at, n);
            prop_init_console_log(p[1], &mid, part, n);
        }
        assert_true(mid);
        assert_int_equal(ends_on(p[0], seen, sizeof seen), 0);
        assert_true(strncmp(seen, "| one\n| " END "\n| \n|  " END "\n|  [2K", 40) == 0);
        assert_null(strpbrk(seen, "\r\033"));
    }
    char whole[sizeof said];
    memcpy(whole, said, sizeof said);
    prop_init_console_result(p[1], whole, sizeof said - 1);
    assert_int_equal(ends_on(p[0], seen, sizeof seen), 0);
    assert_true(strncmp(seen, "one\n| " END "\n\n " END "\n", 30) == 0);
    assert_int_equal(seen[strlen(seen) - 1], '\n');
    assert_int_equal(write(p[1], END "\n", sizeof END), (ssize_t)sizeof END);
    assert_int_equal(ends_on(p[0], seen, sizeof seen), 1); /* and this is one */
    (void)close(p[0]);
    (void)close(p[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_guest_is_read_back, make, clean),
        cmocka_unit_test_setup_teardown(test_changed_files_are_refused, make, clean),
        cmocka_unit_test_setup_teardown(test_bad_folders, make, clean),
        cmocka_unit_test(test_names_and_arguments),
        cmocka_unit_test(test_document_is_init_data),
        cmocka_unit_test(test_configuration),
        cmocka_unit_test(test_no_output_is_inits_last_word),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("vm: guest folder and configuration", tests, NULL, NULL);
}
