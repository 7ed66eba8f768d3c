/* Members are checked against tables before anything is evaluated: a case with a misspelt member
 * would otherwise pass or fail for another reason than its author thinks. */
#include "policy/cases_file.h"

#include "engine/toml.h"
#include "policy/position.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define CASES_BYTES (16u << 20)
#define CASES_MAX 100000

enum type { TEXT = 1, OBJECT = 2, LIST = 4 };

struct member {
    const char *name;
    unsigned types;
    const char *const *words; /* a text must be one of these; NULL = any */
};

static const char *const decisions[] = { "allow", "deny", NULL };
static const char *const servers[] = { "current", "v0.16", NULL };
static const char *const statuses[] = { "affirming", "warning", "contraindicated", "none", NULL };

static const struct member decision_members[] = {
    { "name", TEXT, NULL },
    { "guest", TEXT, NULL },
    { "token", TEXT | OBJECT, NULL },
    { "evidence", TEXT | OBJECT, NULL },
    { "status", TEXT, statuses },
    { "vector", OBJECT, NULL },
    { "attestation_policy", TEXT, NULL },
    { "reference_values", TEXT | OBJECT, NULL },
    { "resource", TEXT, NULL },
    { "plugin", TEXT, NULL },
    { "query", OBJECT, NULL },
    { "server", TEXT, servers },
    { "expect", TEXT, decisions },
    { NULL, 0, NULL },
};
static const struct member appraisal_members[] = {
    { "name", TEXT, NULL },
    { "guest", TEXT, NULL },
    { "evidence", TEXT | OBJECT, NULL },
    { "reference_values", TEXT | OBJECT, NULL },
    { "expect", OBJECT, NULL },
    { NULL, 0, NULL },
};
static const char *const outcomes[] = { "token", "refused", "crash", NULL };
static const struct member expect_members[] = {
    { "status", TEXT, statuses },
    { "outcome", TEXT, outcomes },
    { "vector", OBJECT, NULL },
    { "extensions", LIST, NULL },
    { NULL, 0, NULL },
};

struct reader {
    const char *file;
    struct prop_buf text;
    bool json;
    enum prop_cases_kind kind;
    const struct member *members;
    struct prop_err *err;
};

static size_t line_of(const struct reader *r, const struct prop_policy_step *steps, size_t n)
{
    struct prop_policy_place place = { 0 };
    prop_policy_find(prop_buf_str(&r->text), r->text.len, r->json, steps, n, &place);
    return place.depth > 0 ? place.line : 0;
}

/* `steps` lead to what is wrong. */
static int bad(const struct reader *r, const struct prop_policy_step *steps, size_t n,
               const char *why)
{
    size_t line = line_of(r, steps, n);
    char where[32] = "";
    if (line > 0)
        (void)snprintf(where, sizeof where, ":%zu", line);
    prop_err_set_id(r->err, PROP_E_INPUT, "bad-cases", "%s%s: %s", r->file, where, why);
    return prop_err_hint(r->err, "docs/policy-cases.schema.json has the form of case files");
}

static bool word_in(const char *const *words, const char *s)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, s) == 0)
            return true;
    return false;
}

static int check_member(const struct reader *r, const struct member *m, const json_t *v,
                        const struct prop_policy_step *steps, size_t n)
{
    char why[512];
    bool fits = (json_is_string(v) && (m->types & TEXT) != 0) ||
                (json_is_object(v) && (m->types & OBJECT) != 0) ||
                (json_is_array(v) && (m->types & LIST) != 0);
    if (!fits) {
        const char *wanted = m->types == TEXT ? "a text"
                             : m->types == OBJECT ? "a table"
                             : m->types == LIST ? "a list" : "a table or the name of a file";
        (void)snprintf(why, sizeof why, "'%s' must be %s", m->name, wanted);
        return bad(r, steps, n, why);
    }
    if (m->words == NULL || word_in(m->words, json_string_value(v)))
        return 0;
    size_t len = (size_t)snprintf(why, sizeof why, "'%s' must be one of", m->name);
    for (size_t i = 0; m->words[i] != NULL && len < sizeof why; i++)
        len += (size_t)snprintf(why + len, sizeof why - len, " %s", m->words[i]);
    return bad(r, steps, n, why);
}

