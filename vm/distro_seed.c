#include "vm/distro_seed.h"

#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define SECRET_SUFFIXES { "_API_KEY=", "_CLIENT_KEY=" } /* the proplet's key for the MQTT broker */

/* The program and its libraries stand in a root folder of their own (as in the measured guest), so the
 * distribution needs no package of ours, and its own libraries do not matter. */
static const char unit[] =
    "[Unit]\n"
    "Description=propcvm: run encrypted WebAssembly for a Propeller manager\n"
    "Wants=network-online.target\n"
    "After=network-online.target systemd-modules-load.service\n"
    "\n"
    "[Service]\n"
    "Type=exec\n"
    "RootDirectory=/opt/propcvm\n"
    "MountAPIVFS=yes\n"
    "BindReadOnlyPaths=-/etc/resolv.conf -/etc/hosts\n"
    "BindPaths=-/sys/kernel/config\n"
    "EnvironmentFile=/etc/propcvm/serve.env\n"
    "LoadCredential=proplet_api_key:/etc/propcvm/api_key\n"
    "ExecStart=/usr/bin/propcvm serve%s\n"
    "Restart=on-failure\n"
    "RestartSec=5s\n"
    "NoNewPrivileges=yes\n"
    "LimitCORE=0\n"
    "LimitMEMLOCK=infinity\n"
    "MemorySwapMax=0\n"
    "UMask=0077\n"
    "\n"
    "[Install]\n"
    "WantedBy=multi-user.target\n";

/* ---- SSH key -------------------------------------------------------------------------------- */

static int bad_key(const char *path, const char *why, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_INPUT, "bad-ssh-key", "'%s' %s", path, why);
    return prop_err_hint(err, "it is to be one public key as ssh-keygen writes it: NAME.pub");
}

int prop_seed_ssh_key(const char *path, struct prop_buf *out, struct prop_err *err)
{
    static const char *const kinds[] = { "ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-nistp256 ",
                                         "ecdsa-sha2-nistp384 ", "ecdsa-sha2-nistp521 ",
                                         "sk-ssh-ed25519@openssh.com ",
                                         "sk-ecdsa-sha2-nistp256@openssh.com " };
    prop_auto_buf struct prop_buf in = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    prop_auto_buf struct prop_buf blob = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    int rc = prop_file_read(path, &in, err);
    const char *key = prop_buf_str(&in), *b64 = NULL;

    if (rc)
        return rc;
    size_t len = in.len;
    while (len > 0 && (key[len - 1] == '\n' || key[len - 1] == '\r' || key[len - 1] == ' '))
        len--;
    if (memmem(key, len, "PRIVATE KEY", 11))
        return bad_key(path, "is a private key", err);
    for (size_t i = 0; i < len; i++)
        if (key[i] < ' ' || key[i] > '~')
            return bad_key(path, "is not one line of plain text", err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(kinds) && !b64; i++)
        if (prop_starts_with(key, kinds[i]))
            b64 = key + strlen(kinds[i]);
    if (!b64 || prop_b64_decode(PROP_B64_STD, b64, strcspn(b64, " \r\n"), "key", &blob, NULL) ||
        blob.len < 16)
        return bad_key(path, "holds no public key for SSH", err);
    return prop_buf_add(out, key, len, err);
}

/* ---- settings ------------------------------------------------------------------------------- */

static bool is_secret(const char *setting)
{
    static const char *const suffixes[] = SECRET_SUFFIXES;
    size_t name = strcspn(setting, "=") + 1;

    for (size_t i = 0; i < PROP_ARRAY_LEN(suffixes); i++)
        if (name >= strlen(suffixes[i]) &&
            strncmp(setting + name - strlen(suffixes[i]), suffixes[i], strlen(suffixes[i])) == 0)
            return true;
    return false;
}

/* One line of a systemd environment file; in its double quotes four characters are escaped. */
static int add_setting(const char *name, size_t name_len, const char *value, struct prop_buf *out,
                       struct prop_err *err)
{
    int rc = prop_buf_printf(out, err, "%.*s=\"", (int)name_len, name);

    for (; rc == 0 && *value; value++) {
        if ((unsigned char)*value < ' ')
            return prop_err_set_id(err, PROP_E_USAGE, "bad-setting",
                                   "the value of %.*s has a control character in it", (int)name_len,
                                   name);
        if (strchr("\"\\`$", *value))
            rc = prop_buf_puts(out, "\\", err);
        if (rc == 0)
            rc = prop_buf_add(out, value, 1, err);
    }
    return rc ? rc : prop_buf_puts(out, "\"\n", err);
}

static int check_setting(const char *setting, struct prop_err *err)
{
    size_t n = strspn(setting, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    if (setting[n] != '=' || !prop_starts_with(setting, "PROPLET_"))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-setting",
                               "'%.*s' is not PROPLET_NAME=VALUE", (int)strcspn(setting, "="), setting);
    return 0;
}

static int settings(const struct prop_distro_build *b, struct prop_buf *out, const char **ret_key,
                    struct prop_err *err)
{
    int rc = 0;

