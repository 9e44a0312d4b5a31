/*
 * TLS sessions over two memory BIOs: OpenSSL reads what the peer sent from one and writes what the
 * peer must get into the other. An empty input means "more is needed", never "end of file"; the
 * owner of the socket knows when it has ended.
 *
 * OpenSSL's error queue belongs to the thread, so it is cleared before each operation whose result
 * is asked of it.
 */
#include "crypto/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
    SSL_CTX *ssl;
    bool server;
};

struct tls_session {
    SSL *ssl;
    BIO *in, *out;
};

/* The innermost reason OpenSSL gives. */
static const char *ssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (!reason)
        reason = ERR_reason_error_string(ERR_peek_error());
    return reason ? reason : "no reason given";
}

/* ---- contexts ---- */

static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned int in_len, void *context)
{
    (void)ssl;
    (void)context;
    static const unsigned char protocol[] = "\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, protocol, sizeof protocol - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int context_create(bool server, struct tls_context **out, struct error *e)
{
    struct tls_context *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(e, ATOLL_ENOMEM, "out of memory for a TLS context");
    ERR_clear_error();
    c->server = server;
    c->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!c->ssl || !SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(c->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20")) {
        tls_context_destroy(c);
        return error_set(e, ATOLL_EUNAVAIL, "OpenSSL gives no TLS context: %s", ssl_reason());
    }
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    *out = c;
    return 0;
}

void tls_context_destroy(struct tls_context *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ssl);
    free(c);
}

static int pair_load(struct tls_context *c, const char *certificate, const char *key,
                     struct error *e)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c->ssl, certificate) != 1)
        return error_set(e, ATOLL_EINVAL, "cannot use the certificate in %s: %s", certificate,
                         ssl_reason());
    if (SSL_CTX_use_PrivateKey_file(c->ssl, key, SSL_FILETYPE_PEM) != 1)
        return error_set(e, ATOLL_EINVAL, "cannot use the key in %s with the certificate in %s: %s",
                         key, certificate, ssl_reason());
    if (SSL_CTX_check_private_key(c->ssl) != 1)
        return error_set(e, ATOLL_EINVAL, "the key in %s does not belong to the certificate in %s",
                         key, certificate);
    return 0;
}

static int no_password(char *out, int size, int writing, void *context)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)context;
    return 0; /* otherwise OpenSSL would ask the terminal */
}

int tls_context_server(const char *certificate_path, const char *key_path,
                       const char *client_ca_path, struct tls_context **out, struct error *e)
{
    struct tls_context *c;
    int result = context_create(true, &c, e);
    if (result < 0)
        return result;
    SSL_CTX_set_default_passwd_cb(c->ssl, no_password);
    SSL_CTX_set_alpn_select_cb(c->ssl, alpn_select, NULL);
    /* Clients come back over kept connections; tickets would outlive a change of client_ca. */
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(c->ssl, 0);
    result = pair_load(c, certificate_path, key_path, e);
    if (result == 0 && client_ca_path) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(client_ca_path);
        if (!names || SSL_CTX_load_verify_file(c->ssl, client_ca_path) != 1)
            result = error_set(e, ATOLL_EINVAL, "cannot use the certificates in %s: %s",
                               client_ca_path, ssl_reason());
        SSL_CTX_set_client_CA_list(c->ssl, names);
        SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    if (result < 0) {
        tls_context_destroy(c);
        return result;
    }
    *out = c;
    return 0;
}

int tls_context_client(const char *ca_path, const char *certificate_path, const char *key_path,
                       struct tls_context **out, struct error *e)
{
    struct tls_context *c;
    int result = context_create(false, &c, e);
    if (result < 0)
        return result;
    SSL_CTX_set_default_passwd_cb(c->ssl, no_password);
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_alpn_protos(c->ssl, (const unsigned char *)"\x08http/1.1", 9);
    ERR_clear_error();
    if (ca_path ? SSL_CTX_load_verify_file(c->ssl, ca_path) != 1
                : SSL_CTX_set_default_verify_paths(c->ssl) != 1)
        result = error_set(e, ATOLL_EINVAL, "cannot use the certificates in %s: %s",
                           ca_path ? ca_path : "the system's store", ssl_reason());
    if (result == 0 && certificate_path)
        result = pair_load(c, certificate_path, key_path, e);
    if (result < 0) {
        tls_context_destroy(c);
        return result;
    }
    *out = c;
    return 0;
}

/* ---- sessions ---- */

