/* What fuzz targets share. A target is one file fuzz_NAME.c with libFuzzer's entry point; it is
 * linked with libFuzzer where `make fuzz LIBFUZZER=1` says so, else with driver.c. Its corpus is
 * corpus/NAME/; make_corpus.py writes that from tests/vectors. */
#ifndef PROP_TESTS_FUZZ_H
#define PROP_TESTS_FUZZ_H

#include "crypto/pkey.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The target's: words its inputs are made of, NULL last; driver.c throws them in. */
extern const char *const fuzz_words[];

/* Ends the process when it does not hold. */
#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what))                                                                               \
            fuzz_fail(#what, __FILE__, __LINE__);                                                  \
    } while (0)
__attribute__((noreturn)) void fuzz_fail(const char *what, const char *file, int line);
/* 1 for success; 0 for a failure that is told as it has to be: a code other than "our bug", a
 * message of one printable line, a cause. */
int fuzz_ok(int rc, const struct prop_err *err);

/* Files below tests/vectors; a missing one ends the process. Owned by the caller. */
struct prop_secret *fuzz_secret(const char *name);
struct prop_pkey *fuzz_key(const char *name);
/* A terminated copy of an input of exactly its size, for the sanitizer. */
char *fuzz_text(const uint8_t *data, size_t len);
/* Make (once) and return a folder of our own below TMPDIR; removed when the process ends well. */
const char *fuzz_folder(void);
/* Write a file in that folder, replacing it. */
void fuzz_put(const char *name, const void *data, size_t len);

#endif
