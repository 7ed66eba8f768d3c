/* A document's file. */
#include "policy/docfile.h"

#include "util/file.h"
#include "util/limits.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void prop_policy_file_release(struct prop_policy_file *f)
{
    prop_free(f->path);
    *f = (struct prop_policy_file)PROP_POLICY_FILE_INIT;
}

static int fresh_file(const char *path, struct prop_policy_file *ret,
                      struct prop_policy_doc **ret_doc, struct prop_err *err)
{
    struct prop_policy_file f = { prop_strdup(path), 0644, true };
    int rc = f.path != NULL ? prop_policy_doc_new(ret_doc, err) : prop_err_nomem(err);
    if (rc == 0)
        *ret = f;
    else
        prop_policy_file_release(&f);
    return rc;
}

int prop_policy_file_read(const char *path, bool may_be_fresh, struct prop_policy_file *ret,
                          struct prop_policy_doc **ret_doc, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_free char *what = prop_asprintf("'%s'", path);
    struct prop_err inner = PROP_ERR_INIT;
    struct stat st;
    char real[PATH_MAX];
    int rc = what != NULL ? prop_file_read(path, &text, &inner) : prop_err_nomem(&inner);
    if (rc == PROP_E_NOTFOUND && may_be_fresh)
        return fresh_file(path, ret, ret_doc, err);
    if (rc != 0) {
        if (err != NULL)
            *err = inner;
        if (rc == PROP_E_NOTFOUND)
            (void)prop_err_hint(err, "begin one with the line 'version = 1' if the KBS has no policy "
                                     "to keep");
        return rc;
    }
    /* The rename at the end must replace the file, not a link to it. */
    if (stat(path, &st) != 0 || realpath(path, real) == NULL)
        return prop_err_sys(err, PROP_E_IO, "policy document '%s'", path);
    struct prop_policy_file f = { prop_strdup(real), st.st_mode & 0777, false };
    rc = f.path != NULL ? prop_policy_doc_parse(prop_buf_str(&text), text.len, what, ret_doc, err)
                        : prop_err_nomem(err);
    if (rc == 0)
        *ret = f;
    else
        prop_policy_file_release(&f);
    return rc;
}

int prop_policy_file_check(const struct prop_policy_file *f, struct prop_err *err)
{
    prop_auto_free char *dir = f->path != NULL ? prop_strdup(f->path) : NULL;
    if (f->path == NULL)
        return 0;
    if (dir == NULL)
        return prop_err_nomem(err);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        slash[slash == dir] = 0;
    if (access(slash != NULL ? dir : ".", W_OK | X_OK) != 0 ||
        (access(f->path, F_OK) == 0 && access(f->path, W_OK) != 0))
        return prop_err_sys(err, PROP_E_IO, "policy document '%s' cannot be written", f->path);
    return 0;
}

int prop_policy_file_write(const struct prop_policy_file *f, const struct prop_buf *text,
                           struct prop_err *err)
{
    if (f->path == NULL)
        return 0;
    int rc = prop_file_write(f->path, text->data, text->len, f->mode, true, err);
    if (rc == 0)
        return 0;
    (void)prop_err_wrap(err, "policy document");
    return prop_err_hint(err, "the KBS has the new policy, but the document is not changed: change it "
                              "by hand before the next upload");
}
