#include "vm/qemu_probe.h"

#include "util/buf.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/child.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MAX (1u << 20)
#define ANSWER_MS 30000
#define PROGRAM "qemu-system-x86_64"

void prop_qemu_release(struct prop_qemu *q)
{
    prop_free(q->program);
    prop_free(q->cpus);
    *q = (struct prop_qemu)PROP_QEMU_INIT;
}

/* ---- reading what it says ------------------------------------------------------------------- */

/* "10.1.2" or "10.1": at the start of `text`. Digits of major and minor, the rest is only kept. */
static bool read_version(const char *text, struct prop_qemu *q)
{
    unsigned major = 0, minor = 0;
    size_t n = strspn(text, "0123456789.");

    if (sscanf(text, "%3u.%3u", &major, &minor) != 2 || minor > 99 || n >= sizeof q->version)
        return false;
    (void)snprintf(q->version, sizeof q->version, "%.*s", (int)n, text);
    q->release = major * 100 + minor;
    return true;
}

/* Is `word` the first word of a line? Help texts are one name per line, some with more behind it. */
static bool lists(const char *help, const char *word)
{
    size_t n = strlen(word);

    for (const char *line = help; line; line = strchr(line, '\n')) {
        line += strspn(line, " \t\r\n");
        if (strncmp(line, word, n) == 0 && (!line[n] || isspace((unsigned char)line[n])))
            return true;
        if (!*line)
            break;
    }
    return false;
}

/* The names of the models: up to QEMU 9 the word after "x86 ", later the first of an indented line.
 * The flags that follow the list do not matter: nobody asks for a model of that name. */
static int read_cpus(const char *help, struct prop_buf *out, struct prop_err *err)
{
    int rc = prop_buf_puts(out, "\n", err);

    for (const char *line = help; rc == 0 && *line;) {
        size_t len = strcspn(line, "\n");
        const char *word = line + strspn(line, " \t");
        if (strncmp(word, "x86 ", 4) == 0)
            word += 4 + strspn(word + 4, " \t");
        size_t n = strcspn(word, " \t\r\n");
        if (n > 0 && word + n <= line + len)
            rc = prop_buf_printf(out, err, "%.*s\n", (int)n, word);
        line += len + (line[len] == '\n');
    }
    return rc;
}

int prop_qemu_read(const char *program, const struct prop_qemu_help *help, struct prop_qemu *ret,
                   struct prop_err *err)
{
    static const char intro[] = "QEMU emulator version ";
    prop_auto_qemu struct prop_qemu q = PROP_QEMU_INIT;
    prop_auto_buf struct prop_buf cpus = PROP_BUF_INIT(ANSWER_MAX);

    if (!prop_starts_with(help->version, intro) ||
        !read_version(help->version + sizeof intro - 1, &q))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "not-qemu",
                               "'%s' does not say that it is a QEMU emulator", program);
    q.sev_guest = lists(help->objects, "sev-guest");
    q.snp_guest = lists(help->objects, "sev-snp-guest");
    q.tdx_guest = lists(help->objects, "tdx-guest");
    q.memfd = lists(help->objects, "memory-backend-memfd");
    q.kvm = lists(help->accels, "kvm");
    q.tcg = lists(help->accels, "tcg");
    q.q35 = lists(help->machines, "q35");
    q.sandbox = lists(help->options, "-sandbox");
    int rc = read_cpus(help->cpus, &cpus, err);
    if (rc)
        return rc;
    q.program = prop_strdup(program);
    q.cpus = prop_strdup(prop_buf_str(&cpus));
    if (!q.program || !q.cpus)
        return prop_err_nomem(err);
    *ret = q;
    q = (struct prop_qemu)PROP_QEMU_INIT;
    return 0;
}

/* ---- asking --------------------------------------------------------------------------------- */

