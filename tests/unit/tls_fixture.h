/*
 * Certificates for tests, valid until 2126: an authority; a server (localhost, 127.0.0.1, ::1) and
 * a client (common name "operator") that it signed; and a stranger who signed himself. The keys are
 * worth nothing outside these tests.
 */
#ifndef TESTS_TLS_FIXTURE_H
#define TESTS_TLS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *text;
} tls_fixture_files[] = {
    {"authority.pem", "-----BEGIN CERTIFICATE-----\n"
                      "MIIBijCCAS+gAwIBAgIUQ+WNKffHqmKTER0/TsXMSYzeMQMwCgYIKoZIzj0EAwIw\n"
                      "GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDcxOTA2WhgPMjEy\n"
                      "NjEwMjkwNzE5MDZaMBkxFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI\n"
                      "zj0CAQYIKoZIzj0DAQcDQgAEVo+RB+C90mwutpk6i0pKVYZchqz8rxFzE3MDk6jp\n"
                      "Xn0Z4V2DvzLgj39ndu3uj7pi1+X0LoJvr2sk3B4GIWxFLqNTMFEwHQYDVR0OBBYE\n"
                      "FL/UzX5Sp34/VNWh+PrAfFWg+x39MB8GA1UdIwQYMBaAFL/UzX5Sp34/VNWh+PrA\n"
                      "fFWg+x39MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAIiuI0+1\n"
                      "MA1PSULftZjwVmj5sWRFhRFomzFtbDBo5ZS/AiEAt78+fOFv7ufXUnSvTLoKI5b9\n"
                      "A22qaVpkina4IZ1i8iU=\n"
                      "-----END CERTIFICATE-----\n"},
    {"server.pem", "-----BEGIN CERTIFICATE-----\n"
                   "MIIBrTCCAVKgAwIBAgIUNi3n+uLKBUmrt06iT6Qe/B2eJRgwCgYIKoZIzj0EAwIw\n"
                   "GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDcxOTA2WhgPMjEy\n"
                   "NjEwMjkwNzE5MDZaMBQxEjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEG\n"
                   "CCqGSM49AwEHA0IABGzcJ1gnWsUZIJIdLklF4bjX5ynqaDOctI5vhrFxQWPouOxB\n"
                   "I3WZB+DZfwt4iLJGLtmX09/74fsOnn0iq4z6pn+jezB5MCwGA1UdEQQlMCOCCWxv\n"
                   "Y2FsaG9zdIcEfwAAAYcQAAAAAAAAAAAAAAAAAAAAATAJBgNVHRMEAjAAMB0GA1Ud\n"
                   "DgQWBBQxFa6qJDIKmxBwEdLmu4Iegi911TAfBgNVHSMEGDAWgBS/1M1+Uqd+P1TV\n"
                   "ofj6wHxVoPsd/TAKBggqhkjOPQQDAgNJADBGAiEAyoGnoE9IYfArVOhyLPHo8kIC\n"
                   "h4V/bzBhjQUXDFZaQFECIQCMn0wd+bp1Zugqy4IrvmlDp21+sQi9w7OjGjNa5yxC\n"
                   "Yw==\n"
                   "-----END CERTIFICATE-----\n"},
    {"server.key", "-----BEGIN PRIVATE KEY-----\n"
                   "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVLspIrKv41aPlA/J\n"
                   "w6yipX8gS7OSOCkyT/sVflX0OZahRANCAARs3CdYJ1rFGSCSHS5JReG41+cp6mgz\n"
                   "nLSOb4axcUFj6LjsQSN1mQfg2X8LeIiyRi7Zl9Pf++H7Dp59IquM+qZ/\n"
                   "-----END PRIVATE KEY-----\n"},
    {"client.pem", "-----BEGIN CERTIFICATE-----\n"
                   "MIIBfTCCASOgAwIBAgIUNi3n+uLKBUmrt06iT6Qe/B2eJRkwCgYIKoZIzj0EAwIw\n"
                   "GTEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDcxOTA2WhgPMjEy\n"
                   "NjEwMjkwNzE5MDZaMBMxETAPBgNVBAMMCG9wZXJhdG9yMFkwEwYHKoZIzj0CAQYI\n"
                   "KoZIzj0DAQcDQgAERp0nnVj8Wp/4xH3x/pnDjxZtiPt6FqmPgDRPA7TwYKOrRDZ3\n"
                   "TjCxSb+dRMB4mS1TuZVT3/MvGL8IKDD0dNfwwaNNMEswCQYDVR0TBAIwADAdBgNV\n"
                   "HQ4EFgQUL2rwW3HqRKcqMeUjOTbWnTczfmkwHwYDVR0jBBgwFoAUv9TNflKnfj9U\n"
                   "1aH4+sB8VaD7Hf0wCgYIKoZIzj0EAwIDSAAwRQIhAOO1uWGeV3EQ31KSxs/PFRxQ\n"
                   "Itx6D6x3xPM6A0HBDyf6AiBsj1j3qVlZy1KifvSJMWLdxtxWe/gWuYThFlAoo3Em\n"
                   "MA==\n"
                   "-----END CERTIFICATE-----\n"},
    {"client.key", "-----BEGIN PRIVATE KEY-----\n"
                   "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzO12mUVrNhBnJL4x\n"
                   "eGg0DcJWpJDfixuuB5dIiqMO+AyhRANCAARGnSedWPxan/jEffH+mcOPFm2I+3oW\n"
                   "qY+ANE8DtPBgo6tENndOMLFJv51EwHiZLVO5lVPf8y8YvwgoMPR01/DB\n"
                   "-----END PRIVATE KEY-----\n"},
    {"stranger.pem", "-----BEGIN CERTIFICATE-----\n"
                     "MIIBfDCCASOgAwIBAgIUE5BTk1HmTiFkAoD9whO2FYuCHk4wCgYIKoZIzj0EAwIw\n"
                     "EzERMA8GA1UEAwwIU3RyYW5nZXIwIBcNMjYxMTIyMDcxOTA2WhgPMjEyNjEwMjkw\n"
                     "NzE5MDZaMBMxETAPBgNVBAMMCFN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
                     "AQcDQgAEmyOAzc1iQoUlHcdccsYMzWY/zFadplVyHmeqAhdwmacRGK9gnHtath38\n"
                     "jza1y/Ac15p0iKunEFEm9pB6GVuutKNTMFEwHQYDVR0OBBYEFBhV3aja7eG0KVzQ\n"
                     "hMAvl2eQD+MCMB8GA1UdIwQYMBaAFBhV3aja7eG0KVzQhMAvl2eQD+MCMA8GA1Ud\n"
                     "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgNx47gDkFmdefzpo75M89c73g\n"
                     "VEq33WXrCvuk0O6O1l4CIEvQhqG9hLkvZV4rl7VRNLwiD4NRfpWYUCzwDodO3RY+\n"
                     "-----END CERTIFICATE-----\n"},
    {"stranger.key", "-----BEGIN PRIVATE KEY-----\n"
                     "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqtGgKvms6DUAUIiA\n"
                     "///ScXj6SsUktgFMoiL/jiefvH+hRANCAASbI4DNzWJChSUdx1xyxgzNZj/MVp2m\n"
                     "VXIeZ6oCF3CZpxEYr2Cce1q2HfyPNrXL8BzXmnSIq6cQUSb2kHoZW660\n"
                     "-----END PRIVATE KEY-----\n"},
};

