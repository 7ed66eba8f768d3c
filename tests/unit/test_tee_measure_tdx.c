/* MRTD, TD HOB, Authenticode, QEMU's header and the runtime registers against the vectors. */
#include "test_tee_measure.h"

#include "tee/pe.h"
#include "tee/rtmr.h"
#include "tee/td_hob.h"

#define DEBIAN_OVMF "/usr/share/ovmf/OVMF.fd"
#define UBUNTU_OVMF "/usr/share/ovmf/OVMF.fd"

static int mrtd(const struct prop_buf *file, enum prop_mrtd_order order, uint8_t ret[48],
                struct prop_err *err)
{
    struct prop_ovmf fw;
    struct prop_tdvf t;
    int rc = prop_ovmf_parse(file->data, file->len, "firmware", &fw, err);
    if (rc == 0)
        rc = prop_tdvf_parse(&fw, &t, err);
    return rc == 0 ? prop_mrtd(&fw, &t, order, ret, err) : rc;
}

static void check_mrtd(const struct prop_buf *file, const json_t *want)
{
    struct prop_err err = PROP_ERR_INIT;
    uint8_t got[48];
    OK(mrtd(file, PROP_MRTD_PAGES, got, &err));
    assert_bytes_hex(got, 48, text_of(want, "mrtd"));
    if (!json_object_get(want, "mrtd_two_pass"))
        return;
    OK(mrtd(file, PROP_MRTD_TWO_PASS, got, &err));
    assert_bytes_hex(got, 48, text_of(want, "mrtd_two_pass"));
}

static void test_mrtd(void **state)
{
    (void)state;
    json_t *root = measure_json("tdx.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "mrtd"), i, c) {
        struct prop_buf b = measure_bytes(text_of(c, "firmware"));
        check_mrtd(&b, c);
        prop_buf_release(&b);
    }
    assert_int_equal(i, 2);
    json_decref(root);
}

static void test_td_hob(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("tdx.json"), *c, *s;
    size_t i, k;
    json_array_foreach(json_object_get(root, "td_hob"), i, c) {
        const json_t *sections = json_object_get(c, "sections");
        struct prop_tdvf t = { .n = 0 };
        struct prop_buf hob = PROP_BUF_INIT(PROP_TD_HOB_MAX);
        json_array_foreach((json_t *)(uintptr_t)sections, k, s)
            t.section[t.n++] = (struct prop_tdvf_section){
                .gpa = number(s, "gpa"), .mem_size = number(s, "mem_size"),
                .type = (enum prop_tdvf_type)number(s, "type") };
        if (json_is_string(sections)) {
            struct prop_buf b = measure_bytes(json_string_value(sections));
            struct prop_ovmf fw;
            OK(prop_ovmf_parse(b.data, b.len, "firmware", &fw, &err));
            OK(prop_tdvf_parse(&fw, &t, &err));
            prop_buf_release(&b);
        }
        OK(prop_td_hob(&t, number(c, "memory_bytes"), &hob, &err));
        assert_int_equal(hob.len, number(c, "hob_len"));
        assert_bytes_hex(hob.data, hob.len, text_of(c, "hob_hex"));
        prop_buf_clear(&hob);
        FAILS(prop_td_hob(&t, 0, &hob, &err), PROP_E_USAGE, "bad-memory");
        FAILS(prop_td_hob(&t, 4097, &hob, &err), PROP_E_USAGE, "bad-memory");
        FAILS(prop_td_hob(&t, 8u << 20, &hob, &err), PROP_E_USAGE, "bad-memory");
        prop_buf_release(&hob);
    }
    assert_int_equal(i, 4);
    json_decref(root);
}

static void test_authenticode(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("tdx.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "authenticode"), i, c) {
        struct input in;
        struct prop_digest d;
        open_input(&in, c, "file");
        OK(prop_pe_authenticode(in.given, PROP_SHA384, &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "authenticode_sha384"));
        close_input(&in);
    }
    assert_int_equal(i, 3);
    json_decref(root);
}

