/* Guarded memory that grows: for messages with keys in them, whose length is not known before the
 * last byte came. Every outgrown block is wiped. */
#ifndef PROP_KEYPROVIDER_POT_H
#define PROP_KEYPROVIDER_POT_H

#include "util/err.h"
#include "util/secret.h"

#include <stddef.h>

struct prop_kp_pot {
    struct prop_secret *room;
    size_t len;
    size_t max; /* bytes `len` may reach */
};
#define PROP_KP_POT_INIT(maximum) { NULL, 0, (maximum) }

/* Append. PROP_E_LIMIT past the maximum, changing nothing. */
int prop_kp_pot_add(struct prop_kp_pot *p, const void *data, size_t len, struct prop_err *err);
int prop_kp_pot_puts(struct prop_kp_pot *p, const char *text, struct prop_err *err);
/* Append base64 text (RFC 4648 section 4), or a JSON array of numbers, of these bytes. */
int prop_kp_pot_base64(struct prop_kp_pot *p, const void *data, size_t len, struct prop_err *err);
int prop_kp_pot_numbers(struct prop_kp_pot *p, const void *data, size_t len, struct prop_err *err);
/* How much guarded memory is held now. */
size_t prop_kp_pot_held(const struct prop_kp_pot *p);
/* The bytes as a secret of just this length, owned by the caller; the pot is empty afterwards. */
int prop_kp_pot_take(struct prop_kp_pot *p, struct prop_secret **ret, struct prop_err *err);
void prop_kp_pot_release(struct prop_kp_pot *p);
#define prop_auto_kp_pot __attribute__((cleanup(prop_kp_pot_release)))

#endif
