/* The verification equation (ed25519_equation.h). */
#include "crypto/ed25519_equation.h"

#include "crypto/ed25519_ifma.h"

bool equation_holds(bool vectors, const struct scalar *s, const struct scalar *k,
                    const struct point *key, const struct point_lanes *commitment)
{
    struct scalar minus_k = scalar_negate(k);
    struct point sum =
        vectors ? ifma_multiply_points(&minus_k, key, s) : point_multiply(&minus_k, key, s);
    struct point_lanes minus = point_cache_negate(commitment);
    sum = point_add(&sum, &minus);
    return point_is_small(&sum);
}
