/* A pattern with a star is a prefix P and a suffix S: a word meets it when it begins with P, ends
 * with S and is long enough for both. So, for words that fit `part`:
 *
 * - Long words: where a word leaves the tree of the others' prefixes decides which prefixes it has,
 *   and leaving early avoids most; likewise from behind. A node of that tree that goes on with every
 *   character there is cannot be left, so all its children are looked at.
 * - Short words matter in two cases only: the word ends at such a full node before the tree forces a
 *   choice, or it is too short for a pattern whose prefix and suffix it has (they overlap in it, so
 *   pattern and length give the word).
 *
 * Patterns without a star are single words, and longer words avoid them.
 */
#include "policy/witness.h"

#include "util/mem.h"

#include <string.h>

enum { word_max = 1100, nodes_max = 4096 };

struct search {
    const struct prop_policy_part *part;
    const struct prop_policy_part *const *others;
    size_t n;
    bool back;                         /* the tree of suffixes, read from behind */
    struct prop_policy_words *ends;    /* where long words leave the tree, with the way there */
    struct prop_policy_words *shorts;  /* full nodes on the way */
    struct prop_err *err;
};

void prop_policy_words_release(struct prop_policy_words *w)
{
    for (size_t i = 0; i < w->n; i++)
        prop_free(w->words[i]);
    prop_free(w->words);
    *w = (struct prop_policy_words){ NULL, 0, 0 };
}

static int put_word(struct prop_policy_words *w, const char *s, size_t len, struct prop_err *err)
{
    if (w->n >= nodes_max)
        return prop_err_set_id(err, PROP_E_LIMIT, "policy-too-large-to-compare",
                               "the patterns of the policies are too many to compare");
    if (w->n == w->cap) {
        size_t cap = w->cap == 0 ? 8 : 2 * w->cap;
        char **more = prop_realloc_array(w->words, cap, sizeof *more);
        if (more == NULL)
            return prop_err_nomem(err);
        w->words = more;
        w->cap = cap;
    }
    w->words[w->n] = prop_strndup(s, len);
    return w->words[w->n] != NULL ? (w->n++, 0) : prop_err_nomem(err);
}

static bool word_ok(const char *s, size_t len)
{
    return len > 0 && s[0] != '.' && strspn(s, prop_policy_part_chars) >= len;
}

/* Character number i of a prefix, or of a suffix from behind. */
static char at(const struct search *f, const struct prop_policy_part *p, size_t i)
{
    return f->back ? p->after[p->n_after - 1 - i] : p->before[i];
}

static size_t length(const struct search *f, const struct prop_policy_part *p)
{
    return f->back ? p->n_after : p->n_before;
}

/* Mark the characters that some other's prefix goes on with after these. */
static void children(const struct search *f, const char *way, size_t len, bool taken[256])
{
    memset(taken, 0, 256 * sizeof taken[0]);
    for (size_t k = 0; k < f->n; k++) {
        const struct prop_policy_part *p = f->others[k];
        size_t i = 0;
        if (!p->star || length(f, p) <= len)
            continue;
        while (i < len && at(f, p, i) == way[i])
            i++;
        if (i == len)
            taken[(unsigned char)at(f, p, len)] = true;
    }
}

/* A character that leaves the tree here; 0 when there is none. */
static char way_out(const struct search *f, size_t len, const bool taken[256])
{
    static const char order[] = "xabcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    for (const char *c = order; *c != 0; c++)
        if (!taken[(unsigned char)*c] && !(*c == '.' && len == 0 && !f->back))
            return *c;
    return 0;
}

static void reverse(char *s, size_t len)
{
    for (size_t i = 0; i < len / 2; i++) {
        char c = s[i];
        s[i] = s[len - 1 - i];
        s[len - 1 - i] = c;
    }
}

static int put_way(const struct search *f, struct prop_policy_words *w, char *way, size_t len)
{
    if (f->back)
        reverse(way, len);
    int rc = put_word(w, way, len, f->err);
    if (f->back)
        reverse(way, len);
    return rc;
}

