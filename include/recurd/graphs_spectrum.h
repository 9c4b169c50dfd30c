/* graphs_spectrum.h - the eigen-decomposition of a graph's normalised Laplacian, for spectral convolutions
 * x * g = U g(values) U^T x. */
#pragma once
#include "recurd/graphs.h"

/** L = I - D^{-1/2} A D^{-1/2} of the nodes and edges without a type; A is symmetric: (W + W^T) / 2 of the
 * edges' weights (1 where there is no "edge_weight"), parallel edges added; D its row sums; a node without edges
 * has the row of I. The k smallest eigenvalues, ascending, and their eigenvectors of length 1; the largest entry of
 * each, the first one where several are as large, is positive. Computed once for each version of a graph and kept with it.
 * @param k           columns; 0: all. Columns beyond the number of nodes are zero
 * @param max_nodes   more are refused: RCD_ETOOBIG names both numbers (time grows with the cube)
 * @param ret_basis   [owned] f32[nodes][k], data from rcd_alloc: rcd_free(data)
 * @param ret_values  [owned] f32[k], the same
 * RCD_EINVAL: typed nodes alone, or a weight that is negative or not finite, which is named. RCD_EUNSUPPORTED: LAPACK
 * is not installed. RCD_ENOMEM. Threading: any thread; long: not on the loop. */
RCD_MUST_CHECK rcd_status rcd_graph_spectrum(rcd_graph *g, size_t k, size_t max_nodes,
                                             struct rcd_tensor *ret_basis,
                                             struct rcd_tensor *ret_values, struct rcd_error *err);
