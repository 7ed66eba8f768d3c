/* The table of routes. Built-in names answer for their methods only; with any other method, and
 * for every other name, the plugins are asked. */
#include "kbsd/route.h"

#include "kbsd/admin.h"
#include "kbsd/manage.h"
#include "kbsd/resource.h"
#include "kbsd/session.h"

#include <string.h>

typedef void handler(struct prop_kbsd *, const struct prop_kbsd_request *,
                     struct prop_kbsd_reply *);

static void sample_plugin(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                          struct prop_kbsd_reply *r)
{
    static const char text[] = "sample plugin response";

    (void)k;
    (void)q;
    prop_kbsd_reply_ok(r, "text/xml", text, strlen(text));
}

enum who { ANYONE, ADMIN_ACCESS, ADMIN_PLUGIN };

/* The first row that fits counts; a NULL method fits every method. */
static const struct {
    const char *name, *method;
    enum who who;
    handler *run;
} routes[] = {
    { "auth", "POST", ANYONE, prop_kbsd_auth },
    { "attest", "POST", ANYONE, prop_kbsd_attest },
    { "attestation-policy", "POST", ADMIN_ACCESS, prop_kbsd_set_attestation_policy },
    { "reference-value", "GET", ADMIN_ACCESS, prop_kbsd_get_reference_value },
    { "reference-value", "POST", ADMIN_ACCESS, prop_kbsd_set_reference_values },
    { "resource-policy", "POST", ADMIN_ACCESS, prop_kbsd_set_resource_policy },
    { "resource-policy", "GET", ADMIN_ACCESS, prop_kbsd_list_resource_policies },
    { "resource", "POST", ADMIN_PLUGIN, prop_kbsd_resource_admin },
    { "resource", "DELETE", ADMIN_PLUGIN, prop_kbsd_resource_admin },
    { "resource", NULL, ANYONE, prop_kbsd_resource },
    { "sample", NULL, ADMIN_PLUGIN, sample_plugin },
};

static bool method_in(const char *method, const char *const *list)
{
    while (*list != NULL && strcmp(*list, method) != 0)
        list++;
    return *list != NULL;
}

static bool kbs_method(const char *method)
{
    static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", NULL };

    return method_in(method, methods);
}

bool prop_kbsd_route_takes_body(const struct prop_kbsd_request *q)
{
    return q->area == PROP_KBSD_AREA_KBS && kbs_method(q->method);
}

static bool admitted(struct prop_kbsd *k, const struct prop_kbsd_request *q, enum who who,
                     struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_free char *reason = NULL;

    if (who == ANYONE || prop_kbsd_admin_check(k, q, &reason, &err) == 0)
        return true;
    if (reason == NULL)
        r->drop = true;
    else if (who == ADMIN_ACCESS)
        prop_kbsd_refuse(r, "AdminAuthAccess", &err, "admin access denied for endpoint %s: %s",
                         q->plugin, reason);
    else
        prop_kbsd_refuse(r, "AdminAuthInitialization", &err,
                         "failed to initialize [admin] configuration: %s", reason);
    return false;
}

static void route_kbs(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                      struct prop_kbsd_reply *r)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(routes); i++) {
        if (strcmp(routes[i].name, q->plugin) != 0 ||
            (routes[i].method != NULL && strcmp(routes[i].method, q->method) != 0))
            continue;
        if (admitted(k, q, routes[i].who, r))
            routes[i].run(k, q, r);
        return;
    }
    prop_kbsd_refuse(r, "PluginNotFound", NULL, "Plugin %s not found", q->plugin);
}

static void route_metrics(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                          struct prop_kbsd_reply *r)
{
    struct prop_err err = PROP_ERR_INIT;

    if (strcmp(q->method, "GET") != 0) {
        prop_kbsd_reply_empty(r, 405, strcmp(q->method, "POST") == 0 ? NULL : "GET, POST");
        return;
    }
    prop_kbsd_reply_ok(r, NULL, NULL, 0);
    if (prop_kbsd_metrics_text(&k->metrics, &r->body, &err) != 0)
        prop_kbsd_refuse(r, "PrometheusError", &err, "Prometheus error");
}

void prop_kbsd_route(struct prop_kbsd *k, const struct prop_kbsd_request *q,
                     struct prop_kbsd_reply *r)
{
    switch (q->area) {
    case PROP_KBSD_AREA_KBS:
        if (kbs_method(q->method))
            route_kbs(k, q, r);
        else
            prop_kbsd_reply_empty(r, 405, "GET, POST, PUT, DELETE");
        break;
    case PROP_KBSD_AREA_METRICS:
        route_metrics(k, q, r);
        break;
    case PROP_KBSD_AREA_HEALTHZ:
        prop_kbsd_reply_empty(r, strcmp(q->method, "GET") == 0 ? 200 : 404, NULL);
        break;
    case PROP_KBSD_AREA_NONE:
        prop_kbsd_reply_empty(r, 404, NULL);
        break;
    }
}
