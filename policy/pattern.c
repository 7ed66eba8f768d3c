/* Patterns with at most one star per part are a prefix and a suffix; all answers are exact. */
#include "policy/pattern.h"

#include <string.h>

enum { part_max = 255 };

const char prop_policy_part_chars[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

static bool part_ok(const char *s, size_t len)
{
    size_t stars = 0;
    if (len == 0 || len > part_max || s[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '*')
            stars++;
        else if (strchr(prop_policy_part_chars, s[i]) == NULL)
            return false;
    }
    return stars <= 1;
}

bool prop_policy_pattern_ok(const char *pattern)
{
    int parts = 0;
    for (const char *p = pattern;; p++) {
        size_t len = strcspn(p, "/");
        if (!part_ok(p, len))
            return false;
        parts++;
        p += len;
        if (*p == 0)
            return parts == 3;
    }
}

static struct prop_policy_part part_of(const char *s, size_t len)
{
    const char *star = memchr(s, '*', len);
    if (star == NULL)
        return (struct prop_policy_part){ s, s + len, len, 0, false };
    size_t before = (size_t)(star - s);
    return (struct prop_policy_part){ s, star + 1, before, len - before - 1, true };
}

void prop_policy_pattern_parts(const char *pattern, struct prop_policy_part ret[3])
{
    for (size_t i = 0; i < 3; i++) {
        size_t len = strcspn(pattern, "/");
        ret[i] = part_of(pattern, len);
        pattern += len + (pattern[len] == '/');
    }
}

bool prop_policy_part_fits(const struct prop_policy_part *p, const char *s, size_t len)
{
    if (!p->star)
        return len == p->n_before && memcmp(s, p->before, len) == 0;
    return len > 0 && len >= p->n_before + p->n_after && memcmp(s, p->before, p->n_before) == 0 &&
           memcmp(s + len - p->n_after, p->after, p->n_after) == 0;
}

bool prop_policy_pattern_fits(const char *pattern, const char *path)
{
    for (;;) {
        size_t n = strcspn(pattern, "/"), len = strcspn(path, "/");
        struct prop_policy_part part = part_of(pattern, n);
        if (!prop_policy_part_fits(&part, path, len))
            return false;
        pattern += n;
        path += len;
        if (*pattern == 0 || *path == 0)
            return *pattern == *path;
        pattern++;
        path++;
    }
}

bool prop_policy_part_contains(const struct prop_policy_part *a, const struct prop_policy_part *b)
{
    if (!b->star)
        return prop_policy_part_fits(a, b->before, b->n_before);
    return a->star && b->n_before >= a->n_before && b->n_after >= a->n_after &&
           memcmp(b->before, a->before, a->n_before) == 0 &&
           memcmp(b->after + b->n_after - a->n_after, a->after, a->n_after) == 0;
}

bool prop_policy_part_meets(const struct prop_policy_part *a, const struct prop_policy_part *b)
{
    if (!a->star)
        return prop_policy_part_fits(b, a->before, a->n_before);
    if (!b->star)
        return prop_policy_part_fits(a, b->before, b->n_before);
    size_t before = a->n_before < b->n_before ? a->n_before : b->n_before;
    size_t after = a->n_after < b->n_after ? a->n_after : b->n_after;
    return memcmp(a->before, b->before, before) == 0 &&
           memcmp(a->after + a->n_after - after, b->after + b->n_after - after, after) == 0;
}
