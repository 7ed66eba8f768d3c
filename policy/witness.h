/* Names that tell patterns apart: for one part of a resource's name, finitely many words stand for
 * all words there are. */
#ifndef PROP_POLICY_WITNESS_H
#define PROP_POLICY_WITNESS_H

#include "policy/pattern.h"
#include "util/err.h"

#include <stddef.h>

/* Words that `part` fits, such that whichever of the n `others` some word that `part` fits avoids,
 * one of the words given avoids at least those. All are words a key broker takes. */
struct prop_policy_words {
    char **words;
    size_t n, cap;
};
int prop_policy_witness(const struct prop_policy_part *part, const struct prop_policy_part *const *others,
                        size_t n, struct prop_policy_words *ret, struct prop_err *err);
void prop_policy_words_release(struct prop_policy_words *w);

#endif
