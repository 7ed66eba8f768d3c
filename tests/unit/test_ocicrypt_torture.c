/* Memory that runs out: each allocation on the way from a module to an encrypted image and back
 * fails once. Every time it is told as a failure, nothing is leaked (the sanitizer's build sees to
 * that), and nothing stays behind: no image, no plaintext.
 *
 * util/mem.c is compiled in here with its hook, in place of the library's. */
#define PROP_TORTURE
#include "util/mem.c"

#include "test_ocicrypt.h"

#include "ocicrypt/image.h"

#include <dirent.h>
#include <sys/stat.h>

static char folder[256];
static const char marker[] = "plaintext that must not stay";

static void path_of(const char *name, char out[400])
{
    snprintf(out, 400, "%s/%s", folder, name);
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char below[800];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        if (unlink(below) != 0)
            remove_tree(below);
    }
    if (d)
        closedir(d);
    (void)rmdir(path);
}

static bool exists(const char *name)
{
    struct stat st;
    char path[400];
    path_of(name, path);
    return lstat(path, &st) == 0;
}

static int open_ends(const char *from, const char *to, struct prop_src **src, struct prop_dst **dst,
                     struct prop_err *err)
{
    struct prop_location a = { .path = NULL }, b = { .path = NULL };
    struct prop_oci_options options = { .authfile = NULL };
    int rc;
    if ((rc = prop_location_parse(from, &a, err)) == 0 && (rc = prop_location_parse(to, &b, err)) == 0 &&
        (rc = prop_src_open(&a, &options, src, err)) == 0)
        rc = prop_dst_open(&b, &options, dst, err);
    prop_location_release(&a);
    prop_location_release(&b);
    return rc;
}

static int encrypt(const struct prop_secret *kek, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    prop_auto_recipients struct prop_recipients *to = NULL;
    struct prop_resource_id kid;
    struct prop_encrypt_result r;
    char from[400], image[400], dest[420];
    int rc;
    path_of("m.wasm", from);
    path_of("image", image);
    snprintf(dest, sizeof(dest), "oci:%s:v1", image);
    if ((rc = prop_recipients_new(&to, err)) != 0 ||
        (rc = prop_resource_id_parse("kbs:///default/key/x", false, &kid, err)) != 0 ||
        (rc = prop_recipients_add_kek(to, kek, &kid, err)) != 0 ||
        (rc = prop_recipients_add(to, "jwe:" FIXTURES "keys/ec.pub.pem", err)) != 0 ||
        (rc = open_ends(from, dest, &src, &dst, err)) != 0)
        return rc;
    struct prop_encrypt_options o = { .recipients = to };
    if ((rc = prop_image_encrypt(src, dst, &o, &r, err)) != 0)
        return rc;
    return prop_dst_tag(dst, err);
}

static int decrypt(const struct prop_secret *kek, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    prop_auto_openers struct prop_openers *openers = NULL;
    struct prop_digest digest;
    char from[420], to[420], path[400];
    int rc;
    path_of("image", path);
    snprintf(from, sizeof(from), "oci:%s:v1", path);
    path_of("plain", path);
    snprintf(to, sizeof(to), "dir:%s", path);
    if ((rc = prop_openers_new(&openers, err)) != 0 ||
        (rc = prop_openers_add_kek(openers, kek, err)) != 0 ||
        (rc = open_ends(from, to, &src, &dst, err)) != 0)
        return rc;
    const struct prop_decrypt_options o = { .openers = openers, .verify_first = true };
    if ((rc = prop_image_decrypt(src, dst, &o, &digest, err)) != 0)
        return rc;
    return prop_dst_tag(dst, err);
}

/* Run with the n-th allocation failing, for every n there is; `made` must not stay behind. */
static size_t torture(int (*run)(const struct prop_secret *, struct prop_err *), const char *made)
{
    struct prop_secret *kek = NULL;
    char path[400];
    size_t failed = 0;
    uint8_t bytes[32] = "a key encryption key of 32 byte";
    assert_int_equal(prop_secret_copy(bytes, sizeof(bytes), &kek, NULL), 0);
    path_of(made, path);
    for (long n = 1;; n++) {
        struct prop_err err = PROP_ERR_INIT;
        assert_true(n < 100000);
        (void)prop_torture(n);
        int rc = run(kek, &err);
        long to_come = prop_torture(0);
        if (to_come > 0) { /* all of them were granted */
            assert_ok(rc);
            break;
        }
        if (rc == 0) { /* one that can be done without */
            remove_tree(path);
            continue;
        }
        if (err.code != rc || rc == PROP_E_BUG || !err.message[0])
            fail_msg("allocation %ld: %d, error %d '%s'", n, rc, err.code, err.message);
        if (exists(made))
            fail_msg("allocation %ld: %s, and '%s' is there", n, err.message, made);
        failed++;
    }
    prop_secret_free(kek);
    return failed;
}

static void test_each_allocation(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[400], module[4096] = "\0asm\1";
    for (size_t i = 8; i + sizeof(marker) < sizeof(module); i += sizeof(marker))
        memcpy(module + i, marker, sizeof(marker));
    path_of("m.wasm", path);
    assert_ok(prop_file_write(path, module, sizeof(module), 0600, true, &err));
    assert_true(torture(encrypt, "image") > 100);
    assert_true(exists("image/index.json"));
    assert_int_equal(unlink(path), 0);
    assert_true(torture(decrypt, "plain") > 50);
    assert_true(exists("plain/manifest.json"));
}

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    /* thousands of small files are written: in memory where that can be */
    snprintf(folder, sizeof(folder), "%s/prop-torture-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : tmp ? tmp : "/tmp");
    prop_secret_harden_process(); /* jansson's allocations are ours too */
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    remove_tree(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_allocation) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
