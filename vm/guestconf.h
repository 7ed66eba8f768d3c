/* The guest's configuration, in two documents.
 *
 * image.json stands in the initramfs, so it is measured: what this image is.
 *     {"version":1,"tee":"auto","init_data":"<sha384 hex>"|null,"console_result":false,
 *      "secrets_from_host":[],"modules":[{"file":"lib/modules/x.ko","must":true}]}
 *
 * The init-data document (attestation.md 7.1) says what this guest is for. The launch binds its hash,
 * and a key broker's policy can pin it. With "init_data" above it is part of the image (the usual
 * case): the host cannot choose another one. Null ("open"): one image serves several configurations,
 * and the policy has to pin the init-data.
 *     version = "0.1.0", algorithm = "sha384", and in [data]:
 *     aa.toml, cdh.toml    the key broker's address and certificate, as CoCo's agents read them
 *     propcvm.json         {"version":1,"name":..,"kbs":{"url":..,"cert":PEM|null},
 *                           "argv":["run","docker://...","--invoke","add","--","10","20"],
 *                           "env":{"PROPLET_TENANT_ID":..},"secrets":{"api-key":"kbs:///r/t/n"},
 *                           "network":{"mode":"dhcp"}|{"mode":"static","address":"10.0.2.15/24",
 *                                                      "gateway":"10.0.2.2","dns":["10.0.2.3"]}}
 *     task.json            the task file of `run task.json` */
#ifndef PROP_VM_GUESTCONF_H
#define PROP_VM_GUESTCONF_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Where things stand in the guest. */
#define PROP_GUEST_ETC "etc/propcvm"
#define PROP_GUEST_IMAGE_JSON PROP_GUEST_ETC "/image.json"
#define PROP_GUEST_INITDATA PROP_GUEST_ETC "/initdata.toml"
#define PROP_GUEST_FILES PROP_GUEST_ETC "/files" /* --file NAME=PATH: PROP_GUEST_FILES/NAME */
#define PROP_GUEST_RUN "/run/propcvm"
#define PROP_GUEST_KBS_CERT PROP_GUEST_RUN "/kbs.pem"
#define PROP_GUEST_TASK PROP_GUEST_RUN "/task.json"

/* The names [data] uses here. */
#define PROP_INITDATA_PROPCVM "propcvm.json"
#define PROP_INITDATA_TASK "task.json"

/* image.json; texts are borrowed from json. */
struct prop_guest_image {
    json_t *json; /* owned */
    const char *tee, *init_data; /* init_data NULL: open */
    bool console_result;
    json_t *secrets_from_host, *modules; /* arrays */
};
int prop_guest_image_parse(const char *text, size_t len, struct prop_guest_image *ret,
                           struct prop_err *err);
void prop_guest_image_release(struct prop_guest_image *i);

/* What the guest is for; texts are borrowed from json. */
struct prop_guest_conf {
    json_t *json; /* owned */
    const char *name;
    const char *kbs_url, *kbs_cert; /* NULL = none */
    const char *task;               /* text of task.json or NULL */
    json_t *argv, *env, *secrets;   /* env and secrets may be NULL */
    bool net_static;
    const char *address, *gateway;  /* static only; gateway NULL = none */
    json_t *dns;                    /* array of addresses, or NULL */
};
#define PROP_GUEST_CONF_INIT { .json = NULL }
/* From the [data] table of an init-data document, as JSON (borrowed).
 * Fails: PROP_E_INPUT (id "bad-configuration"); PROP_E_UNSUPPORTED another version. */
int prop_guest_conf_read(const json_t *data, struct prop_guest_conf *ret, struct prop_err *err);
void prop_guest_conf_release(struct prop_guest_conf *c);
#define prop_auto_guest_conf __attribute__((cleanup(prop_guest_conf_release)))

/* Write the init-data document. `conf` is propcvm.json (borrowed), `task` the text of task.json or
 * NULL. One configuration gives one text. Fails: PROP_E_LIMIT over PROP_INITDATA_MAX. */
int prop_guest_conf_document(const json_t *conf, const char *task, struct prop_buf *out,
                             struct prop_err *err);

/* May a guest be started with these arguments of propcvm? "run" or "serve" first, and no option that
 * init sets itself or that would name a file of the host. Fails: PROP_E_USAGE (id "guest-command"). */
int prop_guest_argv_check(const char *const *argv, size_t n, struct prop_err *err);
/* A key broker's URL that a guest can reach: PROP_E_USAGE (id "kbs-loopback") for loopback. */
int prop_guest_kbs_check(const char *url, struct prop_err *err);
/* A variable for the guest: PROPLET_..., and none that is a secret (id "guest-secret"). `text` "K=V". */
int prop_guest_env_check(const char *text, struct prop_err *err);
/* A secret's name: "api-key", the only one there is a use for. PROP_E_USAGE (id "guest-secret"). */
int prop_guest_secret_check(const char *name, struct prop_err *err);

#endif
