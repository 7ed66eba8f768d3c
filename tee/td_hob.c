/* Hand-off block, then memory in ascending order, split where the firmware's sections begin and end. */
#include "tee/td_hob.h"

#include "tee/le.h"

#include <string.h>

enum { HANDOFF = 56, RESOURCE = 48, END_BLOCK = 8, ACCEPTED = 0, UNACCEPTED = 7 };

uint64_t prop_q35_low_memory(uint64_t memory)
{
    return memory >= UINT64_C(0xb0000000) ? UINT64_C(0x80000000) : memory;
}

static int resource(struct prop_buf *out, uint32_t type, uint64_t start, uint64_t end,
                    struct prop_err *err)
{
    uint8_t block[RESOURCE] = { 0 };
    if (start == end)
        return 0;
    prop_put_le16(block, 3);
    prop_put_le16(block + 2, RESOURCE);
    prop_put_le32(block + 24, type);
    prop_put_le32(block + 28, 7); /* present, initialised, tested */
    prop_put_le64(block + 32, start);
    prop_put_le64(block + 40, end - start);
    return prop_buf_add(out, block, sizeof block, err);
}

/* The memory section that begins next, at or above `from`; NULL when there is none. */
static const struct prop_tdvf_section *next(const struct prop_tdvf *t, uint64_t from)
{
    const struct prop_tdvf_section *best = NULL;
    for (size_t i = 0; i < t->n; i++) {
        const struct prop_tdvf_section *s = &t->section[i];
        bool memory = s->type == PROP_TDVF_HOB || s->type == PROP_TDVF_TEMP_MEM;
        if (memory && s->gpa >= from && (!best || s->gpa < best->gpa))
            best = s;
    }
    return best;
}

static int low_memory(const struct prop_tdvf *t, uint64_t low, struct prop_buf *out,
                      struct prop_err *err)
{
    const struct prop_tdvf_section *s;
    uint64_t at = 0;
    while ((s = next(t, at))) {
        if (s->gpa + s->mem_size > low)
            return prop_err_set_id(err, PROP_E_USAGE, "bad-memory",
                                   "%llu bytes of memory are too little for the firmware",
                                   (unsigned long long)low);
        int rc = resource(out, UNACCEPTED, at, s->gpa, err);
        if (rc == 0)
            rc = resource(out, ACCEPTED, s->gpa, s->gpa + s->mem_size, err);
        if (rc < 0)
            return rc;
        at = s->gpa + s->mem_size;
    }
    return resource(out, UNACCEPTED, at, low, err);
}

int prop_td_hob(const struct prop_tdvf *t, uint64_t memory, struct prop_buf *out,
                struct prop_err *err)
{
    uint8_t handoff[HANDOFF] = { 0 };
    uint64_t low = prop_q35_low_memory(memory);
    size_t before = out->len;
    const struct prop_tdvf_section *hob = prop_tdvf_find(t, PROP_TDVF_HOB);
    if (memory == 0 || memory % PROP_PAGE != 0 || memory > UINT64_C(1) << 52 || !hob)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-memory",
                               "%llu bytes are no size of a guest's memory",
                               (unsigned long long)memory);
    prop_put_le16(handoff, 1);
    prop_put_le16(handoff + 2, HANDOFF);
    prop_put_le32(handoff + 8, 9);
    int rc = prop_buf_add(out, handoff, sizeof handoff, err);
    if (rc == 0)
        rc = low_memory(t, low, out, err);
    if (rc == 0)
        rc = resource(out, UNACCEPTED, PROP_4GIB, PROP_4GIB + memory - low, err);
    if (rc == 0)
        prop_put_le64(out->data + before + 48, hob->gpa + (out->len - before) + END_BLOCK);
    return rc;
}
