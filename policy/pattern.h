/* Resource patterns: "repo/type/tag" where each part may hold one "*", which stands for any
 * characters of that part (a part is never empty). */
#ifndef PROP_POLICY_PATTERN_H
#define PROP_POLICY_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* The characters a part of a resource's name may have (kbs.md 3); "." not as the first. */
extern const char prop_policy_part_chars[];

/* One part of a pattern; points into the pattern. Without a "*" it is all `before`. */
struct prop_policy_part {
    const char *before, *after;
    size_t n_before, n_after;
    bool star;
};

bool prop_policy_pattern_ok(const char *pattern);
/* The three parts of a pattern that is ok. */
void prop_policy_pattern_parts(const char *pattern, struct prop_policy_part ret[3]);
bool prop_policy_part_fits(const struct prop_policy_part *part, const char *s, size_t len);
bool prop_policy_pattern_fits(const char *pattern, const char *path);
/* Does `a` fit all that `b` fits? Is there anything that both fit? */
bool prop_policy_part_contains(const struct prop_policy_part *a, const struct prop_policy_part *b);
bool prop_policy_part_meets(const struct prop_policy_part *a, const struct prop_policy_part *b);

#endif
