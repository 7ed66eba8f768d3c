/* A component's top-level sections as they go by: those of imports and exports are kept and read when
 * they are whole, everything else is counted off. */
#include "ocicrypt/form_names.h"

#include "util/buf.h"
#include "util/text.h"

#include <stdbool.h>
#include <string.h>

#define SECTION_MAX (1u << 20) /* imports or exports of one section */
#define NAMES_MAX 10000
#define SECTION_IMPORT 10
#define SECTION_EXPORT 11

enum state { AT_PREAMBLE, AT_ID, AT_SIZE, IN_SECTION, BROKEN };

struct prop_wasm_scan {
    enum state state;
    uint8_t preamble[8];
    size_t n_preamble;
    uint8_t id;
    uint64_t left;   /* bytes of the section to come; while AT_SIZE, the number so far */
    unsigned shift;
    struct prop_buf section;
    json_t *imports, *exports;
};

int prop_wasm_scan_new(struct prop_wasm_scan **ret, struct prop_err *err)
{
    struct prop_wasm_scan *s = prop_zalloc(sizeof(*s));
    if (!s)
        return prop_err_nomem(err);
    s->section.max = SECTION_MAX;
    s->imports = json_array();
    s->exports = json_array();
    if (!s->imports || !s->exports) {
        prop_wasm_scan_free(s);
        return prop_err_nomem(err);
    }
    *ret = s;
    return 0;
}

void prop_wasm_scan_free(struct prop_wasm_scan *s)
{
    if (!s)
        return;
    prop_buf_release(&s->section);
    json_decref(s->imports);
    json_decref(s->exports);
    prop_free(s);
}

enum prop_wasm_kind prop_wasm_scan_kind(const struct prop_wasm_scan *s)
{
    static const uint8_t magic[4] = { 0, 'a', 's', 'm' };
    static const uint8_t module[4] = { 1, 0, 0, 0 };
    if (s->n_preamble < sizeof(s->preamble) || memcmp(s->preamble, magic, 4) != 0)
        return PROP_WASM_NONE;
    if (memcmp(s->preamble + 4, module, 4) == 0)
        return PROP_WASM_MODULE;
    /* layer 1 is components; the version before it has been 0x0a to 0x0d */
    return s->preamble[6] == 1 && s->preamble[7] == 0 ? PROP_WASM_COMPONENT : PROP_WASM_NONE;
}

/* --- reading a section that is whole --- */

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static uint8_t byte(struct reader *r)
{
    if (r->at == r->end) {
        r->bad = true;
        return 0;
    }
    return *r->at++;
}

/* Unsigned LEB128 of 32 bits; signed ones are skipped the same way. */
static uint32_t leb(struct reader *r)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t b = byte(r);
        n |= (uint64_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0)
            return (uint32_t)n;
    }
    r->bad = true;
    return 0;
}

/* importname' and exportname': the name is appended. */
static void name(struct reader *r, json_t *names)
{
    uint8_t form = byte(r);
    uint32_t len = leb(r);
    if (form > 1 || r->bad || len > (size_t)(r->end - r->at) ||
        json_array_append_new(names, json_stringn((const char *)r->at, len)) != 0) {
        r->bad = true;
        return;
    }
    r->at += len;
}

static void extern_desc(struct reader *r)
{
    uint8_t sort = byte(r);
    switch (sort) {
    case 0x00: /* core module */
        r->bad = r->bad || byte(r) != 0x11;
        (void)leb(r);
        break;
    case 0x02: /* value: eq of a value, or a type */
        (void)byte(r);
        (void)leb(r);
        break;
    case 0x03: /* type: eq of a type, or a fresh resource */
        if (byte(r) == 0x00)
            (void)leb(r);
        break;
    case 0x01: /* function, component, instance: their type */
    case 0x04:
    case 0x05:
        (void)leb(r);
        break;
    default:
        r->bad = true;
    }
}

static void export_rest(struct reader *r)
{
    uint8_t sort = byte(r);
    if (sort == 0x00) /* a core sort has its own kind */
        (void)byte(r);
    (void)leb(r);
    uint8_t typed = byte(r);
    r->bad = r->bad || sort > 5 || typed > 1;
    if (typed == 1)
        extern_desc(r);
}

static bool read_section(struct prop_wasm_scan *s)
{
    struct reader r = { s->section.data, s->section.data + s->section.len, false };
    json_t *names = s->id == SECTION_IMPORT ? s->imports : s->exports;
    uint32_t n = leb(&r);
    for (uint32_t i = 0; i < n && !r.bad; i++) {
        name(&r, names);
        if (s->id == SECTION_IMPORT)
            extern_desc(&r);
        else
            export_rest(&r);
        r.bad = r.bad || json_array_size(names) > NAMES_MAX;
    }
    return !r.bad && r.at == r.end;
}

/* --- bytes going by --- */

static bool kept(const struct prop_wasm_scan *s)
{
    return s->id == SECTION_IMPORT || s->id == SECTION_EXPORT;
}

static void section_ends(struct prop_wasm_scan *s)
{
    s->state = !kept(s) || read_section(s) ? AT_ID : BROKEN;
}

static void size_byte(struct prop_wasm_scan *s, uint8_t b)
{
    s->left |= (uint64_t)(b & 0x7f) << s->shift;
    s->shift += 7;
    if (b & 0x80) {
        if (s->shift >= 35)
            s->state = BROKEN;
        return;
    }
    prop_buf_clear(&s->section);
    s->state = kept(s) && s->left > SECTION_MAX ? BROKEN : IN_SECTION;
    if (s->state == IN_SECTION && s->left == 0)
        section_ends(s);
}

static void preamble_byte(struct prop_wasm_scan *s, uint8_t b)
{
    s->preamble[s->n_preamble++] = b;
    if (s->n_preamble == sizeof(s->preamble))
        s->state = prop_wasm_scan_kind(s) == PROP_WASM_COMPONENT ? AT_ID : BROKEN;
}

static int section_bytes(struct prop_wasm_scan *s, const uint8_t *data, size_t len,
                         size_t *ret_taken, struct prop_err *err)
{
    size_t n = len < s->left ? len : (size_t)s->left;
    int rc = kept(s) ? prop_buf_add(&s->section, data, n, err) : 0;
    s->left -= n;
    *ret_taken = n;
    if (rc == 0 && s->left == 0)
        section_ends(s);
    return rc;
}

int prop_wasm_scan_update(struct prop_wasm_scan *s, const void *data, size_t len,
                          struct prop_err *err)
{
    const uint8_t *p = data;
    int rc = 0;
    for (size_t i = 0, n = 1; i < len && rc == 0 && s->state != BROKEN; i += n) {
        n = 1;
        switch (s->state) {
        case AT_PREAMBLE:
            preamble_byte(s, p[i]);
            break;
        case AT_ID:
            s->id = p[i];
            s->left = 0;
            s->shift = 0;
            s->state = AT_SIZE;
            break;
        case AT_SIZE:
            size_byte(s, p[i]);
            break;
        case IN_SECTION:
            rc = section_bytes(s, p + i, len - i, &n, err);
            break;
        case BROKEN:
            break;
        }
    }
    return rc;
}

int prop_wasm_scan_names(const struct prop_wasm_scan *s, json_t **ret_imports,
                         json_t **ret_exports, struct prop_err *err)
{
    if (prop_wasm_scan_kind(s) != PROP_WASM_COMPONENT || s->state != AT_ID)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-component",
                               "the component's imports and exports cannot be read");
    *ret_imports = json_incref(s->imports);
    *ret_exports = json_incref(s->exports);
    return 0;
}
