/* A service that lives long, and a server whose certificate changes under it: the file of certificates
 * is read again, and nobody is believed whom it does not name. */
#include "test_kbs_shared.h"

#include "kbs/kbs.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

static struct {
    int listener;
    char url[64], pem[64];
    pthread_t thread;
    const struct identity *_Atomic shown;
    atomic_int handshakes;
} server;
static struct identity first, second;

/* A self-signed certificate for 127.0.0.1, good from `from` to `to` seconds from now. */
static void make(struct identity *id, long from, long to)
{
    X509V3_CTX ctx;
    id->key = EVP_EC_gen("P-256");
    id->cert = X509_new();
    assert_int_equal(X509_set_version(id->cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(id->cert), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(id->cert), from));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(id->cert), to));
    X509_NAME *name = X509_get_subject_name(id->cert);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"kbs",
                                                -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(id->cert, name), 1);
    assert_int_equal(X509_set_pubkey(id->cert, id->key), 1);
    X509V3_set_ctx(&ctx, id->cert, id->cert, NULL, NULL, 0);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, "IP:127.0.0.1");
    assert_non_null(san);
    assert_int_equal(X509_add_ext(id->cert, san, -1), 1);
    X509_EXTENSION_free(san);
    assert_true(X509_sign(id->cert, id->key, EVP_sha256()) > 0);
}

static void publish(const struct identity *id)
{
    FILE *f = fopen(server.pem, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, id->cert), 1);
    assert_int_equal(fclose(f), 0);
}

/* One request per connection: GET /healthz. */
static void talk(int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const struct identity *id = atomic_load(&server.shown);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(ctx, id->cert);
    SSL_CTX_use_PrivateKey(ctx, id->key);
    SSL *ssl = SSL_new(ctx);
    char buf[4096];
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, buf, sizeof(buf)) > 0) {
        atomic_fetch_add(&server.handshakes, 1);
        (void)SSL_write(ssl, answer, sizeof(answer) - 1);
        (void)SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        talk(fd);
        (void)close(fd);
    }
}

static int setup(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    (void)state;
    memset(&server, 0, sizeof(server));
    (void)snprintf(server.pem, sizeof(server.pem), "/tmp/prop-tls-%ld.pem", (long)getpid());
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listener, (struct sockaddr *)&a, len) < 0 || listen(server.listener, 8) < 0 ||
        getsockname(server.listener, (struct sockaddr *)&a, &len) < 0)
        return -1;
    (void)snprintf(server.url, sizeof(server.url), "https://127.0.0.1:%d", ntohs(a.sin_port));
    make(&first, -60, 3600);
    make(&second, -60, 3600);
    atomic_store(&server.shown, &first);
    publish(&first);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static void drop(struct identity *id)
{
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
}

static int teardown(void **state)
{
    (void)state;
    (void)shutdown(server.listener, SHUT_RDWR);
    (void)pthread_join(server.thread, NULL);
    (void)close(server.listener);
    (void)unlink(server.pem);
    drop(&first);
    drop(&second);
    return 0;
}

static void test_another_certificate(void **state)
{
    (void)state;
    struct prop_kbs_config c = { .url = server.url, .ca_cert = server.pem, .no_proxy = true };
    prop_auto_kbs struct prop_kbs *k = NULL;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_kbs_new(&c, &k, NULL), 0);
    assert_int_equal(prop_kbs_health(k, NULL), 0);
    /* Another certificate that nobody named is another server. */
    atomic_store(&server.shown, &second);
    assert_int_equal(prop_kbs_health(k, &err), PROP_E_NETWORK);
    assert_string_equal(prop_err_id(&err), "tls");
    assert_int_equal(atomic_load(&server.handshakes), 1);
    /* Named, it is the same one. */
    publish(&second);
    assert_int_equal(prop_kbs_health(k, NULL), 0);
    /* And the old one is not any more. */
    atomic_store(&server.shown, &first);
    assert_int_equal(prop_kbs_health(k, &err), PROP_E_NETWORK);
    /* A file that is gone, or is none, takes nothing away. */
    atomic_store(&server.shown, &second);
    assert_int_equal(unlink(server.pem), 0);
    assert_int_equal(prop_kbs_health(k, NULL), 0);
}

static void test_the_clock(void **state)
{
    static const long times[][2] = { { -7200, -3600 }, { 3600, 7200 } };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(times); i++) {
        struct identity off;
        struct prop_err err = PROP_ERR_INIT;
        struct prop_kbs *guest = NULL, *admin = NULL;
        struct prop_kbs_config c = { .url = server.url, .ca_cert = server.pem };
        make(&off, times[i][0], times[i][1]);
        publish(&off);
        atomic_store(&server.shown, &off);
        assert_int_equal(prop_kbs_new(&c, &admin, NULL), 0);
        c.no_proxy = true;
        assert_int_equal(prop_kbs_new(&c, &guest, NULL), 0);
        assert_int_equal(prop_kbs_health(guest, NULL), 0);
        assert_int_equal(prop_kbs_health(admin, &err), PROP_E_NETWORK);
        assert_string_equal(prop_err_id(&err), "tls");
        prop_kbs_free(guest);
        prop_kbs_free(admin);
        atomic_store(&server.shown, &first);
        drop(&off);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_another_certificate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_clock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