static int name_expect(SSL *ssl, const char *name, struct error *e)
{
    struct in6_addr address;
    bool numeric =
        inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
    X509_VERIFY_PARAM *verify = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* A server name indication is never an address (RFC 6066 §3). */
    if (numeric ? X509_VERIFY_PARAM_set1_ip_asc(verify, name) != 1
                : SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
        return error_set(e, ATOLL_EINVAL, "%s is no name a certificate can be for", name);
    return 0;
}

int tls_session_create(struct tls_context *c, const char *server_name, struct tls_session **out,
                       struct error *e)
{
    assert(c->server == !server_name);
    struct tls_session *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(e, ATOLL_ENOMEM, "out of memory for a TLS session");
    s->ssl = SSL_new(c->ssl);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    int result = 0;
    if (!s->ssl || !s->in || !s->out) {
        BIO_free(s->in);
        BIO_free(s->out);
        s->in = s->out = NULL;
        result = error_set(e, ATOLL_ENOMEM, "out of memory for a TLS session");
    } else {
        BIO_set_mem_eof_return(s->in, -1);
        SSL_set_bio(s->ssl, s->in, s->out);
        if (server_name)
            result = name_expect(s->ssl, server_name, e);
    }
    if (result < 0) {
        tls_session_destroy(s);
        return result;
    }
    if (server_name)
        SSL_set_connect_state(s->ssl);
    else
        SSL_set_accept_state(s->ssl);
    *out = s;
    return 0;
}

void tls_session_destroy(struct tls_session *s)
{
    if (!s)
        return;
    SSL_free(s->ssl); /* and its BIOs */
    free(s);
}

int tls_receive(struct tls_session *s, const void *data, size_t len, struct error *e)
{
    assert(len <= INT_MAX);
    if (len > 0 && BIO_write(s->in, data, (int)len) != (int)len)
        return error_set(e, ATOLL_ENOMEM, "out of memory for what a TLS peer sent");
    return 0;
}

/* What a failed operation means. */
static int failure(struct tls_session *s, int returned, struct error *e)
{
    int reason = SSL_get_error(s->ssl, returned);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
        return error_set(e, ATOLL_EAGAIN, "TLS needs more bytes from the peer");
    long verified = SSL_get_verify_result(s->ssl);
    if (verified != X509_V_OK)
        return error_set(e, ATOLL_ESIGNATURE, "the peer's certificate is not trusted: %s",
                         X509_verify_cert_error_string(verified));
    return error_set(e, ATOLL_EIO, "TLS failed: %s", ssl_reason());
}

int tls_handshake(struct tls_session *s, struct error *e)
{
    ERR_clear_error();
    int done = SSL_do_handshake(s->ssl);
    return done == 1 ? 0 : failure(s, done, e);
}

int64_t tls_read(struct tls_session *s, void *out, size_t cap, struct error *e)
{
    size_t got = 0;
    ERR_clear_error();
    int good = SSL_read_ex(s->ssl, out, cap, &got);
    if (good == 1)
        return (int64_t)got;
    if (SSL_get_error(s->ssl, good) == SSL_ERROR_ZERO_RETURN)
        return 0;
    return failure(s, good, e);
}

int tls_write(struct tls_session *s, const void *data, size_t len, struct error *e)
{
    assert(len <= TLS_RECORD_MAX);
    size_t put = 0;
    if (len == 0)
        return 0;
    ERR_clear_error();
    int good = SSL_write_ex(s->ssl, data, len, &put);
    if (good != 1)
        return failure(s, good, e);
    assert(put == len); /* a memory BIO takes whole records */
    return 0;
}

void tls_close(struct tls_session *s)
{
    ERR_clear_error();
    if (SSL_is_init_finished(s->ssl))
        SSL_shutdown(s->ssl);
}

size_t tls_outgoing(const struct tls_session *s)
{
    return BIO_ctrl_pending(s->out);
}

size_t tls_outgoing_take(struct tls_session *s, void *out, size_t cap)
{
    int got = BIO_read(s->out, out, cap > INT_MAX ? INT_MAX : (int)cap);
    return got > 0 ? (size_t)got : 0;
}

bool tls_peer_name(const struct tls_session *s, char out[static TLS_NAME_MAX + 1])
{
    X509 *certificate = SSL_get0_peer_certificate(s->ssl);
    out[0] = 0;
    if (!certificate || SSL_get_verify_result(s->ssl) != X509_V_OK)
        return false;
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0)
        return false;
    ASN1_STRING *name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, name);
    bool good = len > 0 && len <= TLS_NAME_MAX && !memchr(text, 0, (size_t)len);
    if (good) {
        memcpy(out, text, (size_t)len);
        out[len] = 0;
    }
    OPENSSL_free(text);
    return good;
}
