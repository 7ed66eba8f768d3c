#include "vm/elf.h"

#include <elf.h>
#include <string.h>

#define NEEDED_MAX 256

struct file {
    const uint8_t *data;
    size_t len;
    const char *what;
    struct prop_err *err;
};

static int bad(const struct file *f, const char *why)
{
    return prop_err_set_id(f->err, PROP_E_INPUT, "bad-elf", "'%s': %s", f->what, why);
}

static bool inside(const struct file *f, uint64_t offset, uint64_t size)
{
    return offset <= f->len && size <= f->len - offset;
}

bool prop_elf_is(const uint8_t *data, size_t len)
{
    return len >= sizeof(Elf64_Ehdr) && memcmp(data, ELFMAG, SELFMAG) == 0 &&
           data[EI_CLASS] == ELFCLASS64 && data[EI_DATA] == ELFDATA2LSB;
}

static int read_header(const struct file *f, Elf64_Ehdr *ret)
{
    if (!prop_elf_is(f->data, f->len))
        return bad(f, "it is no 64-bit ELF file");
    memcpy(ret, f->data, sizeof *ret);
    if (ret->e_machine != EM_X86_64)
        return bad(f, "it is for another processor");
    if (ret->e_phnum && (ret->e_phentsize != sizeof(Elf64_Phdr) ||
                         !inside(f, ret->e_phoff, (uint64_t)ret->e_phnum * sizeof(Elf64_Phdr))))
        return bad(f, "its program headers lead out of the file");
    return 0;
}

static void program_header(const struct file *f, const Elf64_Ehdr *eh, size_t i, Elf64_Phdr *ret)
{
    memcpy(ret, f->data + eh->e_phoff + i * sizeof *ret, sizeof *ret);
}

/* A 0-terminated text at this offset, or NULL. */
static const char *text_at(const struct file *f, uint64_t offset, uint64_t end)
{
    if (end > f->len || offset >= end || memchr(f->data + offset, 0, (size_t)(end - offset)) == NULL)
        return NULL;
    return (const char *)f->data + offset;
}

/* ---- dynamic section ----------------------------------------------------------------------- */

/* File offset of an address, and how much of that segment follows it in the file. */
static bool offset_of(const struct file *f, const Elf64_Ehdr *eh, uint64_t vaddr, uint64_t *ret,
                      uint64_t *ret_end)
{
    for (size_t i = 0; i < eh->e_phnum; i++) {
        Elf64_Phdr ph;
        program_header(f, eh, i, &ph);
        if (ph.p_type == PT_LOAD && vaddr >= ph.p_vaddr && vaddr - ph.p_vaddr < ph.p_filesz &&
            inside(f, ph.p_offset, ph.p_filesz)) {
            *ret = ph.p_offset + (vaddr - ph.p_vaddr);
            *ret_end = ph.p_offset + ph.p_filesz;
            return true;
        }
    }
    return false;
}

struct dynamic {
    uint64_t offset, n; /* of the entries */
    uint64_t strtab, strsize;
    const char *interp;
};

static void dynamic_entry(const struct file *f, const struct dynamic *d, uint64_t i, Elf64_Dyn *ret)
{
    memcpy(ret, f->data + d->offset + i * sizeof *ret, sizeof *ret);
}

static int find_dynamic(const struct file *f, const Elf64_Ehdr *eh, struct dynamic *d)
{
    for (size_t i = 0; i < eh->e_phnum; i++) {
        Elf64_Phdr ph;
        program_header(f, eh, i, &ph);
        if ((ph.p_type == PT_DYNAMIC || ph.p_type == PT_INTERP) &&
            !inside(f, ph.p_offset, ph.p_filesz))
            return bad(f, "a program header leads out of the file");
        if (ph.p_type == PT_DYNAMIC) {
            d->offset = ph.p_offset;
            d->n = ph.p_filesz / sizeof(Elf64_Dyn);
        } else if (ph.p_type == PT_INTERP) {
            d->interp = text_at(f, ph.p_offset, ph.p_offset + ph.p_filesz);
        }
    }
    uint64_t vaddr = 0;
    uint64_t end = 0;
    for (uint64_t i = 0; i < d->n; i++) {
        Elf64_Dyn e;
        dynamic_entry(f, d, i, &e);
        if (e.d_tag == DT_STRTAB)
            vaddr = e.d_un.d_ptr;
        else if (e.d_tag == DT_STRSZ)
            d->strsize = e.d_un.d_val;
    }
    if (d->n && (!offset_of(f, eh, vaddr, &d->strtab, &end) || d->strsize > end - d->strtab))
        return bad(f, "its names lead out of the file");
    return 0;
}

