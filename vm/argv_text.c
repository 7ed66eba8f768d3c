/* The words of the command line that describe a VM, and the argument vector as text. */
#include "vm/argv.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

static const char *const mode_names[] = { "none", "sev", "sev-es", "snp", "tdx" };

const char *prop_vm_mode_name(enum prop_vm_mode mode)
{
    return mode_names[mode];
}

int prop_vm_mode_parse(const char *text, enum prop_vm_mode *ret, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(mode_names); i++)
        if (strcmp(text, mode_names[i]) == 0) {
            *ret = (enum prop_vm_mode)i;
            return 0;
        }
    return prop_err_set_id(err, PROP_E_USAGE, "bad-mode",
                           "'%s' is none of auto, none, sev, sev-es, snp, tdx", text);
}

static int bad_forward(const char *text, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-forward",
                          "'%s' is no forward: [127.0.0.1:]HOST:GUEST", text);
    return prop_err_hint(err, "ports are 1 to 65535; 0 on the host's side is any free one");
}

/* The digits up to `end`, at most 65535. */
static bool read_port(const char *text, const char *end, uint16_t *ret)
{
    unsigned n = 0;

    if (text == end || end - text > 5)
        return false;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = n * 10 + (unsigned)(*text - '0');
    }
    *ret = (uint16_t)n;
    return n <= UINT16_MAX;
}

int prop_vm_forward_parse(const char *text, struct prop_vm_forward *ret, struct prop_err *err)
{
    struct prop_vm_forward f = { 0, 0 };
    const char *last = strrchr(text, ':');
    const char *start = text;

    if (!last)
        return bad_forward(text, err);
    for (const char *c = text; c < last; c++)
        if (*c == ':')
            start = c + 1;
    if (!read_port(start, last, &f.host_port) ||
        !read_port(last + 1, last + strlen(last), &f.guest_port) || f.guest_port == 0)
        return bad_forward(text, err);
    if (start != text && !prop_starts_with(text, "127.0.0.1:") &&
        !prop_starts_with(text, "localhost:")) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "forward-not-loopback",
                              "'%s' would open the guest to the network", text);
        return prop_err_hint(err, "forwards are on 127.0.0.1; put a proxy or ssh -L in front of it");
    }
    if (start != text && start != text + strlen("127.0.0.1:"))
        return bad_forward(text, err);
    *ret = f;
    return 0;
}

int prop_argv_quote(const char *arg, struct prop_buf *out, struct prop_err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=+,./:@%";

    if (*arg && strspn(arg, plain) == strlen(arg))
        return prop_buf_puts(out, arg, err);
    int rc = prop_buf_puts(out, "'", err);
    for (; rc == 0 && *arg; arg++)
        rc = *arg == '\'' ? prop_buf_puts(out, "'\\''", err) : prop_buf_add(out, arg, 1, err);
    return rc ? rc : prop_buf_puts(out, "'", err);
}
