/* SEV, SEV-ES and SNP launch digests against the vectors, each step of them, and every byte flipped. */
#include "test_tee_measure.h"

#include "tee/sev_launch.h"
#include "tee/snp_launch.h"

#define DEBIAN_OVMF "/usr/share/ovmf/OVMF.fd"

/* Everything from files to the digest; a code below 0 when something is refused. */
static int snp(const struct prop_buf *file, enum prop_vmm vmm, unsigned vcpus, uint32_t signature,
               uint64_t features, const struct prop_kernel_hashes *kernel, const char *override,
               uint8_t ld[48], struct prop_err *err)
{
    struct prop_ovmf fw;
    struct prop_sev_metadata m;
    struct prop_snp_vcpus v;
    int rc = prop_ovmf_parse(file->data, file->len, "firmware", &fw, err);
    if (rc == 0)
        rc = prop_ovmf_sev(&fw, &m, err);
    if (rc == 0)
        rc = prop_snp_launch_firmware(&fw, ld, err);
    if (rc == 0 && override)
        assert_int_equal(prop_hex_decode(override, strlen(override), ld, 48), 0);
    if (rc == 0)
        rc = prop_snp_launch_sections(&fw, &m, vmm, kernel, ld, err);
    if (rc == 0)
        rc = prop_snp_vcpus_begin(ld, vmm, fw.reset_eip, signature, features, &v, err);
    for (unsigned i = 0; rc == 0 && i < vcpus; i++)
        rc = prop_snp_vcpus_add(&v, err);
    if (rc == 0)
        memcpy(ld, v.ld, 48);
    return rc;
}

static int hashes_of(const json_t *c, struct prop_kernel_hashes *ret, bool *given)
{
    struct prop_err err = PROP_ERR_INIT;
    struct input kernel, initrd;
    open_input(&kernel, c, "kernel");
    open_input(&initrd, c, "initrd");
    *given = kernel.given != NULL;
    int rc = *given ? prop_kernel_hashes_of(kernel.given, initrd.given,
                                            json_string_value(json_object_get(c, "cmdline")), ret,
                                            &err)
                    : 0;
    close_input(&kernel);
    close_input(&initrd);
    return rc;
}

static void check_snp_case(const json_t *c)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kernel_hashes h;
    enum prop_vmm vmm = PROP_VMM_QEMU;
    bool kernel = false;
    uint8_t ld[48];
    struct prop_buf fw = measure_bytes(text_of(c, "firmware"));
    OK(prop_vmm_parse(text_of(c, "vmm"), &vmm, &err));
    assert_int_equal(hashes_of(c, &h, &kernel), 0);
    OK(snp(&fw, vmm, (unsigned)number(c, "vcpus"), (uint32_t)number(c, "vcpu_sig"),
           number(c, "guest_features"), kernel ? &h : NULL,
           json_string_value(json_object_get(c, "firmware_digest_override")), ld, &err));
    assert_bytes_hex(ld, 48, text_of(c, "launch_digest"));
    prop_buf_release(&fw);
}

static void test_snp_cases(void **state)
{
    (void)state;
    json_t *root = measure_json("snp.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "snp"), i, c)
        check_snp_case(c);
    assert_true(i >= 12);
    json_array_foreach(json_object_get(json_object_get(root, "snp_published"), "cases"), i, c)
        check_snp_case(c);
    assert_true(i >= 5);
    json_decref(root);
}

static void test_firmware_pages_only(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "firmware_only_digest"), i, c) {
        struct prop_buf b = measure_bytes(text_of(c, "firmware"));
        struct prop_ovmf fw;
        uint8_t ld[48];
        OK(prop_ovmf_parse(b.data, b.len, "firmware", &fw, &err));
        OK(prop_snp_launch_firmware(&fw, ld, &err));
        assert_bytes_hex(ld, 48, text_of(c, "digest"));
        prop_buf_release(&b);
    }
    json_decref(root);
}

static void test_page_info_steps(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "page_info_steps"), i, c) {
        uint8_t ld[48], contents[48];
        (void)hex_bytes(text_of(c, "ld_in"), ld, sizeof ld);
        (void)hex_bytes(text_of(c, "contents_digest"), contents, sizeof contents);
        OK(prop_snp_launch_page(ld, (enum prop_snp_page_type)number(c, "page_type"),
                                number(c, "gpa"), contents, &err));
        assert_bytes_hex(ld, 48, text_of(c, "ld_out"));
    }
    assert_int_equal(i, 7);
    json_decref(root);
}

