/* Fixtures of measurement, for the tests of tee/: inputs in memory, and numbers out of JSON. */
#ifndef PROP_TESTS_UNIT_TEST_TEE_MEASURE_H
#define PROP_TESTS_UNIT_TEST_TEE_MEASURE_H

#include "support.h"

#include "tee/ovmf.h"
#include "tee/source.h"

/* A file of the fixtures, or of the system. */
UNUSED static struct prop_buf file_bytes(const char *path)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf b = PROP_BUF_INIT(64u << 20);
    OK(prop_file_read(path, &b, &err));
    return b;
}

UNUSED static struct prop_buf measure_bytes(const char *name)
{
    char sub[256], path[512];
    (void)snprintf(sub, sizeof sub, "measure/%s", name);
    return file_bytes(vector_path(sub, path));
}

UNUSED static json_t *measure_json(const char *name)
{
    char sub[256];
    (void)snprintf(sub, sizeof sub, "measure/%s", name);
    return vector_json(sub);
}

/* A number: JSON integer or "0x..." text. */
UNUSED static uint64_t number(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    if (json_is_integer(v))
        return (uint64_t)json_integer_value(v);
    assert_true(json_is_string(v));
    return strtoull(json_string_value(v), NULL, 16);
}

/* Kernel or initrd of a case: null is none, "(empty)" a file of no bytes. */
struct input {
    struct prop_buf bytes;
    struct prop_source source, *given;
};

UNUSED static void open_input(struct input *in, const json_t *o, const char *name)
{
    const char *file = json_string_value(json_object_get(o, name));
    *in = (struct input){ .bytes = PROP_BUF_INIT(64u << 20) };
    if (!file)
        return;
    if (strcmp(file, "(empty)") != 0)
        in->bytes = measure_bytes(file);
    in->source = prop_source_of(in->bytes.len ? (const void *)in->bytes.data : "", in->bytes.len, file);
    in->given = &in->source;
}

UNUSED static void close_input(struct input *in)
{
    prop_buf_release(&in->bytes);
}

/* The input of a "must_refuse" entry, changed as it says. The caller releases it. */
UNUSED static struct prop_buf damaged(const json_t *entry)
{
    struct prop_buf b = measure_bytes(text_of(entry, "firmware"));
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(entry, "patch"), i, p) {
        const char *hex = text_of(p, "hex");
        size_t at = number(p, "offset"), n = strlen(hex) / 2;
        assert_true(at + n <= b.len);
        assert_int_equal(prop_hex_decode(hex, 2 * n, b.data + at, n), 0);
    }
    if (json_object_get(entry, "truncate_front")) {
        size_t n = number(entry, "truncate_front");
        memmove(b.data, b.data + n, b.len - n);
        b.len -= n;
    }
    return b;
}

#endif
