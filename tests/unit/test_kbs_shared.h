/* Finds the recorded exchanges and reports outside the tree; tests that need them skip by name. */
#ifndef PROP_TESTS_UNIT_TEST_KBS_SHARED_H
#define PROP_TESTS_UNIT_TEST_KBS_SHARED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/json.h"
#include "util/mem.h"

#define TRANSCRIPTS "protocol/transcripts"

/* Read PROP_SHARED/<folder>/<name> into `out`; skip the test when it is not there. */
static inline void shared_read(const char *folder, const char *name, struct prop_buf *out)
{
    const char *root = getenv("PROP_SHARED");
    /* On the stack: skip() jumps past cleanups. */
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s/%s", root && *root ? root : "../shared", folder, name);
    if (prop_file_read(path, out, NULL) < 0) {
        print_message("skipped: not there: PROP_SHARED/%s/%s\n", folder, name);
        prop_buf_release(out);
        skip();
    }
}

static inline json_t *shared_json(const char *folder, const char *name)
{
    struct prop_buf b = PROP_BUF_INIT(4u << 20);
    json_t *root = NULL;
    shared_read(folder, name, &b);
    assert_int_equal(prop_json_parse(prop_buf_str(&b), b.len, name, &root, NULL), 0);
    prop_buf_release(&b);
    return root;
}

static inline const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    assert_non_null(s);
    return s;
}

#endif