static void test_vmsa_pages(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *c;
    uint8_t page[4096];
    size_t i, nonzero = 0;
    json_array_foreach(json_object_get(root, "vmsa_pages"), i, c) {
        enum prop_vmm vmm = PROP_VMM_QEMU;
        struct prop_digest d;
        OK(prop_vmm_parse(text_of(c, "vmm"), &vmm, &err));
        prop_vmsa_page(vmm, (uint32_t)number(c, "eip"), (uint32_t)number(c, "vcpu_sig"),
                       number(c, "guest_features"), page);
        OK(prop_digest_of(PROP_SHA384, page, sizeof page, &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "sha384"));
        OK(prop_digest_of(PROP_SHA256, page, sizeof page, &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "sha256"));
    }
    assert_int_equal(i, 10);
    prop_vmsa_page(PROP_VMM_QEMU, PROP_VMSA_RESET, 0x800f12, 1, page);
    json_array_foreach(json_object_get(root, "vmsa_nonzero_bytes_qemu_bsp"), i, c) {
        size_t at = strtoul(json_string_value(json_array_get(c, 0)), NULL, 16);
        assert_bytes_hex(page + at, 1, json_string_value(json_array_get(c, 1)));
    }
    for (size_t k = 0; k < sizeof page; k++)
        nonzero += page[k] != 0;
    assert_int_equal(nonzero, i);
    json_decref(root);
}

static void test_cpu_models(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *types = json_object_get(root, "vcpu_types"), *v;
    const char *name;
    uint32_t got = 0;
    json_object_foreach(types, name, v) {
        OK(prop_cpu_signature(name, &got, &err));
        assert_int_equal(got, strtoul(json_string_value(v), NULL, 16));
    }
    size_t n = 0;
    for (const struct prop_cpu_model *m; (m = prop_cpu_model(n)); n++)
        assert_non_null(json_object_get(types, m->name));
    assert_int_equal(n, json_object_size(types));
    OK(prop_cpu_signature("epyc-milan", &got, &err));
    assert_int_equal(got, 0xa00f11);
    OK(prop_cpu_signature("0x00A20F12", &got, &err));
    assert_int_equal(got, 0xa20f12);
    OK(prop_cpu_signature("25.17.0", &got, &err)); /* family 0x19, model 0x11: Genoa */
    assert_int_equal(got, 0xa10f10);
    OK(prop_cpu_signature("23.1.2", &got, &err));
    assert_int_equal(got, 0x800f12);
    static const char *const wrong[] = { "", "host", "max", "EPYC-v9", "Opteron", "0x", "0x123456789",
                                         "0xg", "25.17", "25.17.0.1", "14.1.1", "25.256.0", "25.17.16",
                                         "25..0", "25.17.", "271.1.1" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(wrong); i++)
        FAILS(prop_cpu_signature(wrong[i], &got, &err), PROP_E_USAGE, "bad-vcpu-type");
    json_decref(root);
}

static void test_kernel_hashes(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "kernel_hashes"), i, c) {
        struct prop_kernel_hashes h;
        struct prop_digest d;
        uint8_t table[PROP_KERNEL_HASHES], page[4096];
        bool given = false;
        assert_int_equal(hashes_of(c, &h, &given), 0);
        assert_true(given);
        prop_kernel_hashes_table(&h, table);
        assert_bytes_hex(table, sizeof table, text_of(c, "table_hex"));
        prop_kernel_hashes_page(&h, number(c, "offset_in_page"), page);
        OK(prop_digest_of(PROP_SHA384, page, sizeof page, &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "page_sha384"));
    }
    assert_int_equal(i, 3);
    json_decref(root);
}

static void test_sev_cases(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "sev"), i, c) {
        struct prop_buf b = measure_bytes(text_of(c, "firmware"));
        struct prop_kernel_hashes h;
        struct prop_digest d;
        struct prop_ovmf fw;
        bool kernel = false;
        assert_int_equal(hashes_of(c, &h, &kernel), 0);
        OK(prop_ovmf_parse(b.data, b.len, "firmware", &fw, &err));
        if (strcmp(text_of(c, "mode"), "sev") == 0)
            OK(prop_sev_launch(&fw, kernel ? &h : NULL, &d, &err));
        else
            OK(prop_sev_es_launch(&fw, kernel ? &h : NULL, (unsigned)number(c, "vcpus"),
                                  (uint32_t)number(c, "vcpu_sig"), &d, &err));
        assert_bytes_hex(d.bytes, d.len, text_of(c, "launch_digest"));
        prop_buf_release(&b);
    }
    assert_int_equal(i, 5);
    json_decref(root);
}

/* Which id a refusal has to carry. */
static const char *const refusals[][2] = {
    { "kernel given, firmware has no kernel-hashes section", "firmware-cannot-measure" },
    { "no SEV metadata", "firmware-no-sev" },
    { "footer GUID damaged", "firmware-no-sev" },
    { "metadata signature damaged", "firmware-sev" },
    { "metadata version 2", "firmware-sev" },
    { "unknown section type", "firmware-sev" },
    { "section size not a page multiple", "firmware-sev" },
    { "section count larger than the table", "firmware-sev" },
    { "table entry length zero", "firmware-table" },
    { "table longer than the file", "firmware-table" },
    { "file size not a page multiple", "firmware-size" },
};

