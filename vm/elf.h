/* What the guest image needs to know of ELF files: what a program loads, what a kernel module says of
 * itself, and how much of a file is ever loaded. 64-bit little-endian x86 only; every offset of the
 * file is checked before it is followed. */
#ifndef PROP_VM_ELF_H
#define PROP_VM_ELF_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is this such a file? */
bool prop_elf_is(const uint8_t *data, size_t len);

/* Call `each` with every library it names (DT_NEEDED), in order. ret_interp, ret_rpath (the path list
 * that counts: DT_RUNPATH, else DT_RPATH; may hold $ORIGIN) are borrowed from `data`, NULL for none;
 * either may be NULL. Fails: PROP_E_INPUT (id "bad-elf"), what `each` fails with. */
int prop_elf_needed(const uint8_t *data, size_t len, const char *what,
                    int (*each)(void *ctx, const char *soname, struct prop_err *err), void *ctx,
                    const char **ret_interp, const char **ret_rpath, struct prop_err *err);

/* Bytes from the start of the file that its program headers name: debugging information and symbols
 * stand behind them. Fails: PROP_E_INPUT (id "bad-elf"). */
int prop_elf_loaded(const uint8_t *data, size_t len, const char *what, size_t *ret,
                    struct prop_err *err);
/* Take the section headers out of an ELF header (`data` at least prop_elf_loaded bytes): a file that
 * was cut there must not name them. */
void prop_elf_forget_sections(uint8_t *data);

/* The value of one field of a kernel module's .modinfo ("depends", "vermagic", "name"); borrowed, NULL
 * when it has none. Fails: PROP_E_INPUT (id "bad-elf"). */
int prop_elf_modinfo(const uint8_t *data, size_t len, const char *what, const char *field,
                     const char **ret, struct prop_err *err);

#endif