/* All bytes of a PE file count, but for the checksum, the directory entry and the certificates. */
static void test_authenticode_leaves_out_what_it_says(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes("kernel-signed.bin");
    struct prop_source s = prop_source_of(b.data, b.len, "kernel");
    struct prop_digest want, got;
    size_t skipped = 0, refused = 0;
    OK(prop_pe_authenticode(&s, PROP_SHA384, &want, &err));
    for (size_t at = 0; at < b.len; at += at < 1024 || at > 12200 ? 1 : 211) {
        b.data[at] ^= 0x10;
        int rc = prop_pe_authenticode(&s, PROP_SHA384, &got, NULL);
        bool same = rc == 0 && prop_digest_equal(&got, &want);
        bool may = (at >= 0x98 && at < 0x9c) || (at >= 0xe8 && at < 0xf0) || at >= 12288;
        refused += rc < 0;
        skipped += same;
        assert_false(same && !may);
        b.data[at] ^= 0x10;
    }
    assert_true(skipped >= 4 + 4 && refused > 10);
    prop_buf_release(&b);
}

static void test_pe_files_refused(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest d;
    struct prop_buf b = measure_bytes("kernel.bin");
    struct prop_source s = prop_source_of(b.data, b.len, "kernel");
    for (size_t n = 0; n < b.len; n += n < 600 ? 7 : 997) {
        /* A copy of its own size, so that a read over the end is seen. */
        uint8_t *cut = prop_alloc(n);
        assert_non_null(cut);
        memcpy(cut, b.data, n);
        struct prop_source short_one = prop_source_of(cut, n, "kernel");
        FAILS(prop_pe_authenticode(&short_one, PROP_SHA384, &d, &err), PROP_E_INPUT, "kernel-not-pe");
        prop_free(cut);
    }
    static const struct {
        size_t at;
        const char *hex;
    } patches[] = {
        { 0x3c, "ffffffff" }, { 0x3c, "00100000" }, { 0x40, "00" }, { 0x46, "0000" },
        { 0x46, "ffff" }, { 0x54, "1000" }, { 0x54, "ffff" }, { 0x58, "0c02" }, { 0x94, "10000000" },
        { 0x94, "ffffffff" }, { 0xc4, "ff000000" }, { 0x15c, "ffffff00" }, { 0xec, "00f00000" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(patches); i++) {
        uint8_t old[8];
        size_t n = strlen(patches[i].hex) / 2;
        memcpy(old, b.data + patches[i].at, n);
        (void)hex_bytes(patches[i].hex, b.data + patches[i].at, n);
        bool cert = patches[i].at == 0xec; /* certificates longer than what is left */
        if (cert)
            s.size -= 16;
        if (prop_pe_authenticode(&s, PROP_SHA384, &d, NULL) == 0)
            print_error("patch %zu at 0x%zx is not refused\n", i, patches[i].at);
        FAILS(prop_pe_authenticode(&s, PROP_SHA384, &d, &err), PROP_E_INPUT, "kernel-not-pe");
        s.size = b.len;
        memcpy(b.data + patches[i].at, old, n);
    }
    prop_buf_release(&b);
}

static void test_header_patch(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("tdx.json"), *c;
    struct prop_rtmr_profile p;
    size_t i;
    OK(prop_rtmr_profile_parse("edk2-202411+qemu-10.1", &p, &err));
    assert_true(p.patched);
    json_array_foreach(json_object_get(root, "qemu_header_patch"), i, c) {
        const json_t *len = json_object_get(c, "initrd_len");
        struct prop_linux_boot boot = { number(c, "memory_bytes"), json_is_integer(len),
                                        (uint64_t)json_integer_value(len), text_of(c, "cmdline") };
        uint8_t head[PROP_LINUX_HEADER];
        struct prop_digest d;
        struct input in;
        open_input(&in, c, "kernel");
        OK(prop_linux_patch(in.given, &boot, head, &err));
        in.source.patched = head;
        in.source.n_patched = sizeof head;
        OK(prop_source_digest(&in.source, PROP_SHA256, &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "patched_sha256"));
        in.source.n_patched = 0;
        OK(prop_rtmr_kernel(in.given, &boot, &p, &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "patched_authenticode_sha384"));
        close_input(&in);
    }
    assert_int_equal(i, 7);
    json_decref(root);
}

static void test_header_patch_refused(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes("kernel.bin");
    struct prop_source s = prop_source_of(b.data, b.len, "kernel");
    struct prop_linux_boot boot = { 2u << 20, true, 5000, "" };
    uint8_t head[PROP_LINUX_HEADER];
    boot.initrd_len = 2u << 20;
    FAILS(prop_linux_patch(&s, &boot, head, &err), PROP_E_USAGE, "initrd-too-large");
    boot = (struct prop_linux_boot){ 1u << 31, true, 5000, "a vga=big" };
    FAILS(prop_linux_patch(&s, &boot, head, &err), PROP_E_USAGE, "bad-vga");
    boot.cmdline = "vga=ask";
    OK(prop_linux_patch(&s, &boot, head, &err));
    assert_bytes_hex(head + 0x1fa, 2, "fdff");
    boot.cmdline = "x vga=0x317 y";
    OK(prop_linux_patch(&s, &boot, head, &err));
    assert_bytes_hex(head + 0x1fa, 2, "1703");
    b.data[0x211] = 0; /* loaded low */
    FAILS(prop_linux_patch(&s, &boot, head, &err), PROP_E_UNSUPPORTED, "kernel-not-linux");
    b.data[0x211] = 1;
    b.data[0x202] = 'x';
    FAILS(prop_linux_patch(&s, &boot, head, &err), PROP_E_UNSUPPORTED, "kernel-not-linux");
    s.size = 600;
    FAILS(prop_linux_patch(&s, &boot, head, &err), PROP_E_UNSUPPORTED, "kernel-not-linux");
    prop_buf_release(&b);
}

static void test_release_of_a_kernel(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes("kernel.bin");
    struct prop_source s = prop_source_of(b.data, b.len, "kernel");
    char release[64] = "?";
    OK(prop_linux_release(&s, release, &err));
    assert_string_equal(release, "");
    memcpy(b.data + 0x3000 - 40, "6.1.0-37-cloud-amd64 (x@y) #1", 30);
    b.data[0x20e] = (0x3000 - 40 - 0x200) & 0xff;
    b.data[0x20f] = (0x3000 - 40 - 0x200) >> 8;
    OK(prop_linux_release(&s, release, &err));
    assert_string_equal(release, "6.1.0-37-cloud-amd64");
    b.data[0x20e] = b.data[0x20f] = 0xff;
    OK(prop_linux_release(&s, release, &err));
    assert_string_equal(release, "");
    assert_true(prop_linux_before("6.1.0-37-cloud-amd64", 6, 9));
    assert_true(prop_linux_before("5.15.1", 6, 9));
    assert_false(prop_linux_before("6.9.0", 6, 9));
    assert_false(prop_linux_before("6.12.38+deb12", 6, 9));
    assert_false(prop_linux_before("", 6, 9));
    assert_false(prop_linux_before("next", 6, 9));
    /* The GUID of the firmware's interface in two halves, the second over the end of a piece. */
    bool measures = true;
    struct prop_buf big = PROP_BUF_INIT(1u << 20);
    OK(prop_buf_reserve(&big, 600000, &err));
    memset(big.data, 0, 600000);
    s = prop_source_of(big.data, 600000, "kernel");
    OK(prop_linux_measures(&s, "6.1.0", &measures, &err));
    assert_false(measures);
    (void)hex_bytes("3d1a7596f472a641", big.data + 599992, 8);
    OK(prop_linux_measures(&s, "6.1.0", &measures, &err));
    assert_false(measures);
    (void)hex_bytes("a794ed5d0e67ae6b", big.data + (256 << 10) - 4, 8);
    OK(prop_linux_measures(&s, "6.1.0", &measures, &err));
    assert_true(measures);
    memset(big.data, 0, 600000);
    OK(prop_linux_measures(&s, "6.9.0", &measures, &err));
    assert_true(measures);
    OK(prop_linux_measures(&s, "", &measures, &err));
    assert_true(measures);
    prop_buf_release(&big);
    prop_buf_release(&b);
}

/* The profile of a case by what it says of itself. */
static struct prop_rtmr_profile profile_of(const json_t *c)
{
    struct prop_err err = PROP_ERR_INIT;
    const json_t *want = json_object_get(c, "profile");
    struct prop_rtmr_profile p;
    const char *name;
    for (size_t i = 0; (name = prop_rtmr_profile_name(i)); i++) {
        OK(prop_rtmr_profile_parse(name, &p, &err));
        if (p.patched == json_is_true(json_object_get(want, "qemu_patches_kernel_header")) &&
            p.early_separator == (number(want, "ready_to_boot_separator_register") == 0) &&
            p.prefix == (strncmp(text_of(want, "initrd_word"), "prefix", 6) == 0))
            return p;
    }
    fail_msg("no profile fits");
    return p;
}

static void check_events(const struct prop_rtmr *r, const json_t *want, const char *value)
{
    assert_int_equal(r->n, json_array_size(want));
    for (size_t i = 0; i < r->n; i++)
        assert_bytes_hex(r->event[i].digest, PROP_RTMR, json_string_value(json_array_get(want, i)));
    assert_bytes_hex(r->value, PROP_RTMR, value);
}

static void check_rtmr0(const json_t *c, struct prop_rtmr_profile p)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes(text_of(c, "firmware"));
    struct input loader, rsdp, tables;
    struct prop_rtmr r;
    struct prop_ovmf fw;
    struct prop_tdvf t;
    open_input(&loader, c, "acpi_table_loader");
    open_input(&rsdp, c, "acpi_rsdp");
    open_input(&tables, c, "acpi_tables");
    const struct prop_rtmr0_files acpi = { loader.given, rsdp.given, tables.given };
    OK(prop_ovmf_parse(b.data, b.len, "firmware", &fw, &err));
    OK(prop_tdvf_parse(&fw, &t, &err));
    p.rtmr0_known = true; /* the vectors' register does not depend on where the initrd's word stands */
    OK(prop_rtmr0(&fw, &t, number(c, "memory_bytes"), &acpi, &p, &r, &err));
    check_events(&r, json_object_get(c, "rtmr0_events"), text_of(c, "rtmr0"));
    p.rtmr0_known = false;
    FAILS(prop_rtmr0(&fw, &t, 1u << 31, &acpi, &p, &r, &err), PROP_E_UNSUPPORTED, "rtmr0-unknown");
    close_input(&loader);
    close_input(&rsdp);
    close_input(&tables);
    prop_buf_release(&b);
}

