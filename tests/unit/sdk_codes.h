/* The error codes as guests see them. */
#ifndef SDK_CODES_H
#define SDK_CODES_H

struct sdk_code {
    const char *name;
    int value;
};

extern const struct sdk_code sdk_codes[]; /* ends with a NULL name */

#endif
