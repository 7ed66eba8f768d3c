/* Values of variables. */
#include "cmd/propcvm/serve_settings.h"

#include "cmd/propcvm/serve_identity.h"

#include <string.h>
#include <strings.h>

#include "util/mem.h"
#include "util/text.h"

int propcvm_number(const char *flag, const char *name, const char *variable, uint64_t min, uint64_t max,
                   uint64_t def, uint64_t *ret, bool *ret_ignored, struct prop_err *err)
{
    const char *text = flag ? flag : variable ? propcvm_env(variable, NULL) : NULL;
    uint64_t n = def;

    if (ret_ignored)
        *ret_ignored = false;
    if (text && (prop_parse_u64(text, name, &n, NULL) || n < min || n > max)) {
        if (flag)
            return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                                   "--%s takes a number from %llu to %llu, not '%s'", name,
                                   (unsigned long long)min, (unsigned long long)max, flag);
        n = def;
        if (ret_ignored)
            *ret_ignored = true;
    }
    *ret = n;
    return 0;
}

bool propcvm_truth(const char *variable, bool def)
{
    static const char *const yes[] = { "1", "true", "yes", "on" };
    const char *v = propcvm_env(variable, NULL);

    if (!v)
        return def;
    for (size_t i = 0; i < PROP_ARRAY_LEN(yes); i++)
        if (strcasecmp(v, yes[i]) == 0)
            return true;
    return false;
}

int propcvm_split(const char *text, char separator, char **ret_copy, const char ***ret, size_t *ret_n,
                  struct prop_err *err)
{
    size_t n = 1, used = 0;

    for (const char *p = text; *p; p++)
        n += *p == separator;
    prop_auto_free char *copy = prop_strdup(text);
    prop_auto_free const char **list = prop_zalloc((n + 1) * sizeof *list);
    if (!copy || !list)
        return prop_err_nomem(err);
    for (char *p = copy; p;) {
        char *end = strchr(p, separator);
        if (end)
            *end = 0;
        if (*p)
            list[used++] = p;
        p = end ? end + 1 : NULL;
    }
    *ret_copy = PROP_TAKE(copy);
    *ret = PROP_TAKE(list);
    *ret_n = used;
    return 0;
}

static const struct {
    const char *variable, *why;
    bool truth; /* worth a word only where it is true */
} ignored[] = {
    { "PROPLET_MQTT_TLS_INSECURE_SKIP_VERIFY", "the broker's certificate is always checked", true },
    { "PROPLET_HTTP_TLS_INSECURE_SKIP_VERIFY", "registries' certificates are always checked", true },
    { "PROPLET_HTTP_ENABLED", "modules are given no network", true },
    { "PROPLET_USB_ENABLED", "modules are given no devices", true },
    { "PROPLET_AA_CONFIG_PATH", "attestation needs no agent", false },
    { "PROPLET_LAYER_STORE_PATH", "layers are kept in memory only", false },
    { "PROPLET_PLUGIN_DIR", "there are no plugins", false },
    { "PROPLET_OTEL_URL", "there is no tracing; /metrics has the figures", false },
};

void propcvm_say_ignored(void (*say)(void *ctx, const char *variable, const char *why), void *ctx)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(ignored); i++)
        if (propcvm_env(ignored[i].variable, NULL) &&
            (!ignored[i].truth || propcvm_truth(ignored[i].variable, false)))
            say(ctx, ignored[i].variable, ignored[i].why);
}
