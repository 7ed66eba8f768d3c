/* The certificate table that the host hands to an SNP guest. The GUIDs' bytes are in text order here,
 * unlike those of firmware tables. */
#include "tee/snp.h"

#include "util/mem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ENTRY = 24, GUID_TEXT = 37 };

static const struct cert_name {
    const char *guid, *type;
} cert_names[] = {
    { "c0b406a4-a803-4952-9743-3fb6014cd0ae", "ARK" },
    { "4ab7b379-bbac-4fe4-a02f-05aef327c782", "ASK" },
    { "63da758d-e664-4564-adc5-f4b93be8accd", "VCEK" },
    { "a8074bc2-a25a-483e-aae6-39c045a0b8a1", "VLEK" },
    { "92f81bc3-5811-4d3d-97ff-d19f88dc67ea", "CRL" },
};

static void guid_text(const uint8_t g[16], char out[GUID_TEXT])
{
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        p += snprintf(p, 3, "%02x", g[i]);
    }
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i])
            return false;
    return true;
}

static json_t *cert_json(const uint8_t *entry, const uint8_t *data, size_t len, bool *ret_signer)
{
    char guid[GUID_TEXT];
    guid_text(entry, guid);
    json_t *type = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cert_names); i++) {
        if (strcmp(cert_names[i].guid, guid) == 0) {
            type = json_string(cert_names[i].type);
            *ret_signer |= cert_names[i].type[0] == 'V';
        }
    }
    if (!type)
        type = json_pack("{s:s}", "OTHER", guid);
    return json_pack("{s:o,s:o}", "cert_type", type, "data", prop_json_numbers(data, len));
}

static int bad_table(const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "snp-cert-table", "SNP certificate table: %s", why);
}

/* Entries up to the all-zero one; their count times ENTRY is where data may begin. */
static int count_entries(const uint8_t *table, size_t len, size_t *ret, struct prop_err *err)
{
    for (size_t n = 0; (n + 1) * ENTRY <= len; n++) {
        if (all_zero(table + n * ENTRY, ENTRY)) {
            *ret = n;
            return 0;
        }
    }
    return bad_table("no end", err);
}

int prop_snp_cert_chain(const uint8_t *table, size_t len, json_t **ret, struct prop_err *err)
{
    size_t n = 0;
    bool signer = false;
    prop_auto_json json_t *chain = json_array();
    if (!chain)
        return prop_err_nomem(err);
    int rc = len ? count_entries(table, len, &n, err) : 0;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *e = table + i * ENTRY;
        size_t offset = le32(e + 16), size = le32(e + 20);
        if (offset < (n + 1) * ENTRY || offset > len || size > len - offset)
            return bad_table("an entry points outside", err);
        if (json_array_append_new(chain, cert_json(e, table + offset, size, &signer)) < 0)
            return prop_err_nomem(err);
    }
    *ret = signer ? PROP_TAKE(chain) : json_null();
    return 0;
}

int prop_snp_evidence(const uint8_t *report, size_t len, const uint8_t *table, size_t table_len,
                      json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *body = NULL;
    prop_auto_json json_t *chain = NULL;
    int rc = prop_snp_report_json(report, len, &body, err);
    if (rc == 0)
        rc = prop_snp_cert_chain(table, table_len, &chain, err);
    if (rc < 0)
        return rc;
    json_t *o = json_pack("{s:O,s:O}", "attestation_report", body, "cert_chain", chain);
    if (!o)
        return prop_err_nomem(err);
    *ret = o;
    return 0;
}