static const char *const questions[][2] = {
    { "--version", NULL },  { "-object", "help" }, { "-accel", "help" },
    { "-machine", "help" }, { "-cpu", "help" },     { "--help", NULL },
};
#define N_QUESTIONS PROP_ARRAY_LEN(questions)

struct asked {
    struct prop_child child[N_QUESTIONS];
    struct prop_buf answer[N_QUESTIONS];
};

static void end_asking(struct asked *a)
{
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        prop_child_kill(&a->child[i]);
        prop_buf_release(&a->answer[i]);
    }
}

static int ask(const char *program, struct asked *a, struct prop_err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < N_QUESTIONS; i++) {
        const char *argv[] = { program, questions[i][0], questions[i][1], NULL };
        rc = prop_child_start(argv, NULL, 0, &a->child[i], err);
    }
    for (size_t i = 0; rc == 0 && i < N_QUESTIONS; i++)
        rc = prop_child_collect(&a->child[i], program, ANSWER_MS, &a->answer[i], err);
    return rc;
}

static int not_there(const char *program, struct prop_err *err)
{
    err->id = "no-qemu";
    (void)prop_err_hint(err, "%s", strcmp(program, PROGRAM) == 0 ?
                                   "install QEMU for x86 (qemu-system-x86), or name it with --qemu" :
                                   "--qemu names QEMU's program for x86");
    return err->code;
}

int prop_qemu_probe(const char *program, struct prop_qemu *ret, struct prop_err *err)
{
    const char *name = program ? program : PROGRAM;
    struct asked a;

    for (size_t i = 0; i < N_QUESTIONS; i++) {
        a.child[i] = (struct prop_child)PROP_CHILD_INIT;
        a.answer[i] = (struct prop_buf)PROP_BUF_INIT(ANSWER_MAX);
    }
    int rc = ask(name, &a, err);
    if (rc == PROP_E_NOTFOUND)
        rc = not_there(name, err);
    if (rc == 0) {
        const struct prop_qemu_help help = {
            prop_buf_str(&a.answer[0]), prop_buf_str(&a.answer[1]), prop_buf_str(&a.answer[2]),
            prop_buf_str(&a.answer[3]), prop_buf_str(&a.answer[4]), prop_buf_str(&a.answer[5])
        };
        rc = prop_qemu_read(name, &help, ret, err);
    } else if (err->id && strcmp(err->id, "program-failed") == 0) {
        rc = err->code = PROP_E_UNSUPPORTED;
        err->id = "not-qemu";
        (void)prop_err_hint(err, "it was asked for --version and what it knows (-object help, ...)");
    }
    end_asking(&a);
    return rc;
}

/* ---- supposing ------------------------------------------------------------------------------ */

int prop_qemu_assume(const char *version, struct prop_qemu *ret, struct prop_err *err)
{
    prop_auto_qemu struct prop_qemu q = PROP_QEMU_INIT;

    if (!read_version(version, &q) || version[strlen(q.version)])
        return prop_err_set_id(err, PROP_E_USAGE, "bad-version",
                               "'%s' is no version of QEMU: two or three numbers, as in 10.1",
                               version);
    q.sev_guest = true;
    q.snp_guest = q.release >= PROP_QEMU_SNP;
    q.tdx_guest = q.release >= PROP_QEMU_TDX;
    q.memfd = q.kvm = q.tcg = q.q35 = q.sandbox = true;
    q.program = prop_strdup(PROGRAM);
    if (!q.program)
        return prop_err_nomem(err);
    *ret = q;
    q = (struct prop_qemu)PROP_QEMU_INIT;
    return 0;
}

bool prop_qemu_has_cpu(const struct prop_qemu *q, const char *model)
{
    char line[80];
    size_t n = strcspn(model, ",");

    if (!q->cpus)
        return true; /* only supposed: nothing was asked */
    if (n == 0 || (size_t)snprintf(line, sizeof line, "\n%.*s\n", (int)n, model) >= sizeof line)
        return false;
    return strstr(q->cpus, line) != NULL;
}
