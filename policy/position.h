/* Where things stand in the text of a policy document: the parsers give no positions, so the text,
 * which was parsed before, is walked again. Used for line numbers and for cutting a rule out. */
#ifndef PROP_POLICY_POSITION_H
#define PROP_POLICY_POSITION_H

#include <stdbool.h>
#include <stddef.h>

/* One step down: a member by its name, or an element by its index from 0 when name is NULL. */
struct prop_policy_step {
    const char *name;
    size_t len, index;
};
#define PROP_POLICY_MEMBER(s) ((struct prop_policy_step){ (s), strlen(s), 0 })
#define PROP_POLICY_ELEMENT(i) ((struct prop_policy_step){ NULL, 0, (i) })

struct prop_policy_place {
    size_t depth;       /* steps that were found; 0 = nothing */
    size_t line;        /* of the deepest one, from 1 */
    bool whole;         /* the range below is known: depth is all steps, to a table or list */
    bool header;        /* TOML: a [[table]] with the lines below it, else a value */
    size_t begin, end;  /* bytes of it */
};
/* Follow the steps into the text, as far as they go. */
void prop_policy_find(const char *text, size_t len, bool json, const struct prop_policy_step *steps,
                      size_t n_steps, struct prop_policy_place *ret);

#endif