    if (b->kbs)
        rc = add_setting("PROPLET_KBS_URI", 15, b->kbs, out, err);
    if (rc == 0)
        rc = add_setting("PROP_TEE", 8, b->tee, out, err);
    for (const char *const *e = b->env; rc == 0 && e && *e; e++) {
        size_t n = strcspn(*e, "=");
        rc = check_setting(*e, err);
        if (rc == 0 && is_secret(*e))
            *ret_key = *e + n + 1;
        else if (rc == 0)
            rc = add_setting(*e, n, *e + n + 1, out, err);
    }
    return rc;
}

/* ---- user-data ------------------------------------------------------------------------------ */

static int add_file(json_t *files, const char *path, const char *mode, const void *data, size_t len,
                    struct prop_err *err)
{
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, data, len);

    if (!b64 || json_array_append_new(files, json_pack("{s:s,s:s,s:s,s:s,s:s}", "path", path, "owner",
                                                       "root:root", "permissions", mode, "encoding",
                                                       "b64", "content", b64)))
        return prop_err_nomem(err);
    return 0;
}

static int write_files(const struct prop_distro_build *b, json_t *files, struct prop_err *err)
{
    static const char modules[] = "tdx_guest\nsev-guest\n";
    prop_auto_buf struct prop_buf env = PROP_BUF_INIT(PROP_SEED_TEXT_MAX);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_SEED_TEXT_MAX);
    const char *key = "";
    int rc = settings(b, &env, &key, err);

    if (rc == 0)
        rc = prop_buf_printf(&text, err, unit, b->ca_cert ? " --ca-cert /etc/propcvm/kbs.pem" : "");
    if (rc == 0)
        rc = add_file(files, "/etc/propcvm/serve.env", "0600", prop_buf_str(&env), env.len, err);
    if (rc == 0)
        rc = add_file(files, "/etc/propcvm/api_key", "0600", key, strlen(key), err);
    if (rc == 0)
        rc = add_file(files, "/etc/systemd/system/propcvm.service", "0644", prop_buf_str(&text),
                      text.len, err);
    if (rc == 0)
        rc = add_file(files, "/etc/modules-load.d/propcvm.conf", "0644", modules, sizeof modules - 1,
                      err);
    return rc;
}

/* What runs at the first boot: constant texts, nothing of the user's in them. */
static json_t *commands(bool ssh)
{
    static const char *const lines[] = {
        "mkdir -p /opt/propcvm /run/propcvm-seed",
        "mount -o ro -L CIDATA /run/propcvm-seed",
        "cd /opt/propcvm && cpio -idmu --quiet < /run/propcvm-seed/propcvm.cpio",
        "umount /run/propcvm-seed",
        "modprobe tdx_guest; modprobe sev-guest; true", /* whichever there is */
        "systemctl daemon-reload && systemctl enable --now propcvm.service",
    };
    json_t *all = json_array();
    int bad = all == NULL;

    for (size_t i = 0; !bad && i < PROP_ARRAY_LEN(lines); i++)
        bad = json_array_append_new(all, json_pack("[s,s,s]", "sh", "-c", lines[i]));
    if (!bad && !ssh)
        bad = json_array_append_new(
            all, json_pack("[s,s,s]", "sh", "-c", "systemctl mask --now ssh.service ssh.socket; true"));
    if (bad)
        json_decref(all);
    return bad ? NULL : all;
}

static json_t *users(const char *ssh_key)
{
    if (!*ssh_key)
        return json_array(); /* not even the distribution's own */
    return json_pack("[{s:s,s:b,s:s,s:s,s:[s]}]", "name", "propeller", "lock_passwd", 1, "shell",
                     "/bin/bash", "sudo", "ALL=(ALL) NOPASSWD:ALL", "ssh_authorized_keys", ssh_key);
}

static int put_json(const char *intro, const json_t *doc, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_free char *text = doc ? prop_json_compact(doc) : NULL;

    return text ? prop_buf_printf(out, err, "%s%s\n", intro, text) : prop_err_nomem(err);
}

int prop_seed_user_data(const struct prop_distro_build *b, const char *ssh_key, struct prop_buf *out,
                        struct prop_err *err)
{
    prop_auto_json json_t *files = json_array();
    int rc = files ? write_files(b, files, err) : prop_err_nomem(err);

    if (rc)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:b,s:b,s:b,s:b,s:o,s:O,s:o}", "package_update", 0, "package_upgrade", 0,
                  "ssh_pwauth", 0, "disable_root", 1, "users", users(ssh_key), "write_files", files,
                  "runcmd", commands(*ssh_key != 0));
    return put_json("#cloud-config\n", doc, out, err); /* JSON is YAML */
}

int prop_seed_meta_data(const char *name, const char *instance, struct prop_buf *out,
                        struct prop_err *err)
{
    prop_auto_json json_t *doc = json_pack("{s:s,s:s}", "instance-id", instance, "local-hostname", name);

    return put_json("", doc, out, err);
}