static void test_refused(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json"), *c;
    size_t i;
    json_array_foreach(json_object_get(root, "must_refuse"), i, c) {
        struct prop_buf b = damaged(c);
        struct prop_kernel_hashes h;
        uint8_t ld[48];
        bool kernel = false;
        const char *want = NULL;
        for (size_t k = 0; k < PROP_ARRAY_LEN(refusals); k++)
            if (strcmp(refusals[k][0], text_of(c, "name")) == 0)
                want = refusals[k][1];
        assert_non_null(want);
        assert_int_equal(hashes_of(c, &h, &kernel), 0);
        prop_err_clear(&err);
        assert_true(snp(&b, PROP_VMM_QEMU, 1, 0x800f12, 1, kernel ? &h : NULL, NULL, ld, &err) < 0);
        assert_string_equal(prop_err_id(&err), want);
        prop_buf_release(&b);
    }
    assert_int_equal(i, PROP_ARRAY_LEN(refusals));
    json_decref(root);
}

/* Refused because of numbers that would be read differently elsewhere. */
static void patch_refused(size_t at, const char *hex, const char *id)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes("fw-kernel-hashes.bin");
    struct prop_kernel_hashes h = { { 0 }, { 0 }, { 0 } };
    uint8_t ld[48];
    assert_int_equal(prop_hex_decode(hex, strlen(hex), b.data + at, strlen(hex) / 2), 0);
    if (snp(&b, PROP_VMM_QEMU, 2, 0x800f12, 1, &h, NULL, ld, &err) == 0)
        print_error("patch at %zu is not refused\n", at);
    assert_string_equal(prop_err_id(&err), id);
    prop_buf_release(&b);
}

static size_t find(const struct prop_buf *b, const char *hex)
{
    uint8_t want[64];
    size_t n = hex_bytes(hex, want, sizeof want);
    const uint8_t *p = memmem(b->data, b->len, want, n);
    assert_non_null(p);
    return (size_t)(p - b->data);
}

static void test_doubtful_tables_refused(void **state)
{
    (void)state;
    struct prop_buf b = measure_bytes("fw-kernel-hashes.bin");
    size_t meta = find(&b, "41534556"); /* ASEV */
    size_t area = find(&b, "1f3755723b3a044b927b1da6efa8d454") - 10;
    size_t sections = meta + 16;
    size_t reset = find(&b, "de71f7007e1acb4f890e68c77e2fb44e") - 6;
    size_t pointer = find(&b, "666588dc4a989847a75e5585a7bf67cc") - 6;
    prop_buf_release(&b);
    patch_refused(sections, "01", "firmware-sev");                       /* address not a page */
    patch_refused(sections + 4, "00000000", "firmware-sev");             /* empty */
    patch_refused(sections + 4, "00f0ffff", "firmware-sev");             /* over the firmware */
    patch_refused(sections, "00000000""00008100", "firmware-sev");       /* overlaps the next ones */
    patch_refused(sections + 2 * 12 + 4, "00200000", "firmware-sev");    /* two pages of secrets */
    patch_refused(sections + 4 * 12 + 8, "10000000", "firmware-sev");    /* two sections of hashes */
    patch_refused(meta + 4, "ff", "firmware-sev");                       /* length */
    patch_refused(meta + 12, "00000000", "firmware-sev");                /* no sections */
    patch_refused(meta + 12, "01000000", "firmware-sev");                /* fewer than its length */
    patch_refused(pointer, "08000000", "firmware-sev");                  /* behind the end */
    patch_refused(pointer, "ffffff7f", "firmware-sev");                  /* before the start */
    patch_refused(area, "00000000", "firmware-cannot-measure");
    patch_refused(area + 4, "00000000", "firmware-cannot-measure");
    patch_refused(area + 4, "af000000", "firmware-table");               /* a byte too small */
    patch_refused(area + 4, "01040000", "firmware-table");               /* over its section */
    patch_refused(area, "000b8000", "firmware-table");                   /* in another section */
    patch_refused(reset + 6, "1f3755723b3a044b927b1da6efa8d454", "firmware-table"); /* twice */
}