int prop_elf_needed(const uint8_t *data, size_t len, const char *what,
                    int (*each)(void *ctx, const char *soname, struct prop_err *err), void *ctx,
                    const char **ret_interp, const char **ret_rpath, struct prop_err *err)
{
    struct file f = { data, len, what, err };
    struct dynamic d = {.offset = 0};
    const char *runpath = NULL;
    const char *rpath = NULL;
    size_t names = 0;
    Elf64_Ehdr eh;
    int rc = read_header(&f, &eh);

    if (rc == 0)
        rc = find_dynamic(&f, &eh, &d);
    for (uint64_t i = 0; rc == 0 && i < d.n; i++) {
        Elf64_Dyn e;
        dynamic_entry(&f, &d, i, &e);
        if (e.d_tag == DT_NULL)
            break;
        if (e.d_tag != DT_NEEDED && e.d_tag != DT_RUNPATH && e.d_tag != DT_RPATH)
            continue;
        const char *text = e.d_un.d_val < d.strsize
                               ? text_at(&f, d.strtab + e.d_un.d_val, d.strtab + d.strsize) : NULL;
        if (text == NULL || ++names > NEEDED_MAX)
            return bad(&f, "a name in it leads out of the file");
        if (e.d_tag == DT_RUNPATH)
            runpath = text;
        else if (e.d_tag == DT_RPATH)
            rpath = text;
        else if (each)
            rc = each(ctx, text, err);
    }
    if (rc == 0 && ret_interp)
        *ret_interp = d.interp;
    if (rc == 0 && ret_rpath)
        *ret_rpath = runpath ? runpath : rpath;
    return rc;
}

/* ---- what is loaded ------------------------------------------------------------------------ */

int prop_elf_loaded(const uint8_t *data, size_t len, const char *what, size_t *ret,
                    struct prop_err *err)
{
    struct file f = { data, len, what, err };
    uint64_t end = 0;
    Elf64_Ehdr eh;
    int rc = read_header(&f, &eh);

    if (rc)
        return rc;
    end = eh.e_phoff + (uint64_t)eh.e_phnum * sizeof(Elf64_Phdr);
    for (size_t i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;
        program_header(&f, &eh, i, &ph);
        if (!inside(&f, ph.p_offset, ph.p_filesz))
            return bad(&f, "a program header leads out of the file");
        if (ph.p_filesz && ph.p_offset + ph.p_filesz > end)
            end = ph.p_offset + ph.p_filesz;
    }
    if (eh.e_phnum == 0)
        return bad(&f, "it has no program headers");
    *ret = (size_t)end;
    return 0;
}

void prop_elf_forget_sections(uint8_t *data)
{
    Elf64_Ehdr eh;

    memcpy(&eh, data, sizeof eh);
    eh.e_shoff = 0;
    eh.e_shnum = 0;
    eh.e_shstrndx = SHN_UNDEF;
    memcpy(data, &eh, sizeof eh);
}

/* ---- kernel modules ------------------------------------------------------------------------ */

static int section_named(const struct file *f, const Elf64_Ehdr *eh, const char *name,
                         Elf64_Shdr *ret, bool *ret_found)
{
    Elf64_Shdr names;

    *ret_found = false;
    if (eh->e_shentsize != sizeof(Elf64_Shdr) || eh->e_shstrndx >= eh->e_shnum ||
        !inside(f, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(Elf64_Shdr)))
        return bad(f, "its section headers lead out of the file");
    memcpy(&names, f->data + eh->e_shoff + (size_t)eh->e_shstrndx * sizeof names, sizeof names);
    if (!inside(f, names.sh_offset, names.sh_size))
        return bad(f, "its section names lead out of the file");
    for (size_t i = 0; i < eh->e_shnum; i++) {
        Elf64_Shdr s;
        memcpy(&s, f->data + eh->e_shoff + i * sizeof s, sizeof s);
        const char *got = s.sh_name < names.sh_size
                              ? text_at(f, names.sh_offset + s.sh_name,
                                        names.sh_offset + names.sh_size) : NULL;
        if (got == NULL || strcmp(got, name) != 0)
            continue;
        if (!inside(f, s.sh_offset, s.sh_size))
            return bad(f, "a section leads out of the file");
        *ret = s;
        *ret_found = true;
        return 0;
    }
    return 0;
}

int prop_elf_modinfo(const uint8_t *data, size_t len, const char *what, const char *field,
                     const char **ret, struct prop_err *err)
{
    struct file f = { data, len, what, err };
    size_t name_len = strlen(field);
    bool found = false;
    Elf64_Ehdr eh;
    Elf64_Shdr s = {.sh_offset = 0};
    int rc = read_header(&f, &eh);

    if (rc == 0)
        rc = section_named(&f, &eh, ".modinfo", &s, &found);
    if (rc == 0 && !found)
        rc = bad(&f, "it is no kernel module");
    if (rc)
        return rc;
    *ret = NULL;
    for (uint64_t at = s.sh_offset; at < s.sh_offset + s.sh_size;) {
        const char *text = text_at(&f, at, s.sh_offset + s.sh_size);
        if (text == NULL)
            return bad(&f, "its .modinfo does not end");
        if (strncmp(text, field, name_len) == 0 && text[name_len] == '=') {
            *ret = text + name_len + 1;
            return 0;
        }
        at += strlen(text) + 1;
    }
    return 0;
}
