/* metrics_graphs.c - what /metrics says of graphs. */
#include "graphs.h"
#include "recurd/obs.h"

static void put(struct rcd_prom *p, const char *name, const char *type, const char *help,
                uint64_t value)
{
    rcd_prom_family(p, name, type, help);
    rcd_prom_sample_u64(p, name, NULL, 0, value);
}

void rcd__metrics_graphs(const rcd_api *api, struct rcd_prom *p)
{
    static const char name[] = "recurd_graph_results_total";
    put(p, "recurd_graphs", "gauge", "Graphs that are registered.",
        rcd_graphs_count(api->opts.graphs));
    put(p, "recurd_graphs_bytes", "gauge", "Memory of the newest versions of all graphs.",
        rcd_graphs_bytes(api->opts.graphs));
    put(p, "recurd_graph_versions_total", "counter",
        "Versions that were made by registering and changing graphs.", api->graph_changes_done);
    put(p, "recurd_graph_results_bytes", "gauge",
        "Memory of results of models on graphs that are kept.", api->binding_bytes);
    rcd_prom_family(p, name, "counter",
                    "Inference requests on graphs, by whether what depends on the graph alone was "
                    "there.");
    rcd_prom_sample_u64(p, name, &(struct rcd_label){"outcome", "hit"}, 1, api->binding_hits);
    rcd_prom_sample_u64(p, name, &(struct rcd_label){"outcome", "miss"}, 1, api->binding_misses);
    static const char updates[] = "recurd_graph_updates_total";
    rcd_prom_family(
        p, updates, "counter",
        "Results brought to a new version of their graph, by whether only rows that can "
        "have changed were computed.");
    rcd_prom_sample_u64(p, updates, &(struct rcd_label){"outcome", "followed"}, 1,
                        api->binding_followed);
    rcd_prom_sample_u64(p, updates, &(struct rcd_label){"outcome", "anew"}, 1, api->binding_anew);
}