static void check_direct_boot(const json_t *c)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rtmr_profile p = profile_of(c);
    struct prop_digest kernel_digest, initrd_digest, options;
    struct prop_rtmr r;
    struct input kernel, initrd;
    const char *cmdline = text_of(c, "cmdline");
    open_input(&kernel, c, "kernel");
    open_input(&initrd, c, "initrd");
    struct prop_linux_boot boot = { number(c, "memory_bytes"), true, initrd.source.size, cmdline };
    OK(prop_rtmr_kernel(kernel.given, &boot, &p, &kernel_digest, &err));
    assert_bytes_hex(kernel_digest.bytes, 48, text_of(c, "kernel_authenticode_sha384"));
    OK(prop_rtmr1(&kernel_digest, &p, &r, &err));
    check_events(&r, json_object_get(c, "rtmr1_events"), text_of(c, "rtmr1"));
    OK(prop_source_digest(initrd.given, PROP_SHA384, &initrd_digest, &err));
    assert_bytes_hex(initrd_digest.bytes, 48, text_of(c, "initrd_sha384"));
    OK(prop_rtmr_load_options(cmdline, true, &p, &options, &err));
    assert_bytes_hex(options.bytes, 48, text_of(c, "load_options_sha384"));
    OK(prop_rtmr2(cmdline, &initrd_digest, &p, &r, &err));
    check_events(&r, json_object_get(c, "rtmr2_events"), text_of(c, "rtmr2"));
    check_rtmr0(c, p);
    close_input(&kernel);
    close_input(&initrd);
}