/* Every way out of the tree below what `part` begins (or ends) with. */
static int leave(const struct search *f)
{
    prop_auto_free char *way = prop_alloc(word_max);
    struct prop_policy_words todo = { NULL, 0, 0 };
    if (way == NULL)
        return prop_err_nomem(f->err);
    size_t len = length(f, f->part);
    for (size_t i = 0; i < len; i++)
        way[i] = at(f, f->part, i);
    int rc = put_word(&todo, way, len, f->err);
    /* `todo` grows while it is worked off: a node without a way out puts its children behind. */
    for (size_t next = 0; rc == 0 && next < todo.n; next++) {
        bool taken[256];
        len = strlen(todo.words[next]);
        memcpy(way, todo.words[next], len + 1);
        children(f, way, len, taken);
        way[len] = way_out(f, len, taken);
        way[len + 1] = 0;
        if (way[len] != 0) {
            rc = put_way(f, f->ends, way, len + 1);
            continue;
        }
        if (len > 0)
            rc = put_way(f, f->shorts, way, len);
        for (const char *c = prop_policy_part_chars; rc == 0 && *c != 0 && len + 2 < word_max; c++) {
            way[len] = *c;
            if (!(*c == '.' && len == 0 && !f->back))
                rc = put_word(&todo, way, len + 1, f->err);
        }
    }
    prop_policy_words_release(&todo);
    return rc;
}

/* Words in which a pattern's prefix and suffix overlap. */
static int overlaps(const struct search *f)
{
    for (size_t k = 0; k < f->n; k++) {
        const struct prop_policy_part *p = f->others[k];
        size_t least = p->n_before > p->n_after ? p->n_before : p->n_after;
        if (!p->star)
            continue;
        for (size_t len = least; len < p->n_before + p->n_after; len++) {
            char word[word_max];
            size_t shared = p->n_before + p->n_after - len;
            if (memcmp(p->before + p->n_before - shared, p->after, shared) != 0)
                continue;
            memcpy(word, p->before, p->n_before);
            memcpy(word + p->n_before, p->after + shared, p->n_after - shared);
            word[len] = 0;
            int rc = put_word(f->shorts, word, len, f->err);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

/* Is the word one of the others that have no star? */
static bool is_single(const struct search *f, const char *word, size_t len)
{
    for (size_t k = 0; k < f->n; k++)
        if (!f->others[k]->star && prop_policy_part_fits(f->others[k], word, len))
            return true;
    return false;
}

/* A long word: the way out in front, the way out from behind. */
static int join(const struct search *f, const char *begin, const char *end,
                struct prop_policy_words *ret)
{
    char word[3 * word_max];
    size_t n_begin = strlen(begin), n_end = strlen(end);
    memcpy(word, begin, n_begin);
    memcpy(word + n_begin, end, n_end + 1);
    size_t len = n_begin + n_end;
    /* A middle keeps it from being one of the single words. */
    while (is_single(f, word, len) && len + 1 < sizeof word) {
        memmove(word + n_begin + 1, word + n_begin, len - n_begin + 1);
        word[n_begin] = 'x';
        len++;
    }
    return word_ok(word, len) ? put_word(ret, word, len, f->err) : 0;
}

static int wild(const struct search *f, const struct prop_policy_words *begins,
                const struct prop_policy_words *ends, struct prop_policy_words *ret)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < begins->n; i++)
        for (size_t k = 0; rc == 0 && k < ends->n; k++)
            rc = join(f, begins->words[i], ends->words[k], ret);
    for (size_t i = 0; rc == 0 && i < f->shorts->n; i++) {
        const char *s = f->shorts->words[i];
        if (word_ok(s, strlen(s)) && prop_policy_part_fits(f->part, s, strlen(s)))
            rc = put_word(ret, s, strlen(s), f->err);
    }
    return rc;
}

int prop_policy_witness(const struct prop_policy_part *part, const struct prop_policy_part *const *others,
                        size_t n, struct prop_policy_words *ret, struct prop_err *err)
{
    struct prop_policy_words begins = { NULL, 0, 0 }, ends = { NULL, 0, 0 }, shorts = { NULL, 0, 0 };
    struct prop_policy_words words = { NULL, 0, 0 };
    struct search f = { part, others, n, false, &begins, &shorts, err };
    int rc;
    if (!part->star) {
        rc = put_word(&words, part->before, part->n_before, err);
    } else {
        rc = leave(&f);
        f.back = true;
        f.ends = &ends;
        if (rc == 0)
            rc = leave(&f);
        if (rc == 0)
            rc = overlaps(&f);
        if (rc == 0)
            rc = wild(&f, &begins, &ends, &words);
    }
    prop_policy_words_release(&begins);
    prop_policy_words_release(&ends);
    prop_policy_words_release(&shorts);
    if (rc != 0) {
        prop_policy_words_release(&words);
        return rc;
    }
    *ret = words;
    return 0;
}
