/* What libcurl's result of an exchange means. */
#include "http/internal.h"

#include "util/text.h"

#include <string.h>

static int tls_failure(struct prop_exchange *ex, struct prop_err *err)
{
    char text[256];
    size_t len = strlen(ex->curl_error);
    int rc = prop_roots_failure(ex->h->roots, err);

    if (rc < 0)
        return rc;
    while (len > 0 && strchr(".\n ", ex->curl_error[len - 1]) != NULL)
        len--;
    prop_printable(ex->curl_error, len, text, sizeof(text));
    prop_err_set_id(err, PROP_E_NETWORK, "tls", "TLS failed: %s",
                    text[0] != '\0' ? text : curl_easy_strerror(ex->result));
    return prop_err_hint(err, "%s", prop_tls_hint(text));
}

static int connect_failure(struct prop_exchange *ex, struct prop_err *err)
{
    long os_errno = 0;
    bool resolve = ex->result == CURLE_COULDNT_RESOLVE_HOST;

    curl_easy_getinfo(ex->easy, CURLINFO_OS_ERRNO, &os_errno);
    if (resolve)
        return prop_err_set_id(err, PROP_E_NETWORK, "connect", "the host name does not resolve");
    prop_err_set_id(err, PROP_E_NETWORK, "connect", "cannot connect: %s",
                    os_errno > 0 ? strerror((int)os_errno) : curl_easy_strerror(ex->result));
    if (err != NULL)
        err->sys_errno = (int)os_errno;
    return PROP_E_NETWORK;
}

/* The proxy's own refusal of a tunnel; 0 when it was not that. */
static int proxy_failure(struct prop_exchange *ex, struct prop_err *err)
{
    long status = 0;

    curl_easy_getinfo(ex->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    if (status < 300)
        return 0;
    prop_err_set_id(err, PROP_E_NETWORK, "proxy", "the proxy answered %ld", status);
    return prop_err_hint(err, "%s",
                         status == 407 ? "it wants a name and password in https_proxy"
                                       : "no_proxy names hosts that are reached without it");
}

static int curl_failure(struct prop_exchange *ex, struct prop_err *err)
{
    int rc = proxy_failure(ex, err);

    if (rc < 0)
        return rc;
    /* -Wswitch-enum wants a hundred names; an int tells the few that matter */
    switch ((int)ex->result) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
        return connect_failure(ex, err);
    case CURLE_OPERATION_TIMEDOUT:
        return prop_err_set_id(err, PROP_E_NETWORK, "timeout", "no connection within %ld ms",
                               ex->h->connect_timeout_ms);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return tls_failure(ex, err);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_FAIL_REWIND:
        return prop_err_set_id(err, PROP_E_NETWORK, "reset", "the connection broke");
    case CURLE_PARTIAL_FILE:
        return prop_err_set_id(err, PROP_E_REMOTE, "truncated",
                               "the answer ended before its stated length");
    case CURLE_OUT_OF_MEMORY:
        return prop_err_nomem(err);
    default:
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-answer", "malformed answer (%s)",
                               curl_easy_strerror(ex->result));
    }
}

int prop_exchange_verdict(struct prop_exchange *ex, struct prop_err *err)
{
    long status = 0;

    if (ex->cb_rc != 0) {
        if (err != NULL)
            *err = ex->cb_err;
        return ex->cb_rc;
    }
    if (ex->result != CURLE_OK && !ex->enough)
        return curl_failure(ex, err);
    /* libcurl takes headers that a closed connection cut off for all there were */
    if (!ex->head_ended)
        return prop_err_set_id(err, PROP_E_REMOTE, "truncated",
                               "the answer ended inside its headers");
    if (ex->h->tls_facts)
        prop_tls_collect(ex->h, ex->easy);
    curl_easy_getinfo(ex->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || status > 599)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-answer", "the answer has status %ld",
                               status);
    ex->answer.status = (int)status;
    return 0;
}
