/* vm/: the words of the command line, what a QEMU says of itself, what a guest says at its end. */
#include "support.h"

#include "vm/argv.h"
#include "vm/launch.h"
#include "vm/lines.h"
#include "vm/mode.h"
#include "vm/qemu_probe.h"

#include <string.h>

static void forwards(void **state)
{
    static const char *const bad[] = { "", "22", ":22", "22:", "x:22", "65536:22", "1:65536", "1:0", "1:2:3",
                                       "127.0.0.1::22", "1:-2", "1: 2", "127.0.0.1:1:2:3", "000001:2" };
    static const char *const open[] = { "0.0.0.0:1:2", "192.168.0.1:1:2", "[::]:1:2", "host:1:2" };
    struct prop_vm_forward f = { 7, 7 };
    struct prop_err err = PROP_ERR_INIT;

    (void)state;
    assert_int_equal(prop_vm_forward_parse("2222:22", &f, &err), 0);
    assert_int_equal(f.host_port, 2222);
    assert_int_equal(f.guest_port, 22);
    assert_int_equal(prop_vm_forward_parse("127.0.0.1:0:65535", &f, &err), 0);
    assert_int_equal(f.host_port, 0);
    assert_int_equal(f.guest_port, 65535);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        prop_err_clear(&err);
        assert_int_equal(prop_vm_forward_parse(bad[i], &f, &err), PROP_E_USAGE);
        assert_int_equal(f.guest_port, 65535);
    }
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        prop_err_clear(&err);
        assert_int_equal(prop_vm_forward_parse(open[i], &f, &err), PROP_E_USAGE);
        assert_string_equal(prop_err_id(&err), "forward-not-loopback");
    }
}

static void quoting(void **state)
{
    static const char *const pairs[][2] = {
        { "plain-1.2,a=b:/c@%", "plain-1.2,a=b:/c@%" }, { "", "''" }, { "two words", "'two words'" },
        { "it's", "'it'\\''s'" }, { "$(x);`y`", "'$(x);`y`'" }, { "{\"a\":1}", "'{\"a\":1}'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1000);
        assert_int_equal(prop_argv_quote(pairs[i][0], &out, NULL), 0);
        assert_string_equal(prop_buf_str(&out), pairs[i][1]);
    }
}

/* As Debian 12's QEMU 7.2 and as later releases print their lists, shortened. */
static const struct prop_qemu_help seven = {
    "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022\n",
    "List of user creatable objects:\n  memory-backend-memfd\n  sev-guest\n  x-remote-object\n",
    "Accelerators supported in QEMU binary:\ntcg\nkvm\n",
    "Supported machines are:\nmicrovm              microvm (i386)\nq35                  Standard PC\n",
    "Available CPUs:\nx86 EPYC                  (alias configured by machine type)\nx86 EPYC-v3   AMD\n"
    "x86 host  processor with all supported host features \n\nRecognized CPUID flags:\n  3dnow abm\n",
    "QEMU emulator\n-sandbox on[,obsolete=allow|deny]\n                Enable seccomp\n",
};
static const struct prop_qemu_help ten = {
    "QEMU emulator version 10.1.0\n",
    "List of user creatable objects:\n  memory-backend-memfd\n  sev-guest\n  sev-snp-guest\n  tdx-guest\n",
    "Accelerators supported in QEMU binary:\nkvm\n", "Supported machines are:\nq35   Standard PC\n",
    "Available CPUs:\n  EPYC-v4               AMD EPYC Processor\n  host   processor\n", "",
};

static void what_qemu_knows(void **state)
{
    prop_auto_qemu struct prop_qemu a = PROP_QEMU_INIT;
    prop_auto_qemu struct prop_qemu b = PROP_QEMU_INIT;

    (void)state;
    assert_int_equal(prop_qemu_read("q", &seven, &a, NULL), 0);
    assert_string_equal(a.version, "7.2.22");
    assert_int_equal(a.release, 702);
    assert_true(a.sev_guest && a.memfd && a.kvm && a.tcg && a.q35 && a.sandbox);
    assert_false(a.snp_guest || a.tdx_guest);
    assert_true(prop_qemu_has_cpu(&a, "EPYC-v3,+x2apic") && prop_qemu_has_cpu(&a, "host"));
    assert_false(prop_qemu_has_cpu(&a, "EPYC-v4") || prop_qemu_has_cpu(&a, "") ||
                 prop_qemu_has_cpu(&a, "x86"));
    assert_int_equal(prop_qemu_read("q", &ten, &b, NULL), 0);
    assert_int_equal(b.release, 1001);
    assert_true(b.snp_guest && b.tdx_guest && prop_qemu_has_cpu(&b, "EPYC-v4"));
    assert_false(b.tcg || b.sandbox);
}

static void no_qemu(void **state)
{
    static const char *const versions[] = { "", "bash 5", "QEMU emulator version x", "QEMU emulator version 7" };
    struct prop_qemu q = PROP_QEMU_INIT;
    struct prop_err err = PROP_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        struct prop_qemu_help help = seven;
        help.version = versions[i];
        assert_int_equal(prop_qemu_read("q", &help, &q, &err), PROP_E_UNSUPPORTED);
        assert_string_equal(prop_err_id(&err), "not-qemu");
    }
    assert_int_equal(prop_qemu_assume("10.1x", &q, &err), PROP_E_USAGE);
    assert_null(q.program);
}

