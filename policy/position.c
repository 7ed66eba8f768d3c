/* A walk over text that is known to be well-formed. It keeps the path of where it is, and compares
 * that with the steps asked for; names with escapes in them are not found, which costs only the
 * exactness of a line number. */
#include "policy/position.h"

#include <string.h>

enum { steps_max = 96, frames_max = 160 };

struct walk {
    const char *text;
    size_t len, i;
    bool json;
    struct prop_policy_step path[steps_max];
    size_t depth;
    const struct prop_policy_step *steps;
    size_t n_steps;
    size_t at; /* where the deepest step found begins */
    struct prop_policy_place *ret;
};

static bool starts(const struct walk *w, const char *s)
{
    size_t n = strlen(s);
    return w->len - w->i >= n && memcmp(w->text + w->i, s, n) == 0;
}

static bool same_step(const struct prop_policy_step *a, const struct prop_policy_step *b)
{
    if (a->name == NULL || b->name == NULL)
        return a->name == b->name && a->index == b->index;
    return a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

/* Steps of the target that the first `depth` ones of the path are; all or nothing. */
static bool on_the_way(const struct walk *w, size_t depth)
{
    if (depth == 0 || depth > w->n_steps || depth > steps_max)
        return false;
    for (size_t i = 0; i < depth; i++)
        if (!same_step(&w->path[i], &w->steps[i]))
            return false;
    return true;
}

/* The path names what begins at `at`. A dotted name passes several steps at once. */
static void seen(struct walk *w, size_t at)
{
    for (size_t d = w->ret->depth + 1; d <= w->depth; d++) {
        if (!on_the_way(w, d))
            return;
        w->ret->depth = d;
        w->at = at;
    }
}

static void push(struct walk *w, const char *name, size_t len, size_t index)
{
    if (w->depth < steps_max)
        w->path[w->depth] = (struct prop_policy_step){ name, len, index };
    w->depth++;
}

static void skip_line(struct walk *w)
{
    while (w->i < w->len && w->text[w->i] != '\n')
        w->i++;
}

/* Blanks; with `lines` also line ends, commas and comments. */
static void skip_space(struct walk *w, bool lines)
{
    while (w->i < w->len) {
        char c = w->text[w->i];
        if (c == ' ' || c == '\t' || c == '\r' || (lines && (c == '\n' || c == ',')))
            w->i++;
        else if (lines && !w->json && c == '#')
            skip_line(w);
        else
            return;
    }
}

/* A text in quotes; gives what is between them. */
static struct prop_policy_step skip_string(struct walk *w)
{
    char quote = w->text[w->i];
    bool raw = quote == '\'';
    char three[4] = { quote, quote, quote, 0 };
    bool many = !w->json && starts(w, three);
    w->i += many ? 3 : 1;
    size_t begin = w->i;
    while (w->i < w->len && !(many ? starts(w, three) : w->text[w->i] == quote))
        w->i += !raw && w->text[w->i] == '\\' ? 2 : 1;
    if (w->i > w->len)
        w->i = w->len;
    struct prop_policy_step name = { w->text + begin, w->i - begin, 0 };
    w->i += many ? 3 : 1;
    while (many && w->i < w->len && w->text[w->i] == quote)
        w->i++; /* up to two quotes stand before the three that end it */
    if (w->i > w->len)
        w->i = w->len;
    return name;
}

static void skip_scalar(struct walk *w)
{
    if (w->text[w->i] == '"' || (!w->json && w->text[w->i] == '\'')) {
        (void)skip_string(w);
        return;
    }
    while (w->i < w->len && strchr(",]}\n#", w->text[w->i]) == NULL)
        w->i++;
}

/* name, or name.name: each is pushed. */
static void take_key(struct walk *w)
{
    for (;;) {
        skip_space(w, false);
        if (w->i < w->len && (w->text[w->i] == '"' || w->text[w->i] == '\'')) {
            struct prop_policy_step s = skip_string(w);
            push(w, s.name, s.len, 0);
        } else {
            size_t begin = w->i;
            while (w->i < w->len && strchr(" \t.=]:,\r\n}", w->text[w->i]) == NULL)
                w->i++;
            push(w, w->text + begin, w->i - begin, 0);
        }
        skip_space(w, false);
        if (w->json || w->i >= w->len || w->text[w->i] != '.')
            return;
        w->i++;
    }
}

struct frame {
    bool list;
    size_t depth; /* of the path that names it */
    size_t next;  /* index of the next element */
    size_t begin;
};

/* A table or list that is the target has ended. */
static void ended(struct walk *w, const struct frame *f)
{
    if (f->depth != w->n_steps || !on_the_way(w, f->depth))
        return;
    w->ret->whole = true;
    w->ret->begin = f->begin;
    w->ret->end = w->i;
}

/* Go to the next value inside the innermost table or list; close those that have none. False when
 * all are closed. */
static bool next_inside(struct walk *w, struct frame *frames, size_t *n)
{
    while (*n > 0 && w->i < w->len) {
        struct frame *f = &frames[*n - 1];
        skip_space(w, true);
        w->depth = f->depth;
        if (w->i < w->len && (w->text[w->i] == ']' || w->text[w->i] == '}')) {
            w->i++;
            (*n)--;
            ended(w, f);
            continue;
        }
        size_t at = w->i;
        if (f->list) {
            push(w, NULL, 0, f->next++);
        } else {
            take_key(w);
            w->i += w->i < w->len; /* "=" or ":" */
            skip_space(w, true);
        }
        seen(w, at);
        return w->i < w->len;
    }
    return false;
}

/* The value that begins here, with all that is in it. */
static void walk_value(struct walk *w)
{
    struct frame frames[frames_max];
    size_t n = 0, depth = w->depth;
    do {
        char c = w->text[w->i];
        if ((c == '[' || c == '{') && n == frames_max) {
            w->i = w->len;
        } else if (c == '[' || c == '{') {
            frames[n++] = (struct frame){ c == '[', w->depth, 0, w->i };
            w->i++;
        } else {
            skip_scalar(w);
        }
    } while (next_inside(w, frames, &n));
    w->depth = depth;
}

/* --- TOML's lines ------------------------------------------------------------------------------ */

struct tables {
    size_t rules;  /* [[rule]] headers so far */
    size_t depth;  /* of the path that the current header names */
};

static void take_header(struct walk *w, struct tables *t)
{
    size_t begin = w->i;
    bool list = starts(w, "[[");
    w->i += list ? 2 : 1;
    w->depth = 0;
    take_key(w);
    /* Looking for an element of "rule": [[rule]] begins the next one, [rule.x] belongs to the last. */
    if (w->n_steps > 1 && w->steps[1].name == NULL && same_step(&w->path[0], &w->steps[0])) {
        t->rules += list && w->depth == 1;
        if (t->rules > 0 && w->depth < steps_max) {
            memmove(w->path + 2, w->path + 1, (w->depth - 1) * sizeof w->path[0]);
            w->path[1] = (struct prop_policy_step){ NULL, 0, t->rules - 1 };
            w->depth++;
        }
    }
    t->depth = w->depth;
    seen(w, begin);
    skip_line(w);
    if (w->n_steps == 2 && w->depth == 2 && on_the_way(w, 2)) {
        w->ret->whole = true;
        w->ret->header = true;
        w->ret->begin = begin;
    }
    if (w->ret->header && w->depth >= 2 && on_the_way(w, 2))
        w->ret->end = w->i;
}

static void walk_toml(struct walk *w)
{
    struct tables t = { 0, 0 };
    while (w->i < w->len) {
        skip_space(w, true);
        if (w->i >= w->len)
            return;
        if (w->text[w->i] == '[') {
            take_header(w, &t);
            continue;
        }
        size_t at = w->i;
        w->depth = t.depth;
        take_key(w);
        seen(w, at);
        w->i += w->i < w->len;
        skip_space(w, false);
        if (w->i < w->len)
            walk_value(w);
        skip_line(w);
        if (w->ret->header && t.depth >= 2 && on_the_way(w, 2))
            w->ret->end = w->i;
    }
}

void prop_policy_find(const char *text, size_t len, bool json, const struct prop_policy_step *steps,
                      size_t n_steps, struct prop_policy_place *ret)
{
    struct walk w = { .text = text, .len = len, .json = json, .steps = steps, .n_steps = n_steps };
    w.ret = ret;
    memset(ret, 0, sizeof *ret);
    if (json) {
        skip_space(&w, true);
        if (w.i < w.len)
            walk_value(&w);
    } else {
        walk_toml(&w);
    }
    ret->line = 1;
    for (size_t i = 0; i < w.at && i < len; i++)
        ret->line += text[i] == '\n';
}