static void test_small_and_odd_files(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ovmf fw;
    uint8_t *page = prop_zalloc(4096);
    assert_non_null(page);
    FAILS(prop_ovmf_parse(page, 0, "x", &fw, &err), PROP_E_INPUT, "firmware-size");
    FAILS(prop_ovmf_parse(page, 48, "x", &fw, &err), PROP_E_INPUT, "firmware-size");
    OK(prop_ovmf_parse(page, 4096, "x", &fw, &err));
    struct prop_digest d;
    assert_false(fw.has_table);
    FAILS(prop_sev_es_launch(&fw, NULL, 1, 0x800f12, &d, &err), PROP_E_UNSUPPORTED,
          "firmware-no-reset");
    struct prop_kernel_hashes h = { { 0 }, { 0 }, { 0 } };
    FAILS(prop_sev_launch(&fw, &h, &d, &err), PROP_E_UNSUPPORTED, "firmware-cannot-measure");
    assert_true(strstr(err.hint, "AmdSev") && strstr(err.hint, "stable202402"));
    prop_free(page);
}

/* Each byte of every input: another digest, or a refusal. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = measure_bytes("fw-kernel-hashes.bin");
    struct prop_kernel_hashes h = { { 1 }, { 2 }, { 3 } };
    uint8_t want[48], got[48];
    OK(snp(&b, PROP_VMM_QEMU, 2, 0x800f12, 1, &h, NULL, want, &err));
    /* The tables and all around them; the pages before are filler, of which one byte each will do. */
    for (size_t at = 0; at < b.len; at += at < 15360 ? 1021 : 1) {
        b.data[at] ^= 0x40;
        int rc = snp(&b, PROP_VMM_QEMU, 2, 0x800f12, 1, &h, NULL, got, NULL);
        assert_true(rc < 0 || memcmp(got, want, 48) != 0);
        b.data[at] ^= 0x40;
    }
    prop_buf_release(&b);
    static const char *const files[] = { "kernel.bin", "initrd.bin" };
    for (size_t f = 0; f < PROP_ARRAY_LEN(files); f++) {
        struct prop_buf k = measure_bytes(files[f]);
        struct prop_source s = prop_source_of(k.data, k.len, files[f]);
        struct prop_kernel_hashes before, after;
        OK(prop_kernel_hashes_of(&s, &s, "x", &before, &err));
        for (size_t at = 0; at < k.len; at += 173) {
            k.data[at] ^= 1;
            OK(prop_kernel_hashes_of(&s, &s, "x", &after, &err));
            assert_memory_not_equal(before.kernel, after.kernel, 32);
            assert_memory_not_equal(before.initrd, after.initrd, 32);
            k.data[at] ^= 1;
        }
        OK(prop_kernel_hashes_of(&s, NULL, "y", &after, &err));
        assert_memory_not_equal(before.cmdline, after.cmdline, 32);
        assert_memory_equal(before.kernel, after.kernel, 32);
        prop_buf_release(&k);
    }
}

static void test_distribution_firmware(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    json_t *root = measure_json("snp.json");
    json_t *d = json_object_get(root, "snp_distribution_firmware"), *c;
    struct prop_buf b = PROP_BUF_INIT(64u << 20);
    struct prop_digest sha;
    char hex[PROP_DIGEST_TEXT] = "";
    size_t i;
    if (prop_file_read(DEBIAN_OVMF, &b, NULL) == 0 &&
        prop_digest_of(PROP_SHA256, b.data, b.len, &sha, NULL) == 0)
        (void)prop_digest_hex(&sha, hex);
    if (strcmp(hex, text_of(d, "sha256")) != 0) {
        print_message("skipped: no %s with the SHA-256 of Debian's ovmf 2022.11-6+deb12u2\n",
                      DEBIAN_OVMF);
        prop_buf_release(&b);
        json_decref(root);
        skip();
    }
    uint8_t ld[48];
    json_array_foreach(json_object_get(d, "cases"), i, c) {
        uint32_t signature = 0;
        OK(prop_cpu_signature(text_of(c, "vcpu_type"), &signature, &err));
        OK(snp(&b, PROP_VMM_QEMU, (unsigned)number(c, "vcpus"), signature,
               number(c, "guest_features"), NULL, NULL, ld, &err));
        assert_bytes_hex(ld, 48, text_of(c, "launch_digest"));
    }
    assert_true(i >= 4);
    struct prop_kernel_hashes h = { { 0 }, { 0 }, { 0 } };
    FAILS(snp(&b, PROP_VMM_QEMU, 1, 0x800f12, 1, &h, NULL, ld, &err), PROP_E_UNSUPPORTED,
          "firmware-cannot-measure");
    prop_buf_release(&b);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snp_cases),
        cmocka_unit_test(test_firmware_pages_only),
        cmocka_unit_test(test_page_info_steps),
        cmocka_unit_test(test_vmsa_pages),
        cmocka_unit_test(test_cpu_models),
        cmocka_unit_test(test_kernel_hashes),
        cmocka_unit_test(test_sev_cases),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_doubtful_tables_refused),
        cmocka_unit_test(test_small_and_odd_files),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_distribution_firmware),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
