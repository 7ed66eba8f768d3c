/* Bytes the guest image and PID 1 read: ELF files, kernels, DHCP answers, packages. */
#include "support.h"

#include "archive/deb.h"
#include "vm/dhcp.h"
#include "vm/elf.h"
#include "vm/initramfs.h"
#include "vm/kernel.h"
#include "vm/modules.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[512];

static int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/vm-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int count_needed(void *ctx, const char *soname, struct prop_err *err)
{
    (void)err;
    *(int *)ctx += strlen(soname) < 4096;
    return 0;
}

/* ---- ELF ----------------------------------------------------------------------------------- */

static void test_this_program_as_elf(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf self = PROP_BUF_INIT(PROP_INITRD_FILE_MAX);
    const char *interp = NULL;
    size_t loaded = 0;
    int n = 0;

    (void)state;
    OK(prop_file_read("/proc/self/exe", &self, &err));
    OK(prop_elf_needed(self.data, self.len, "self", count_needed, &n, &interp, NULL, &err));
    assert_true(n > 1);
    assert_non_null(strstr(interp, "ld-linux"));
    OK(prop_elf_loaded(self.data, self.len, "self", &loaded, &err));
    assert_true(loaded > 1000 && loaded <= self.len);
    const char *value = NULL;
    FAILS(prop_elf_modinfo(self.data, self.len, "self", "depends", &value, &err), PROP_E_INPUT,
          "bad-elf");
}

/* No byte of a header leads the reader out of the file, whatever it says (the sanitizers watch). */
static void test_damaged_elf(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf self = PROP_BUF_INIT(PROP_INITRD_FILE_MAX);
    int n = 0;
    int refused = 0;

    (void)state;
    OK(prop_file_read("/bin/true", &self, &err));
    uint8_t *copy = prop_alloc(self.len);
    for (size_t at = 0; at < 1024 && at < self.len; at++) {
        static const uint8_t values[] = { 0x00, 0x7f, 0xff };
        for (size_t v = 0; v < sizeof values; v++) {
            size_t loaded = 0;
            const char *text = NULL;
            memcpy(copy, self.data, self.len);
            copy[at] = values[v];
            refused += prop_elf_needed(copy, self.len, "damaged", count_needed, &n, &text, NULL,
                                       NULL) != 0;
            (void)prop_elf_loaded(copy, self.len, "damaged", &loaded, NULL);
            assert_true(loaded <= self.len);
            (void)prop_elf_modinfo(copy, self.len, "damaged", "depends", &text, NULL);
        }
    }
    assert_true(refused > 10);
    for (size_t len = 0; len < 2048 && len < self.len; len += 7) /* exactly as long as it is said */
    {
        uint8_t *part = prop_alloc(len);
        memcpy(part, self.data, len);
        assert_int_not_equal(prop_elf_needed(part, len, "cut", count_needed, &n, NULL, NULL, NULL), 0);
        prop_free(part);
    }
    prop_free(copy);
}

/* ---- kernels and modules ------------------------------------------------------------------- */

static void test_bzimage_header(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf image = PROP_BUF_INIT(8192);
    char release[128];
    uint8_t bytes[4096] = { 0 };

    (void)state;
    OK(prop_buf_add(&image, bytes, sizeof bytes, &err));
    FAILS(prop_kernel_release_of(&image, "k", release, &err), PROP_E_INPUT, "bad-kernel");
    image.data[0x1fe] = 0x55;
    image.data[0x1ff] = 0xaa;
    memcpy(image.data + 0x202, "HdrS", 4);
    FAILS(prop_kernel_release_of(&image, "k", release, &err), PROP_E_INPUT, "bad-kernel");
    image.data[0x20f] = 0x08; /* 0x800 + 0x200 */
    memcpy(image.data + 0xa00, "6.1.0-9-cloud-amd64 (x)", 23);
    OK(prop_kernel_release_of(&image, "k", release, &err));
    assert_string_equal(release, "6.1.0-9-cloud-amd64");
    memcpy(image.data + 0xa00, "../x (x)", 8);
    FAILS(prop_kernel_release_of(&image, "k", release, &err), PROP_E_INPUT, "bad-kernel");
    image.data[0x20f] = 0xff; /* behind the end */
    FAILS(prop_kernel_release_of(&image, "k", release, &err), PROP_E_INPUT, "bad-kernel");
}

