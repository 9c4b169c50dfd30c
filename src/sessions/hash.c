/* hash.c - of inputs, so that a repeat can be told from another request with the same step. */
#include "sessions_int.h"

#include <string.h>
#include <xxhash.h>

uint64_t rcd_session_hash(uint64_t seed, const void *bytes, size_t len)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}
