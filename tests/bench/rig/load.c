/* load.c - an HTTP/1.1 load generator: closed loop (each connection sends its next request when
 * the answer came) or open loop (Poisson arrivals at a rate, latencies from the arrival).
 * See load.h for the workload; results are one line of JSON on standard output. */
#include "load.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: load --port P [OPTIONS] WORKLOAD\n"
    "  --connections N   closed loop: so many; open loop: at most so many (64)\n"
    "  --rate R          open loop: arrivals per second, Poisson; without it: closed loop\n"
    "  --seconds T       measured time (3)\n"
    "  --warm T          time before it (0.5)\n"
    "  --drain T         time for the last answers after it (5)\n"
    "  --seed N          of all that is random (1)\n"
    "  --within-us N     limit up to which an answer is counted as \"within\" (none)\n"
    "  --bound           closed loop: connection i uses session i, modulo their number\n"
    "  --started         the sessions live already: no first steps\n";

static double number(const char *text, double least, double most)
{
    char *end = NULL;
    double x = strtod(text, &end);
    if (end == text || *end != '\0' || !(x >= least && x <= most)) {
        fprintf(stderr, "load: '%s' is not a number from %g to %g\n", text, least, most);
        exit(2);
    }
    return x;
}

static void read_options(int argc, char **argv, struct plan *p, struct results *r)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"warm", required_argument, NULL, 'w'},
                                            {"drain", required_argument, NULL, 'd'},
                                            {"seed", required_argument, NULL, 'e'},
                                            {"bound", no_argument, NULL, 'b'},
                                            {"within-us", required_argument, NULL, 'i'},
                                            {"started", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int o;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'p':
            p->port = (uint16_t)number(optarg, 1, 65535);
            break;
        case 'c':
            p->max_conns = (uint32_t)number(optarg, 1, 60000);
            break;
        case 'r':
            p->open = true;
            p->rate = number(optarg, 0.001, 1e7);
            break;
        case 's':
            p->seconds = number(optarg, 0.01, 600);
            break;
        case 'w':
            p->warm_s = number(optarg, 0, 600);
            break;
        case 'd':
            p->drain_s = number(optarg, 0, 600);
            break;
        case 'e':
            p->seed = (uint64_t)number(optarg, 0, 1e15);
            break;
        case 'i':
            r->within_ns = (uint64_t)(1e3 * number(optarg, 1, 1e9));
            break;
        case 'b':
            p->bound = true;
            break;
        case 'n':
            p->started = true;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct workload w;
    static struct results r;
    struct plan p = {.max_conns = 64, .seconds = 3.0, .warm_s = 0.5, .drain_s = 5.0, .seed = 1};
    size_t n_conns = 0;
    read_options(argc, argv, &p, &r);
    if (p.port == 0 || optind + 1 != argc) {
        fputs(usage, stderr);
        return 2;
    }
    workload_read(&w, argv[optind]);
    if (!plan_run(&p, &w, &r, &n_conns))
        return 1;
    results_print(&w, &r, p.open ? "open" : "closed", n_conns);
    return 0;
}