static void test_module_names(void **state)
{
    char name[64];

    (void)state;
    assert_true(prop_module_name("lib/modules/6/kernel/drivers/virtio-rng.ko.xz", name));
    assert_string_equal(name, "virtio_rng");
    assert_true(prop_module_name("a.ko", name));
    assert_false(prop_module_name("a.ko.bz2", name));
    assert_false(prop_module_name(".ko", name));
    assert_false(prop_module_name("modules.builtin", name));
    assert_true(prop_module_wanted("sev_guest") && prop_module_wanted("virtio_ring"));
    assert_false(prop_module_wanted("ext4"));
}

static void test_evidence_needs_drivers(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kernel k = {.release = "6.1.0"};

    (void)state;
    OK(prop_kernel_check_tee(&k, "sample", &err));
    FAILS(prop_kernel_check_tee(&k, "auto", &err), PROP_E_UNSUPPORTED, "kernel-tee");
    k.sev_guest = true;
    OK(prop_kernel_check_tee(&k, "auto", &err));
    OK(prop_kernel_check_tee(&k, "snp", &err));
    FAILS(prop_kernel_check_tee(&k, "tdx", &err), PROP_E_UNSUPPORTED, "kernel-tee");
    assert_non_null(strstr(err.hint, "bookworm-backports"));
    k.tdx_guest = true;
    FAILS(prop_kernel_check_tee(&k, "tdx", &err), PROP_E_UNSUPPORTED, "kernel-tee");
    k.tsm = true;
    OK(prop_kernel_check_tee(&k, "tdx", &err));
}

static void test_no_kernel_and_no_package(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kernel k = PROP_KERNEL_INIT;
    prop_auto_free char *file = prop_asprintf("%s/x.deb", dir);
    struct prop_kernel_from from = {.kernel = "/nonexistent"};

    (void)state;
    FAILS(prop_kernel_load(&from, &k, &err), PROP_E_NOTFOUND, "no-kernel");
    from = (struct prop_kernel_from){.boot = dir};
    FAILS(prop_kernel_load(&from, &k, &err), PROP_E_NOTFOUND, "no-kernel");
    OK(prop_file_write(file, "!<arch>\nrubbish", 15, 0644, true, &err));
    from = (struct prop_kernel_from){.kernel = file};
    FAILS(prop_kernel_load(&from, &k, &err), PROP_E_INPUT, "bad-package");
    from.modules = dir;
    FAILS(prop_kernel_load(&from, &k, &err), PROP_E_USAGE, "usage");
    OK(prop_file_write(file, "no kernel", 9, 0644, true, &err));
    FAILS(prop_kernel_load(&from, &k, &err), PROP_E_INPUT, "bad-kernel");
    (void)unlink(file);
    (void)rmdir(dir);
}

/* ---- the archive --------------------------------------------------------------------------- */

static void test_image_entries(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_initrd struct prop_initrd image = PROP_INITRD_INIT;
    prop_auto_free char *file = prop_asprintf("%s/image", dir);
    const struct prop_initrd_search nowhere = {.sysroot = dir};
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
    uint64_t size = 0;

    (void)state;
    OK(prop_initrd_file(&image, "b/c", 0600, "x", 1, &err));
    OK(prop_initrd_file(&image, "b/c", 0600, "x", 1, &err));
    FAILS(prop_initrd_file(&image, "b/c", 0600, "y", 1, &err), PROP_E_EXISTS, "image-clash");
    FAILS(prop_initrd_file(&image, "b/c", 0644, "x", 1, &err), PROP_E_EXISTS, "image-clash");
    OK(prop_initrd_link(&image, "a", "b/c", &err));
    assert_int_equal(image.n, 3);
    FAILS(prop_initrd_library(&image, "libnone.so.1", &nowhere, &err), PROP_E_NOTFOUND, "no-library");
    FAILS(prop_initrd_library(&image, "../lib.so", &nowhere, &err), PROP_E_INPUT, "bad-elf");
    OK(prop_initrd_write(&image, file, PROP_CPIO_PLAIN, &size, &err));
    OK(prop_file_read(file, &bytes, &err));
    assert_int_equal(bytes.len, size);
    assert_memory_equal(bytes.data, "070701", 6); /* newc; the link comes first, by name */
    assert_memory_equal(bytes.data + 110, "a", 2);
    FAILS(prop_initrd_write(&image, file, PROP_CPIO_PLAIN, &size, &err), PROP_E_EXISTS, "file-exists");
    assert_int_not_equal(prop_initrd_write(&image, "/dev/null/x", PROP_CPIO_PLAIN, &size, &err), 0);
    (void)unlink(file);
    (void)rmdir(dir);
}

