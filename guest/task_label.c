/* The id of a message that may not be one: who sent it waits for an answer under that id, so it is
 * looked for even where the JSON around it is damaged. */
#include "guest/task.h"

#include <ctype.h>
#include <string.h>

static bool is_label(const char *text, size_t len)
{
    if (len == 0 || len > PROP_TASK_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isprint((unsigned char)text[i]) || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}

static void keep(char out[PROP_TASK_ID_MAX + 1], const char *text, size_t len)
{
    if (!is_label(text, len))
        return;
    memcpy(out, text, len);
    out[len] = 0;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && isspace((unsigned char)*p))
        p++;
    return p;
}

/* The first `"name" : "value"` there is. */
static void scan(const char *text, size_t len, const char *quoted, char out[PROP_TASK_ID_MAX + 1])
{
    const char *end = text + len;
    const char *p = memmem(text, len, quoted, strlen(quoted));

    if (!p)
        return;
    p = skip_space(p + strlen(quoted), end);
    if (p == end || *p != ':')
        return;
    p = skip_space(p + 1, end);
    if (p == end || *p != '"')
        return;
    p++;
    const char *close = memchr(p, '"', (size_t)(end - p));
    if (close)
        keep(out, p, (size_t)(close - p));
}

static void from_json(const json_t *doc, const char *name, char out[PROP_TASK_ID_MAX + 1])
{
    const json_t *v = json_object_get(doc, name);

    if (json_is_string(v))
        keep(out, json_string_value(v), json_string_length(v));
}

void prop_task_label(const char *text, size_t len, struct prop_task_label *ret)
{
    prop_auto_json json_t *doc = NULL;

    ret->id[0] = ret->proplet_id[0] = 0;
    if (prop_json_parse(text, len, "message", &doc, NULL) == 0) {
        from_json(doc, "id", ret->id);
        from_json(doc, "proplet_id", ret->proplet_id);
        return;
    }
    scan(text, len, "\"id\"", ret->id);
    scan(text, len, "\"proplet_id\"", ret->proplet_id);
}