static void test_direct_boot(void **state)
{
    (void)state;
    json_t *root = measure_json("tdx.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "direct_boot"), i, c)
        check_direct_boot(c);
    assert_int_equal(i, 6);
    json_decref(root);
}

static void test_registers_without_an_initrd(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rtmr_profile p;
    struct prop_rtmr r;
    struct prop_digest a, b;
    OK(prop_rtmr_profile_parse("newest", &p, &err));
    OK(prop_rtmr2("quiet", NULL, &p, &r, &err));
    assert_int_equal(r.n, 1);
    FAILS(prop_rtmr2("", NULL, &p, &r, &err), PROP_E_UNSUPPORTED, "no-load-options");
    FAILS(prop_rtmr2(NULL, NULL, &p, &r, &err), PROP_E_UNSUPPORTED, "no-load-options");
    OK(prop_rtmr_load_options("a", false, &p, &a, &err));
    OK(prop_digest_of(PROP_SHA384, "a\0\0\0", 4, &b, &err));
    assert_true(prop_digest_equal(&a, &b));
}

static void test_profiles(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_rtmr_profile p;
    static const struct {
        const char *text, *name;
        bool patched, early, prefix, rtmr0;
    } good[] = {
        { "newest", "edk2-202508", false, false, true, false },
        { "edk2-202508", "edk2-202508", false, false, true, false },
        { "edk2-stable202511", "edk2-202511", false, false, true, false },
        { "edk2-202505", "edk2-202505", false, false, false, false },
        { "edk2-202502", "edk2-202502", false, false, false, true },
        { "edk2-202411", "edk2-202411", false, false, false, true },
        { "edk2-202408", "edk2-202408", false, true, false, true },
        { "edk2-202411+qemu-10.1", "edk2-202411+qemu-10.1", true, false, false, true },
        { "edk2-202411+qemu-10.2.1", "edk2-202411+qemu-10.2.1", false, false, false, true },
        { "edk2-202502+qemu-10.0", "edk2-202502+qemu-10.0", false, false, false, true },
        { "edk2-202502+qemu-9.2", "edk2-202502+qemu-9.2", true, false, false, true },
        { "edk2-202305+qemu-8.2", "edk2-202305+qemu-8.2", true, true, false, true },
        { "edk2-202508+qemu-11.0", "edk2-202508+qemu-11.0", false, false, true, false },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++) {
        OK(prop_rtmr_profile_parse(good[i].text, &p, &err));
        assert_string_equal(p.name, good[i].name);
        assert_int_equal(p.patched, good[i].patched);
        assert_int_equal(p.early_separator, good[i].early);
        assert_int_equal(p.prefix, good[i].prefix);
        assert_int_equal(p.rtmr0_known, good[i].rtmr0);
    }
    static const char *const wrong[] = { "", "edk2", "edk2-", "edk2-2025", "edk2-202513", "edk2-202500",
                                         "edk2-202211", "edk2-2025081", "edk2-202508+", "qemu-10.1",
                                         "edk2-202508+qemu-", "edk2-202508+qemu-10",
                                         "edk2-202508+qemu-10.1x", "edk2-202508+kvm-1.1",
                                         "edk2-202508+qemu-10.1.1.1.1.1.1.1.1.1.1.1" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(wrong); i++)
        FAILS(prop_rtmr_profile_parse(wrong[i], &p, &err), PROP_E_USAGE, "bad-profile");
    /* One name for each of the six combinations. */
    unsigned seen = 0;
    for (size_t i = 0; prop_rtmr_profile_name(i); i++) {
        OK(prop_rtmr_profile_parse(prop_rtmr_profile_name(i), &p, &err));
        assert_string_equal(p.name, prop_rtmr_profile_name(i));
        seen |= 1u << (p.patched | p.early_separator << 1 | p.prefix << 2);
    }
    assert_int_equal(seen, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5);
}

static const char *const refusals[][2] = {
    { "no TDX metadata", "firmware-no-tdx" },
    { "TDVF signature damaged", "firmware-tdx" },
    { "version 2", "firmware-tdx" },
    { "length does not match the section count", "firmware-tdx" },
    { "section address not page aligned", "firmware-tdx" },
    { "raw data beyond the file", "firmware-tdx" },
    { "memory size smaller than raw size", "firmware-tdx" },
    { "two TD HOB sections", "firmware-tdx" },
    { "kernel is not a PE file", "kernel-not-pe" },
};

static void test_refused(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("tdx.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "must_refuse"), i, c) {
        const char *want = NULL;
        for (size_t k = 0; k < PROP_ARRAY_LEN(refusals); k++)
            if (strcmp(refusals[k][0], text_of(c, "name")) == 0)
                want = refusals[k][1];
        assert_non_null(want);
        prop_err_clear(&err);
        if (json_object_get(c, "kernel")) {
            struct input in;
            struct prop_digest d;
            open_input(&in, c, "kernel");
            assert_true(prop_pe_authenticode(in.given, PROP_SHA384, &d, &err) < 0);
            close_input(&in);
        } else {
            struct prop_buf b = damaged(c);
            uint8_t got[48];
            assert_true(mrtd(&b, PROP_MRTD_PAGES, got, &err) < 0);
            prop_buf_release(&b);
        }
        assert_string_equal(prop_err_id(&err), want);
    }
    assert_int_equal(i, PROP_ARRAY_LEN(refusals));
    json_decref(root);
}

/* Sections of the fixture begin at 30736: {offset, raw size, address, memory size, type, attributes}. */
static void test_doubtful_metadata_refused(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    static const struct {
        size_t section, at;
        const char *hex;
    } patches[] = {
        { 0, 28, "02000000" },         /* PAGE.AUG */
        { 0, 28, "03000000" },
        { 0, 24, "04000000" },         /* permanent memory */
        { 0, 24, "05000000" },
        { 0, 24, "03000000" },         /* data in memory, and no boot volume */
        { 0, 4, "00000000" },          /* a volume without data */
        { 0, 0, "00f0ffff" },          /* far beyond the file */
        { 2, 16, "00000100ffffffff" }, /* impossible size */
        { 2, 8, "00000000ffffffff" },  /* impossible place */
        { 2, 8, "00b0800000000000" },  /* onto another section */
        { 3, 16, "0000000000000000" }, /* empty */
        { 3, 16, "0110000000000000" }, /* no whole pages */
        { 4, 24, "03000000" },         /* no TD HOB left */
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(patches); i++) {
        struct prop_buf b = measure_bytes("fw-tdx.bin");
        uint8_t got[48];
        size_t at = 30736 + 32 * patches[i].section + patches[i].at;
        (void)hex_bytes(patches[i].hex, b.data + at, 16);
        if (mrtd(&b, PROP_MRTD_PAGES, got, NULL) == 0)
            print_error("patch %zu is not refused\n", i);
        FAILS(mrtd(&b, PROP_MRTD_PAGES, got, &err), PROP_E_INPUT, "firmware-tdx");
        prop_buf_release(&b);
    }
}

/* Each byte of the boot volume and the tables counts; the variables do not, which the page says. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes("fw-tdx.bin");
    uint8_t want[48], got[48];
    OK(mrtd(&b, PROP_MRTD_PAGES, want, &err));
    for (size_t at = 0; at < b.len; at += at < 30720 ? 509 : 1) {
        b.data[at] ^= 0x20;
        int rc = mrtd(&b, PROP_MRTD_PAGES, got, NULL);
        bool same = rc == 0 && memcmp(got, want, 48) == 0;
        assert_int_equal(same, at < 8192);
        b.data[at] ^= 0x20;
    }
    prop_buf_release(&b);
}

static void test_firmware_that_measures_nothing(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ovmf fw;
    struct prop_buf tdx = measure_bytes("fw-tdx.bin"), sev = measure_bytes("fw-no-kernel-hashes.bin");
    OK(prop_ovmf_parse(tdx.data, tdx.len, "x", &fw, &err));
    OK(prop_tdvf_can_measure(&fw, &err));
    OK(prop_ovmf_parse(sev.data, sev.len, "x", &fw, &err));
    FAILS(prop_tdvf_can_measure(&fw, &err), PROP_E_UNSUPPORTED, "firmware-cannot-measure");
    assert_non_null(strstr(err.hint, "stable202305"));
    static const uint8_t constant[8] = { 0x22, 0xae, 0x28, 0xd7, 0x98, 0x2f, 0x8a, 0x42 };
    memcpy(sev.data + 4096, constant, sizeof constant);
    OK(prop_tdvf_can_measure(&fw, &err));
    prop_buf_release(&tdx);
    prop_buf_release(&sev);
}

/* The files of two distributions, where they are installed: a test for each name in the vectors. */
static void installed(const char *path, const char *member, bool measures)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("tdx.json");
    struct prop_buf b = PROP_BUF_INIT(64u << 20);
    struct prop_digest sha;
    struct prop_ovmf fw;
    char hex[PROP_DIGEST_TEXT] = "";
    const json_t *want = json_object_get(root, member);
    if (prop_file_read(path, &b, NULL) == 0 &&
        prop_digest_of(PROP_SHA256, b.data, b.len, &sha, NULL) == 0)
        (void)prop_digest_hex(&sha, hex);
    if (strcmp(hex, text_of(want, "sha256")) != 0) {
        print_message("skipped: no %s with the SHA-256 of '%s' in tdx.json\n", path, member);
        prop_buf_release(&b);
        json_decref(root);
        skip();
    }
    check_mrtd(&b, want);
    OK(prop_ovmf_parse(b.data, b.len, "firmware", &fw, &err));
    assert_int_equal(prop_tdvf_can_measure(&fw, NULL) == 0, measures);
    prop_buf_release(&b);
    json_decref(root);
}

static void test_debian_12_firmware(void **state)
{
    (void)state;
    installed(DEBIAN_OVMF, "distribution_firmware", false);
}

static void test_ubuntu_25_firmware(void **state)
{
    (void)state;
    installed(UBUNTU_OVMF, "published", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mrtd),
        cmocka_unit_test(test_td_hob),
        cmocka_unit_test(test_authenticode),
        cmocka_unit_test(test_authenticode_leaves_out_what_it_says),
        cmocka_unit_test(test_pe_files_refused),
        cmocka_unit_test(test_header_patch),
        cmocka_unit_test(test_header_patch_refused),
        cmocka_unit_test(test_release_of_a_kernel),
        cmocka_unit_test(test_direct_boot),
        cmocka_unit_test(test_registers_without_an_initrd),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_doubtful_metadata_refused),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_firmware_that_measures_nothing),
        cmocka_unit_test(test_debian_12_firmware),
        cmocka_unit_test(test_ubuntu_25_firmware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
