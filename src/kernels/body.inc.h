/* body.inc.h - the kernels, written once over a native vector `vf` of VF_LANES floats and compiled for
 * each CPU level by arch_*.c, which define VF_LANES, KERNELS_NAME, KERNELS_LEVEL and v_fma(a, b, c) = a * b + c
 * with one rounding; and, where few instructions do it, v_min and the others that vectors.inc.h asks for.
 *
 * Everything is lane by lane with IEEE operations in a fixed order, so the vector's width never shows.
 * Sums along a row keep 16 logical lanes whatever the native width. */
#include "vectors.inc.h"

#include "bf16.inc.h"
#include "functions.inc.h"
#include "gates.inc.h"
#include "int8.inc.h"
#include "product.inc.h"
#include "rows.inc.h"
#include "sparse.inc.h"
#include "steps.inc.h"

#include "edges.inc.h" /* on functions.inc.h */
#include "gemm.inc.h"  /* on product.inc.h */
#include "left.inc.h"  /* on gemm.inc.h */

#define KERNELS_SET kernels
#define KERNELS_INT8 gemm_int8
#include "set.inc.h"