/* ---- DHCP ---------------------------------------------------------------------------------- */

static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

/* An offer as QEMU's user network makes it, around our own request's frame. */
static size_t make_offer(uint8_t out[PROP_DHCP_FRAME], uint8_t type)
{
    static const uint8_t options[] = {
        1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 6, 4, 10, 0, 2, 3,
        51, 4, 0, 1, 0x51, 0x80, 54, 4, 10, 0, 2, 2, 0, 255,
    };
    static const uint8_t yours[] = { 10, 0, 2, 15 };
    size_t len = prop_dhcp_make(PROP_DHCP_DISCOVER, 7, mac, 0, 0, out);

    out[20] = 0, out[21] = 67, out[22] = 0, out[23] = 68;
    out[28] = 2;
    memcpy(out + 28 + 16, yours, 4);
    out[268] = 53, out[269] = 1, out[270] = type;
    memcpy(out + 271, options, sizeof options);
    return len;
}

static void test_dhcp(void **state)
{
    uint8_t packet[PROP_DHCP_FRAME];
    struct prop_lease lease = {.seconds = 1};
    enum prop_dhcp_type type = PROP_DHCP_NAK;
    size_t len = make_offer(packet, PROP_DHCP_OFFER);

    (void)state;
    assert_int_equal(len, 328);
    assert_true(prop_dhcp_read(packet, len, 7, mac, &type, &lease));
    assert_int_equal(type, PROP_DHCP_OFFER);
    assert_bytes_hex(&lease.address, 4, "0a00020f");
    assert_bytes_hex(&lease.gateway, 4, "0a000202");
    assert_bytes_hex(&lease.dns[0], 4, "0a000203");
    assert_int_equal(lease.n_dns, 1);
    assert_int_equal(lease.seconds, 86400);
    assert_false(prop_dhcp_read(packet, len, 8, mac, &type, &lease));
    packet[28 + 28] ^= 1;
    assert_false(prop_dhcp_read(packet, len, 7, mac, &type, &lease));
    (void)make_offer(packet, PROP_DHCP_REQUEST); /* a server does not ask */
    assert_false(prop_dhcp_read(packet, len, 7, mac, &type, &lease));
}

static void test_damaged_dhcp(void **state)
{
    uint8_t packet[PROP_DHCP_FRAME];
    struct prop_lease lease;
    enum prop_dhcp_type type;
    size_t len = make_offer(packet, PROP_DHCP_ACK);

    (void)state;
    for (size_t cut = 0; cut <= 268; cut++) {
        uint8_t *part = prop_alloc(cut);
        memcpy(part, packet, cut);
        assert_false(prop_dhcp_read(part, cut, 7, mac, &type, &lease));
        prop_free(part);
    }
    for (size_t at = 268; at < len; at++) { /* lengths that lead out */
        (void)make_offer(packet, PROP_DHCP_ACK);
        packet[at] = 0xfe;
        (void)prop_dhcp_read(packet, len, 7, mac, &type, &lease);
    }
}

static void test_unpack(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(16);
    static const uint8_t broken[] = { 0xfd, '7', 'z', 'X', 'Z', 0, 1, 2, 3, 4, 5, 6 };

    (void)state;
    OK(prop_unpack("plain", 5, "x", &out, &err));
    assert_string_equal(prop_buf_str(&out), "plain");
    FAILS(prop_unpack(broken, sizeof broken, "x", &out, &err), PROP_E_INPUT, "bad-archive");
    FAILS(prop_unpack("0123456789abcdef", 16, "x", &out, &err), PROP_E_LIMIT, "over-limit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_this_program_as_elf),
        cmocka_unit_test(test_damaged_elf),
        cmocka_unit_test(test_bzimage_header),
        cmocka_unit_test(test_module_names),
        cmocka_unit_test(test_evidence_needs_drivers),
        cmocka_unit_test_setup(test_no_kernel_and_no_package, make_dir),
        cmocka_unit_test_setup(test_image_entries, make_dir),
        cmocka_unit_test(test_dhcp),
        cmocka_unit_test(test_damaged_dhcp),
        cmocka_unit_test(test_unpack),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("vm: formats", tests, NULL, NULL);
}
