#include "cmd/cli/progress.h"

#include <stdio.h>
#include <string.h>

#define AVERAGE_MS 3000.0 /* what is older than this hardly counts */
#define SAMPLE_MS 100     /* shorter steps are noise */
#define BAR_LEAST 10      /* columns; a shorter bar says nothing */
#define BAR_MOST 40

void prop_rate_add(struct prop_rate *r, uint64_t now_ms, uint64_t done, uint64_t total)
{
    if (!r->begun_ms || done < r->last_done || total != r->total) {
        *r = (struct prop_rate){ .last_ms = now_ms, .last_done = done, .total = total,
                                 .begun_ms = now_ms };
        return;
    }
    if (now_ms - r->last_ms < SAMPLE_MS)
        return;
    double step = (double)(now_ms - r->last_ms);
    double rate = (double)(done - r->last_done) * 1000.0 / step;
    double weight = step >= AVERAGE_MS ? 1.0 : step / AVERAGE_MS;
    /* at first the plain average: every step counts as much as it is long */
    double age = (double)(now_ms - r->begun_ms);
    if (age < AVERAGE_MS)
        weight = step / age;
    r->bytes_per_s += weight * (rate - r->bytes_per_s);
    r->last_ms = now_ms;
    r->last_done = done;
}

/* "512.0 MiB" */
static const char *size_text(double bytes, char out[24])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t u = 0;
    while (bytes >= 1023.95 && u + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1024.0;
        u++;
    }
    (void)snprintf(out, 24, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return out;
}

/* "  480.2 MiB/s  0:01 left"; empty while no rate is known. */
static void speed_text(const struct prop_rate *r, uint64_t done, uint64_t total, char *out,
                       size_t size)
{
    char rate[24], left[24] = "";
    out[0] = 0;
    if (r->bytes_per_s < 1.0)
        return;
    if (total > done) {
        double s = (double)(total - done) / r->bytes_per_s + 0.5;
        if (s >= 100.0 * 3600.0)
            (void)snprintf(left, sizeof left, "  > 99 h left");
        else if (s >= 3600.0)
            (void)snprintf(left, sizeof left, "  %u:%02u:%02u left", (unsigned)s / 3600,
                           (unsigned)s / 60 % 60, (unsigned)s % 60);
        else
            (void)snprintf(left, sizeof left, "  %u:%02u left", (unsigned)s / 60, (unsigned)s % 60);
    }
    (void)snprintf(out, size, "  %s/s%s", size_text(r->bytes_per_s, rate), left);
}

/* "[###...]  " of that many columns in all, or nothing when it would be too short. */
static void bar_text(uint64_t done, uint64_t total, size_t room, char *out)
{
    size_t n = room > BAR_MOST ? BAR_MOST : room;
    out[0] = 0;
    if (n < BAR_LEAST)
        return;
    size_t inner = n - 4, full = (size_t)((double)inner * ((double)done / (double)total));
    if (full > inner)
        full = inner;
    out[0] = '[';
    memset(out + 1, '#', full);
    memset(out + 1 + full, '.', inner - full);
    memcpy(out + 1 + inner, "]  ", 4);
}

const char *prop_progress_line(const struct prop_rate *r, const char *what, uint64_t done,
                               uint64_t total, size_t columns, char *out, size_t size)
{
    char speed[80], tail[160], bar[BAR_MOST + 1] = "", a[24], b[24];
    size_t room = columns > 1 ? columns - 1 : 0;
    speed_text(r, done, total, speed, sizeof speed);
    if (total == 0)
        (void)snprintf(tail, sizeof tail, "%s%s", size_text((double)done, a), speed);
    else
        (void)snprintf(tail, sizeof tail, "%3u%%  %s/%s%s",
                       (unsigned)(100.0 * (done < total ? (double)done / (double)total : 1.0)),
                       size_text((double)done, a), size_text((double)total, b), speed);
    size_t used = strlen(what) + 2 + strlen(tail);
    if (total && room > used)
        bar_text(done, total, room - used, bar);
    /* too narrow for all: the name goes first, then the end of the rest */
    if (used > room)
        (void)snprintf(out, size, "%.*s", (int)room, tail);
    else
        (void)snprintf(out, size, "%s  %s%s", what, bar, tail);
    if (room < size)
        out[room] = 0;
    return out;
}
