/* kbs-client's way to say that something failed. */
#include "cmd/propkey/kbs_client.h"

#include "util/file.h"
#include "util/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int propkey_kc_error(const char *text, const char *const *causes)
{
    (void)fprintf(stderr, "Error: %s\n", text);
    size_t n = 0;
    while (causes && causes[n])
        n++;
    if (n)
        (void)fputs("\nCaused by:\n", stderr);
    for (size_t i = 0; i < n; i++) {
        if (n == 1)
            (void)fprintf(stderr, "    %s\n", causes[i]);
        else
            (void)fprintf(stderr, "    %zu: %s\n", i, causes[i]);
    }
    return PROPKEY_KC_SAID;
}

int propkey_kc_os_error(int number)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s (os error %d)", strerror(number), number);
    return propkey_kc_error(text, NULL);
}

void propkey_kc_warn(const char *fmt, ...)
{
    char raw[1024], safe[2048];
    const char *level = getenv("RUST_LOG");
    va_list ap;
    if (level && (strcmp(level, "off") == 0 || strcmp(level, "error") == 0))
        return;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    (void)fprintf(stderr, "kbs-client: warning: %s\n", prop_printable(raw, len, safe, sizeof safe));
}

int propkey_kc_read_secret(const char *path, size_t max, struct prop_secret **ret)
{
    struct prop_err err = PROP_ERR_INIT;
    struct stat st;
    int rc = prop_file_read_secret(path, max, PROP_SECRET_FILE_ANY_MODE, ret, &err);
    if (rc < 0)
        return rc == PROP_E_NOTFOUND ? propkey_kc_os_error(ENOENT)
               : err.sys_errno       ? propkey_kc_os_error(err.sys_errno)
                                     : propkey_kc_error(err.message, NULL);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
        propkey_kc_warn("'%s' can be read by others (mode %03o): chmod 600 it", path,
                        (unsigned)(st.st_mode & 0777));
    return 0;
}

/* Characters that Rust escapes beyond the control ones: invisible and direction marks. */
static bool is_invisible(unsigned long c)
{
    return (c >= 0x7f && c < 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xe000 && c <= 0xf8ff) || (c >= 0xfff0 && c <= 0xfffb) || c >= 0xe0000;
}

static unsigned long decode(const uint8_t *p, size_t n)
{
    static const uint8_t lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    unsigned long c = p[0] & lead[n];
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static int add_char(struct prop_buf *out, const uint8_t *p, size_t n, struct prop_err *err)
{
    static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
    unsigned long c = decode(p, n);
    const char *short_form = c ? strchr(plain, (int)c) : NULL;
    if (n == 1 && !c)
        return prop_buf_puts(out, "\\0", err);
    if (n == 1 && short_form)
        return prop_buf_printf(out, err, "\\%c", letters[short_form - plain]);
    if (c < 0x20 || is_invisible(c))
        return prop_buf_printf(out, err, "\\u{%lx}", c);
    return prop_buf_add(out, p, n, err);
}

int propkey_kc_debug(const char *text, size_t len, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf clean = PROP_BUF_INIT(3 * len + 1);
    int rc = prop_utf8_clean(text, len, &clean, err);
    if (rc == 0)
        rc = prop_buf_puts(out, "\"", err);
    for (size_t i = 0, n = 0; rc == 0 && i < clean.len; i += n) {
        n = prop_utf8_len(clean.data + i, clean.len - i);
        rc = add_char(out, clean.data + i, n, err);
    }
    return rc == 0 ? prop_buf_puts(out, "\"", err) : rc;
}
