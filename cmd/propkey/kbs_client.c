/* kbs-client's commands as a table, and its main. */
#include "cmd/propkey/kbs_client.h"

#include "cmd/cli/cli.h"
#include "crypto/random.h"
#include "http/http.h"
#include "util/mem.h"
#include "util/text.h"

#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct propkey_kbs_client, member)

static const struct propkey_kc_option root_options[] = {
    { "url", "URL", "where the KBS is [default: http://127.0.0.1:8080]", AT(url), false, false, 0 },
    { "cert-file", "CERT_FILE", "PEM file with the root certificates to trust", AT(cert_file),
      false, false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option config_options[] = {
    { "admin-token-file", "ADMIN_TOKEN_FILE",
      "a ready admin token; without it kbs/config/docker-compose/admin-token here, then "
      "~/.trustee/admin-token, then none is sent",
      AT(admin_token_file), false, false, 1 },
    { "auth-private-key", "AUTH_PRIVATE_KEY",
      "Ed25519 private key (PEM) to sign a token with, as up to v0.20", AT(auth_private_key), false,
      true, 1 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option set_resource_options[] = {
    { "path", "PATH", "its name: repository/type/tag", AT(path), true, false, 0 },
    { "resource-file", "RESOURCE_FILE", "what to upload", AT(resource_file), true, false, 0 },
    { "show-secret", NULL, "print what was uploaded, in base64", AT(show_secret), false, true, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option delete_resource_options[] = {
    { "path", "PATH", "its name: repository/type/tag", AT(path), true, false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option policy_options[] = {
    { "policy-file", "POLICY_FILE", "a Rego file", AT(policy_file), false, false, 1 },
    { "allow-all", NULL, "everybody who attests may have every resource", AT(allow_all), false,
      false, 1 },
    { "deny-all", NULL, "nobody may have any", AT(deny_all), false, false, 1 },
    { "affirming", NULL, "only guests whose token is affirming", AT(affirming), false, false, 1 },
    { "default", NULL, "any real TEE, no sample evidence", AT(standard), false, false, 1 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option attestation_policy_options[] = {
    { "type", "TYPE", "language of the policy (rego)", AT(type), false, false, 0 },
    { "id", "ID", "which policy to set [default: default_cpu]", AT(id), false, false, 0 },
    { "policy-file", "POLICY_FILE", "a Rego file", AT(policy_file), true, false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option get_reference_options[] = {
    { "id", "ID", "name of the reference value", AT(id), true, false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option set_reference_options[] = {
    { "as-integer", NULL, "VALUE is a number", AT(as_integer), false, false, 1 },
    { "as-bool", NULL, "VALUE is true or false", AT(as_bool), false, false, 1 },
    { "as-single-value", NULL, "store VALUE itself, not a list of it", AT(as_single_value), false,
      false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_positional set_reference_args[] = {
    { "NAME", "name of the reference value", AT(name), true },
    { "VALUE", "the value; a string unless said otherwise", AT(value), true },
    { NULL, NULL, 0, false }
};
static const struct propkey_kc_option get_resource_options[] = {
    { "path", "PATH", "its name: repository/type/tag", AT(path), true, false, 0 },
    { "tee-key-file", "TEE_KEY_FILE",
      "private key (PEM: RSA as PKCS#1, EC P-256 or P-521 as PKCS#8) the answer is encrypted for; "
      "without it, a fresh one",
      AT(tee_key_file), false, false, 0 },
    { "attestation-token", "ATTESTATION_TOKEN",
      "show this token instead of attesting; needs the --tee-key-file it was issued to",
      AT(attestation_token), false, false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_option attest_options[] = {
    { "tee-key-file", "TEE_KEY_FILE", "private key whose public half goes into the token",
      AT(tee_key_file), false, false, 0 },
    { NULL, NULL, NULL, 0, false, false, 0 }
};
static const struct propkey_kc_positional init_data_arg[] = {
    { "INIT_DATA", "init-data to send along, as plain text", AT(init_data), false },
    { NULL, NULL, 0, false }
};

static const struct propkey_kc_command config_commands[] = {
    { "set-attestation-policy", "upload a policy that judges evidence", attestation_policy_options,
      NULL, NULL, propkey_kc_set_attestation_policy },
    { "set-resource-policy", "upload the policy that says who may have which resource",
      policy_options, NULL, NULL, propkey_kc_set_resource_policy },
    { "set-resource", "upload a resource", set_resource_options, NULL, NULL,
      propkey_kc_set_resource },
    { "delete-resource", "delete a resource", delete_resource_options, NULL, NULL,
      propkey_kc_delete_resource },
    { "get-reference-value", "print a reference value", get_reference_options, NULL, NULL,
      propkey_kc_get_reference_value },
    { "set-sample-reference-value", "set a reference value (extractor 'sample')",
      set_reference_options, set_reference_args, NULL, propkey_kc_set_reference_value },
    { NULL, NULL, NULL, NULL, NULL, NULL }
};
static const struct propkey_kc_command root_commands[] = {
    { "config", "what an administrator does", config_options, NULL, config_commands, NULL },
    { "get-resource", "attest this machine and fetch a resource", get_resource_options,
      init_data_arg, NULL, propkey_kc_get_resource },
    { "attest", "attest this machine and print the token", attest_options, init_data_arg, NULL,
      propkey_kc_attest },
    { NULL, NULL, NULL, NULL, NULL, NULL }
};
static const struct propkey_kc_command root = { "kbs-client", "kbs-client, as propkey does it",
                                                root_options, NULL, root_commands, NULL };

/* What a room below failed with, in one line and a hint. */
static void report(const struct prop_err *err)
{
    (void)fprintf(stderr, "Error: %s\n", err->message);
    if (err->hint[0])
        (void)fprintf(stderr, "hint: %s\n", err->hint);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    (void)opts;
    (void)err;
    struct propkey_kbs_client c = { .url = "http://127.0.0.1:8080" };
    const struct propkey_kc_command *command = NULL;
    struct prop_err failure = PROP_ERR_INIT;
    int argc = prop_cli_argc(cli);
    prop_auto_free char **argv = prop_realloc_array(NULL, (size_t)argc + 1, sizeof *argv);
    if (!argv)
        return prop_err_nomem(err);
    for (int i = 0; i < argc; i++)
        memcpy(&argv[i], &(const char *){ prop_cli_arg(cli, i) }, sizeof *argv);
    argv[argc] = NULL;
    int status = propkey_kc_parse(&root, argc, argv, &c, &command);
    if (status < 0) {
        int rc = command->run(&c, &failure);
        if (rc < 0 && rc != PROPKEY_KC_SAID)
            report(&failure);
        status = rc == PROP_E_INTERRUPTED ? 130 : rc < 0 ? 1 : 0;
    }
    prop_cli_set_status(cli, status);
    return 0;
}

static int exit_code(const char *verb, const struct prop_err *err)
{
    (void)verb;
    return err->code == PROP_E_INTERRUPTED ? 130 : 1;
}

/* The common main does what every tool does around a run: descriptors, signals, core dumps, output
 * that could not be written. It sees one verb, whose arguments are the whole command line. */
int propkey_kbs_client_main(int argc, char **argv)
{
    static const struct prop_opt no_options[] = { PROP_OPT_END };
    static const struct prop_verb verb = { "run", "ARGS", "kbs-client", NULL, no_options, 0, 0, -1,
                                           run };
    static const struct prop_verb *const verbs[] = { &verb, NULL };
    static const struct prop_tool tool = { "kbs-client", "kbs-client", verbs, exit_code, NULL };
    static char word[] = "run", end[] = "--";
    int n = argc > 0 ? argc - 1 : 0;
    prop_auto_free char **words = prop_realloc_array(NULL, (size_t)n + 4, sizeof *words);
    if (!words)
        return 1;
    words[0] = argc > 0 ? argv[0] : word;
    words[1] = word;
    words[2] = end;
    for (int i = 0; i < n; i++)
        words[3 + i] = argv[1 + i];
    words[3 + n] = NULL;
    return prop_cli_main(&tool, n + 3, words);
}
