/* obs.h - log lines and the Prometheus text exposition. */
#pragma once
#include "recurd/base.h"

typedef enum rcd_log_level { /* syslog priorities */
                             RCD_LOG_ERR = 3,
                             RCD_LOG_WARNING = 4,
                             RCD_LOG_NOTICE = 5,
                             RCD_LOG_INFO = 6,
                             RCD_LOG_DEBUG = 7,
} rcd_log_level;

typedef enum rcd_log_target { RCD_LOG_AUTO, RCD_LOG_STDERR, RCD_LOG_JOURNAL } rcd_log_target;

/** AUTO: the journal when standard error is connected to it (JOURNAL_STREAM), else standard error
 * with time stamps. Threading: before threads start. */
void rcd_log_init(rcd_log_target target, rcd_log_level level);
void rcd_log_set_level(rcd_log_level level); /* Threading: any thread */
rcd_log_level rcd_log_get_level(void);

/** One line. `request_id` and `model` may be NULL; they become journal fields REQUEST_ID= and MODEL=
 * and a suffix on standard error. Text from outside must be quoted by the caller (rcd_quote); control
 * bytes are escaped here all the same. Threading: any thread. */
void rcd_log(rcd_log_level level, const char *request_id, const char *model, const char *fmt, ...)
    RCD_PRINTF(4, 5);

/* ---- Prometheus text format 0.0.4 ----------------------------------------------------- */

struct rcd_label {
    const char *name, *value;
};
/** Writes families into a buffer; `# HELP` and `# TYPE` once per family, label values escaped. */
struct rcd_prom {
    struct rcd_buf *out;                /* [borrowed] */
    size_t series, max_series, dropped; /* hard cap against label explosions */
};
void rcd_prom_family(struct rcd_prom *p, const char *name, const char *type, const char *help);
void rcd_prom_sample(struct rcd_prom *p, const char *name, const struct rcd_label *labels,
                     size_t n_labels, double value);
void rcd_prom_sample_u64(struct rcd_prom *p, const char *name, const struct rcd_label *labels,
                         size_t n_labels, uint64_t value);
/** _bucket (cumulated here), _sum and _count of one series. bounds: upper bounds, the last bucket is
 * +Inf; counts f64... u64[n] not cumulative. */
void rcd_prom_histogram(struct rcd_prom *p, const char *name, const struct rcd_label *labels,
                        size_t n_labels, const double *bounds, const uint64_t *counts, size_t n,
                        double sum);
/** The whole machine, all processors; ticks since it started. False: not to be known here. Threading: any. */
struct rcd_machine_use {
    uint64_t busy_ticks, all_ticks, memory_total, memory_used; /* bytes */
};
RCD_MUST_CHECK bool rcd_machine_use(struct rcd_machine_use *ret);
/** process_* family of the Prometheus client conventions, from /proc/self. Threading: any. */
void rcd_prom_process(struct rcd_prom *p);