/* Every member of `object` is in the table and of its type. */
static int check_members(const struct reader *r, const struct member *table, const json_t *object,
                         const struct prop_policy_step *steps, size_t n)
{
    const char *name;
    json_t *v;
    struct prop_policy_step here[4];
    if (!json_is_object(object))
        return bad(r, steps, n, "must be a table");
    memcpy(here, steps, n * sizeof *steps);
    json_object_foreach((json_t *)(uintptr_t)object, name, v) {
        const struct member *m = table;
        here[n] = PROP_POLICY_MEMBER(name);
        while (m->name != NULL && strcmp(m->name, name) != 0)
            m++;
        if (m->name == NULL) {
            char shown[128];
            char why[192];
            (void)snprintf(why, sizeof why, "'%s' is no member of a case",
                           prop_printable(name, strlen(name), shown, sizeof shown));
            return bad(r, here, n + 1, why);
        }
        int rc = check_member(r, m, v, here, n + 1);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Three parts, as a key broker takes them; a kbs:/// in front is dropped. */
static int check_resource(const struct reader *r, json_t *one, const struct prop_policy_step *steps)
{
    const char *path = json_string_value(json_object_get(one, "resource"));
    unsigned slashes = 0;
    if (path == NULL)
        return bad(r, steps, 2, "a case needs a resource");
    if (prop_starts_with(path, "kbs:///"))
        path += strlen("kbs:///");
    for (const char *p = path; *p != '\0'; p++)
        slashes += *p == '/';
    bool resource = json_object_get(one, "plugin") == NULL ||
                    strcmp(json_string_value(json_object_get(one, "plugin")), "resource") == 0;
    if (*path == '\0' || (resource && slashes != 2))
        return bad(r, steps, 2, "a resource is repository/type/tag");
    json_t *plain = json_string(path);
    return plain != NULL && json_object_set_new(one, "resource", plain) == 0
               ? 0
               : prop_err_nomem(r->err);
}

static int check_decision(const struct reader *r, json_t *one, const struct prop_policy_step *steps)
{
    bool token = json_object_get(one, "token") != NULL;
    bool evidence = json_object_get(one, "evidence") != NULL;
    bool policy = json_object_get(one, "attestation_policy") != NULL;
    bool said = json_object_get(one, "status") != NULL || json_object_get(one, "vector") != NULL;
    if (json_object_get(one, "expect") == NULL)
        return bad(r, steps, 2, "a case needs expect = \"allow\" or \"deny\"");
    if (token == evidence)
        return bad(r, steps, 2, token ? "token and evidence exclude each other"
                                      : "a case needs a token, or evidence to make one from");
    if (token && (said || policy))
        return bad(r, steps, 2, "status, vector and attestation_policy go with evidence");
    if (policy && said)
        return bad(r, steps, 2, "the attestation policy says the status: name one or the other");
    if (!policy && json_object_get(one, "reference_values") != NULL)
        return bad(r, steps, 2, "reference_values go with an attestation_policy");
    return check_resource(r, one, steps);
}

static int check_vector(const struct reader *r, const json_t *vector,
                        const struct prop_policy_step *steps, size_t n)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)vector, name, v)
        if (!json_is_integer(v))
            return bad(r, steps, n, "a vector has numbers");
    return 0;
}

static int check_appraisal(const struct reader *r, json_t *one,
                           const struct prop_policy_step *steps)
{
    const json_t *expect = json_object_get(one, "expect");
    struct prop_policy_step here[3] = { steps[0], steps[1], PROP_POLICY_MEMBER("expect") };
    if (json_object_get(one, "evidence") == NULL)
        return bad(r, steps, 2, "a case needs evidence");
    if (expect == NULL || json_object_size(expect) == 0)
        return bad(r, steps, 2, "a case needs something to expect: status, vector, outcome");
    int rc = check_members(r, expect_members, expect, here, 3);
    return rc == 0 ? check_vector(r, json_object_get(expect, "vector"), here, 3) : rc;
}

/* A case with what it takes from its guest and the default. */
static int complete(const struct reader *r, const json_t *root, const json_t *mine, size_t i,
                    json_t **ret)
{
    struct prop_policy_step steps[2] = { PROP_POLICY_MEMBER("case"), PROP_POLICY_ELEMENT(i) };
    const char *guest = json_string_value(json_object_get(mine, "guest"));
    const json_t *from = guest != NULL ? json_object_get(json_object_get(root, "guest"), guest)
                                       : NULL;
    prop_auto_json json_t *one = json_object();
    int rc = check_members(r, r->members, mine, steps, 2);

    if (rc != 0)
        return rc;
    if (guest != NULL && from == NULL)
        return bad(r, steps, 2, "the file has no such guest");
    json_t *common = json_object_get(root, "default");
    if (one == NULL || (common != NULL && json_object_update(one, common) != 0) ||
        (from != NULL && json_object_update(one, (json_t *)(uintptr_t)from) != 0) ||
        json_object_update(one, (json_t *)(uintptr_t)mine) != 0)
        return prop_err_nomem(r->err);
    prop_auto_free char *name = prop_asprintf("case %zu", i + 1);
    if (name == NULL || (json_object_get(one, "name") == NULL &&
                         json_object_set_new(one, "name", json_string(name)) != 0))
        return prop_err_nomem(r->err);
    rc = r->kind == PROP_CASES_DECISION ? check_decision(r, one, steps)
                                        : check_appraisal(r, one, steps);
    if (rc == 0)
        rc = check_vector(r, json_object_get(one, "vector"), steps, 2);
    if (rc == 0)
        *ret = PROP_TAKE(one);
    return rc;
}