static void accelerators(void **state)
{
    prop_auto_qemu struct prop_qemu q = PROP_QEMU_INIT;
    struct prop_vm_host host = { .kvm = PROP_KVM_EMULATED };
    struct prop_err err = PROP_ERR_INIT;
    const char *accel = NULL;
    bool slow = false;

    (void)state;
    assert_int_equal(prop_qemu_assume("9.1", &q, NULL), 0);
    assert_int_equal(prop_vm_accel_choose("auto", PROP_VM_NONE, &host, &q, &accel, &slow, NULL), 0);
    assert_string_equal(accel, "tcg");
    assert_true(slow);
    assert_int_equal(prop_vm_accel_choose("kvm", PROP_VM_NONE, &host, &q, &accel, &slow, &err),
                     PROP_E_UNSUPPORTED);
    assert_string_equal(prop_err_id(&err), "no-kvm");
    host.kvm = PROP_KVM_OK;
    assert_int_equal(prop_vm_accel_choose("auto", PROP_VM_NONE, &host, &q, &accel, &slow, NULL), 0);
    assert_string_equal(accel, "kvm");
    assert_false(slow);
    assert_string_equal(prop_vm_cpu_default(PROP_VM_NONE, "kvm", &host), "host");
    host.nested = true;
    assert_string_equal(prop_vm_cpu_default(PROP_VM_NONE, "kvm", &host), "host,-arch-capabilities");
    assert_string_equal(prop_vm_cpu_default(PROP_VM_SNP, "kvm", &host), "EPYC-v4");
}

static bool ends(const char *line, struct prop_vm_end *end)
{
    *end = (struct prop_vm_end){ .said = false };
    return prop_vm_end_parse(line, strlen(line), end);
}

static void last_words(void **state)
{
    static const char *const none[] = {
        "", "propcvm-init: end: ", "propcvm-init: end: {}", "propcvm-init: end: {\"status\":256}",
        "propcvm-init: end: {\"status\":-1}", "propcvm-init: end: {\"status\":\"0\"}", "{\"status\":0}",
        "| propcvm-init: end: {\"status\":0}", "x\rpropcvm-init: end: {\"status\":0}",
        "propcvm-init: end: {\"status\":1,\"error\":[]}", "propcvm-init: end: {\"status\":0} more",
    };
    struct prop_vm_end end;

    (void)state;
    assert_true(ends("propcvm-init: end: {\"status\":0,\"error\":null,\"uptime_ms\":1200}", &end));
    assert_int_equal(end.status, 0);
    assert_int_equal(end.uptime_ms, 1200);
    assert_string_equal(end.code, "");
    assert_true(ends("propcvm-init: end: {\"status\":105,\"error\":{\"code\":\"x\",\"message\":\"a\\u001b[31m\"}}",
                     &end));
    assert_int_equal(end.status, 105);
    assert_string_equal(end.message, "a\\x1b[31m");
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(ends(none[i], &end));
}

struct heard {
    char text[200];
    int cuts;
};

static int hear(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    struct heard *h = ctx;

    (void)err;
    strncat(h->text, line, len);
    strncat(h->text, "|", 2);
    h->cuts += cut;
    return 0;
}

/* However a stream is cut into pieces, the lines are the same. */
static void lines(void **state)
{
    static const char stream[] = "one\r\ntwo\n\n0123456789abcdef\nlast";

    (void)state;
    for (size_t piece = 1; piece < sizeof stream; piece++) {
        struct prop_lines l = PROP_LINES_INIT(10);
        struct heard h = { "", 0 };
        for (size_t at = 0; at < sizeof stream - 1; at += piece) {
            size_t n = sizeof stream - 1 - at < piece ? sizeof stream - 1 - at : piece;
            assert_int_equal(prop_lines_feed(&l, stream + at, n, hear, &h, NULL), 0);
        }
        assert_int_equal(prop_lines_end(&l, hear, &h, NULL), 0);
        assert_string_equal(h.text, "one|two||0123456789|last|");
        assert_int_equal(h.cuts, 1);
        prop_lines_release(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards), cmocka_unit_test(quoting), cmocka_unit_test(what_qemu_knows),
        cmocka_unit_test(no_qemu), cmocka_unit_test(accelerators), cmocka_unit_test(last_words),
        cmocka_unit_test(lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
