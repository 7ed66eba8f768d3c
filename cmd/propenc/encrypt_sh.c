/* encrypt.sh's flags, for the pipelines that call it. The key in argv is what that script takes: here
 * alone a secret may stand there, with a warning and two better ways. */
#include "cmd/propenc/encrypt_sh.h"

#include "keys/keyfile.h"
#include "util/encode.h"
#include "util/mem.h"

#include <string.h>

bool propenc_sh_given(const struct propenc_sh_opts *o)
{
    return o->kid || o->src || o->dst;
}

static int check_given(struct prop_cli *cli, const struct propenc_sh_opts *o,
                       const struct prop_strs *keys, struct prop_err *err)
{
    const char *missing = keys->n == 0 ? "-k" : !o->kid ? "-i" : !o->src ? "-s" : !o->dst ? "-d"
                                                                                          : NULL;
    if (missing)
        (void)prop_err_set_id(err, PROP_E_USAGE, "arguments", "%s is missing", missing);
    else if (keys->n > 1 || prop_cli_argc(cli) > 0)
        (void)prop_err_set_id(err, PROP_E_USAGE, "arguments",
                              "with -i, -s and -d there is one -k and nothing else");
    else
        return 0;
    return prop_err_hint(err, "usage: propenc encrypt -k <b64-encoded key> -i <key id> -s <source> "
                              "-d <destination>");
}

static int read_kek(struct prop_cli *cli, const char *text, struct prop_secret **ret,
                    struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    if (text[0] == '@')
        return prop_kek_read(text + 1, ret, err);
    if (strcmp(text, "-") == 0)
        return prop_kek_read("-", ret, err);
    prop_cli_warn(cli, "the key on the command line can be read by everybody on this machine: give "
                       "-k @FILE, or -k - for standard input");
    if (prop_b64_decode_secret(PROP_B64_STD, text, strlen(text), "-k", &kek, NULL) != 0 ||
        prop_secret_len(kek) != 32)
        return prop_err_set_id(err, PROP_E_INPUT, "kek-length",
                               "key should be a b64-encoded 32 byte key");
    *ret = PROP_TAKE(kek);
    return 0;
}

int propenc_sh_recipients(struct prop_cli *cli, const struct propenc_sh_opts *o,
                          const struct prop_strs *keys, struct prop_recipients **ret,
                          struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_recipients struct prop_recipients *to = NULL;
    struct prop_resource_id kid;
    int rc;
    if ((rc = check_given(cli, o, keys, err)) != 0 ||
        (rc = prop_resource_id_parse(o->kid, true, &kid, err)) != 0 ||
        (rc = read_kek(cli, keys->items[0], &kek, err)) != 0 ||
        (rc = prop_recipients_new(&to, err)) != 0 ||
        (rc = prop_recipients_add_kek(to, kek, &kid, err)) != 0)
        return rc;
    *ret = PROP_TAKE(to);
    return 0;
}
