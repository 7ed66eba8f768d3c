/* Memory for keys, passphrases, tokens and plaintext: guarded pages, locked where the limit
 * allows, wiped when freed, length known. There is no conversion to `char *` on purpose; text
 * secrets have a 0 byte after the last one, outside their length. (libsodium, sodium_malloc)
 */
#ifndef PROP_UTIL_SECRET_H
#define PROP_UTIL_SECRET_H

#include "util/err.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_secret;

/* New secret of `len` zero bytes (0 is fine); or a copy of `data`. Owned by the caller.
 * Fails: PROP_E_NOMEM, PROP_E_LIMIT over PROP_LIMIT_SECRET. */
int prop_secret_new(size_t len, struct prop_secret **ret, struct prop_err *err);
int prop_secret_copy(const void *data, size_t len, struct prop_secret **ret, struct prop_err *err);

/* The bytes; borrowed, valid until prop_secret_free. */
uint8_t *prop_secret_bytes(struct prop_secret *s);
const uint8_t *prop_secret_data(const struct prop_secret *s);
size_t prop_secret_len(const struct prop_secret *s);

/* Cut the length down to `len` (never up); the bytes behind it are wiped. */
void prop_secret_truncate(struct prop_secret *s, size_t len);

/* Same length and bytes, in constant time for equal lengths. */
bool prop_secret_equal(const struct prop_secret *a, const struct prop_secret *b);

/* Constant-time compare of two byte strings of one length. */
bool prop_bytes_equal(const void *a, const void *b, size_t len);

/* Wipe memory that is not a prop_secret (stack copies). */
void prop_wipe(void *p, size_t len);

/* Wipe and free. NULL is fine. */
void prop_secret_free(struct prop_secret *s);
PROP_DEFINE_AUTO(struct prop_secret *, prop_secret_free)
#define prop_auto_secret __attribute__((cleanup(prop_secret_free_p)))

/* Process-wide: from now on secrets lie in pages that the kernel takes out of its own map
 * (memfd_secret), where it can do that and the limit of locked memory allows. System calls may then
 * not read from or write into a secret (EFAULT): prop_file_read_secret knows another way. For the
 * guest, which gives no secret to a system call. */
void prop_secret_hide(void);

/* Bytes of a core dump that stop every kind of it: too few for a file, and the one value at which the
 * kernel starts no program to take the dump either. At 0 it would (core(5), linux/fs/coredump.c). */
#define PROP_SECRET_CORE_LIMIT 1

/* Process-wide, called once by each tool before anything else: no core dumps, no ptrace by
 * others, jansson's memory is wiped when freed, umask 077 for what we create. */
void prop_secret_harden_process(void);

#endif
