/*
 * TLS sessions over memory (OpenSSL): whoever owns the socket pumps bytes, so the same session
 * serves an event loop and a blocking client.
 *
 *   from the socket ──▶ tls_receive ──▶ tls_read ──▶ plain bytes
 *   to the socket   ◀── tls_outgoing_take ◀── tls_write ◀── plain bytes
 *
 * After every call that takes or gives bytes the owner sends what tls_outgoing holds: handshakes,
 * alerts and tickets leave that way. TLS 1.2 and 1.3 only, ALPN "http/1.1", no renegotiation, no
 * compression. A context may be shared by threads, a session belongs to one at a time.
 */
#ifndef CRYPTO_TLS_H
#define CRYPTO_TLS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_context;
struct tls_session;

#define TLS_RECORD_MAX 16384 /* plain bytes of one record */
#define TLS_NAME_MAX   64    /* of a peer's common name */

/* certificate: PEM, the server's first, then those that sign it; key: PEM, not encrypted. With
 * client_ca, clients must present a certificate signed by one of that file's. */
int tls_context_server(const char *certificate_path, const char *key_path,
                       const char *client_ca_path, struct tls_context **, struct error *);
/* ca_path: PEM of those trusted; NULL: the system's. certificate and key are the client's own, or
 * both NULL. */
int tls_context_client(const char *ca_path, const char *certificate_path, const char *key_path,
                       struct tls_context **, struct error *);
/* Sessions keep what they need of it. */
void tls_context_destroy(struct tls_context *);

/* server_name: for clients, the name or numeric address the server's certificate must be for; NULL
 * for servers. */
int tls_session_create(struct tls_context *, const char *server_name, struct tls_session **,
                       struct error *);
void tls_session_destroy(struct tls_session *);

/* Takes all len bytes from the peer. */
int tls_receive(struct tls_session *, const void *data, size_t len, struct error *);
/* Carries the handshake on. 0 done; ATOLL_EAGAIN needs bytes from the peer; ATOLL_ESIGNATURE the
 * peer's certificate is not trusted; ATOLL_EIO. Reading and writing do it too. */
int tls_handshake(struct tls_session *, struct error *);
/* Plain bytes: how many (> 0); 0 the peer closed properly; ATOLL_EAGAIN; errors as above. */
int64_t tls_read(struct tls_session *, void *out, size_t cap, struct error *);
/* Encrypts all len bytes (at most TLS_RECORD_MAX): 0, or ATOLL_EAGAIN (handshake not done, nothing
 * taken), or an error. */
int tls_write(struct tls_session *, const void *data, size_t len, struct error *);
/* Says goodbye; nothing can be written afterwards. */
void tls_close(struct tls_session *);

/* How many bytes wait for the socket, and moves up to cap of them to out. */
size_t tls_outgoing(const struct tls_session *);
size_t tls_outgoing_take(struct tls_session *, void *out, size_t cap);

/* The peer's certificate's common name after the handshake; false when it has none. */
bool tls_peer_name(const struct tls_session *, char out[static TLS_NAME_MAX + 1]);

#endif