static int check_root(const struct reader *r, const json_t *root)
{
    static const char *const known[] = { "version", "default", "guest", "case", "comment",
                                         "$schema", NULL };
    const char *name;
    json_t *v;
    struct prop_policy_step steps[2] = { PROP_POLICY_MEMBER("version") };

    if (!json_is_object(root))
        return bad(r, steps, 1, "a case file is a table");
    json_object_foreach((json_t *)(uintptr_t)root, name, v) {
        steps[0] = PROP_POLICY_MEMBER(name);
        if (!word_in(known, name))
            return bad(r, steps, 1, "a case file has version, default, guest and case only");
    }
    if (json_integer_value(json_object_get(root, "version")) != 1)
        return bad(r, steps, 0, "version = 1 is missing, or another version");
    if (!json_is_array(json_object_get(root, "case")) ||
        json_array_size(json_object_get(root, "case")) == 0)
        return bad(r, steps, 0, "there are no cases");
    if (json_array_size(json_object_get(root, "case")) > CASES_MAX)
        return bad(r, steps, 0, "too many cases");
    steps[0] = PROP_POLICY_MEMBER("default");
    v = json_object_get(root, "default");
    int rc = v != NULL ? check_members(r, r->members, v, steps, 1) : 0;
    steps[0] = PROP_POLICY_MEMBER("guest");
    if (rc == 0 && json_object_get(root, "guest") != NULL &&
        !json_is_object(json_object_get(root, "guest")))
        rc = bad(r, steps, 1, "'guest' must be a table of guests");
    json_object_foreach(json_object_get(root, "guest"), name, v) {
        steps[1] = PROP_POLICY_MEMBER(name);
        if (rc == 0)
            rc = check_members(r, r->members, v, steps, 2);
    }
    return rc;
}

static int parse(struct reader *r, json_t **ret)
{
    const char *text = prop_buf_str(&r->text);
    size_t i = strspn(text, " \t\r\n");
    r->json = text[i] == '{' || prop_ends_with(r->file, ".json");
    return r->json ? prop_json_parse(text, r->text.len, r->file, ret, r->err)
                   : prop_toml_parse(text, r->text.len, r->file, ret, r->err);
}

/* "line" for each case that stands under a [[case]] of its own. (Following the text to each would
 * cost its square.) */
static int put_lines(const struct reader *r, json_t *cases)
{
    const char *p = prop_buf_str(&r->text);
    prop_auto_json json_t *lines = json_array();
    size_t i;
    json_t *one;

    for (json_int_t line = 1; lines != NULL; line++) {
        size_t len = strcspn(p, "\n");
        size_t blank = strspn(p, " \t");
        if (strncmp(p + blank, "[[case]]", strlen("[[case]]")) == 0 &&
            json_array_append_new(lines, json_integer(line)) != 0)
            return prop_err_nomem(r->err);
        if (p[len] == '\0')
            break;
        p += len + 1;
    }
    if (r->json || json_array_size(lines) != json_array_size(cases))
        return 0;
    json_array_foreach(cases, i, one)
        if (json_object_set(one, "line", json_array_get(lines, i)) != 0)
            return prop_err_nomem(r->err);
    return 0;
}

static int read_all(struct reader *r, const json_t *root, json_t **ret)
{
    prop_auto_json json_t *out = json_array();
    size_t i;
    json_t *mine;
    int rc = check_root(r, root);

    if (out == NULL)
        return prop_err_nomem(r->err);
    json_array_foreach(json_object_get(root, "case"), i, mine) {
        json_t *one = NULL;
        if (rc == 0)
            rc = complete(r, root, mine, i, &one);
        if (rc != 0)
            return rc;
        if (json_array_append_new(out, one) != 0)
            return prop_err_nomem(r->err);
    }
    if (rc == 0)
        rc = put_lines(r, out);
    if (rc == 0)
        *ret = PROP_TAKE(out);
    return rc;
}

int prop_cases_read(const char *file, enum prop_cases_kind kind, json_t **ret, struct prop_err *err)
{
    struct reader r = {
        .file = file, .text = PROP_BUF_INIT(CASES_BYTES), .kind = kind, .err = err
    };
    json_t *root = NULL;
    r.members = kind == PROP_CASES_DECISION ? decision_members : appraisal_members;
    int rc = prop_file_read(file, &r.text, err);
    if (rc == 0)
        rc = parse(&r, &root);
    if (rc == 0)
        rc = read_all(&r, root, ret);
    json_decref(root);
    prop_buf_release(&r.text);
    return rc;
}

char *prop_cases_path(const char *cases_file, const char *name)
{
    const char *slash = strrchr(cases_file, '/');
    if (*name == '/' || slash == NULL)
        return prop_strdup(name);
    return prop_asprintf("%.*s/%s", (int)(slash - cases_file), cases_file, name);
}
