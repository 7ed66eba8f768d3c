/* What the workload says, on a console where the host looks for init's own lines. No line of it can be
 * taken for one of those, and none holds anything a terminal would obey. */
#include "vm/init.h"

#include "util/file.h"

#include <string.h>

#define OURS "propcvm-init:" /* how init's own lines begin */

/* In place: what a terminal obeys, except tab and line feed. */
static void tame(char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)data[i] < ' ' && data[i] != '\n' && data[i] != '\t') || data[i] == 0x7f)
            data[i] = ' ';
}

void prop_init_console_log(int fd, bool *mid, char *data, size_t len)
{
    tame(data, len);
    for (size_t at = 0; at < len;) {
        const char *feed = memchr(data + at, '\n', len - at);
        size_t n = feed ? (size_t)(feed - data) + 1 - at : len - at;
        if (!*mid)
            (void)prop_write_all(fd, "| ", 2);
        (void)prop_write_all(fd, data + at, n);
        *mid = feed == NULL;
        at += n;
    }
}

void prop_init_console_result(int fd, char *data, size_t len)
{
    tame(data, len);
    for (size_t at = 0; at < len;) {
        const char *feed = memchr(data + at, '\n', len - at);
        size_t n = feed ? (size_t)(feed - data) + 1 - at : len - at;
        if (n >= strlen(OURS) && memcmp(data + at, OURS, strlen(OURS)) == 0)
            (void)prop_write_all(fd, "| ", 2);
        (void)prop_write_all(fd, data + at, n);
        at += n;
    }
    if (len && data[len - 1] != '\n')
        (void)prop_write_all(fd, "\n", 1);
}