#define TLS_FIXTURE_COUNT (sizeof tls_fixture_files / sizeof *tls_fixture_files)

/* Paths of the files above, in a directory of their own. */
struct tls_fixture {
    char directory[64];
    char path[TLS_FIXTURE_COUNT][128];
};
enum {
    TLS_AUTHORITY,
    TLS_SERVER,
    TLS_SERVER_KEY,
    TLS_CLIENT,
    TLS_CLIENT_KEY,
    TLS_STRANGER,
    TLS_STRANGER_KEY,
};

static inline void tls_fixture_make(struct tls_fixture *f)
{
    strcpy(f->directory, "/tmp/atoll-tls-XXXXXX");
    if (!mkdtemp(f->directory))
        abort();
    for (size_t i = 0; i < TLS_FIXTURE_COUNT; i++) {
        snprintf(f->path[i], sizeof f->path[i], "%s/%s", f->directory, tls_fixture_files[i].name);
        FILE *file = fopen(f->path[i], "w");
        if (!file || fputs(tls_fixture_files[i].text, file) < 0 || fclose(file) != 0)
            abort();
    }
}

static inline void tls_fixture_remove(const struct tls_fixture *f)
{
    for (size_t i = 0; i < TLS_FIXTURE_COUNT; i++)
        unlink(f->path[i]);
    rmdir(f->directory);
}

#endif
