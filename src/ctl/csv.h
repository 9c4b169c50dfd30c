/* csv.h - a table from a file: commas or tabs between the cells (in edge lists spaces, too), lines that begin with # left out, above the
 * first row with %, too. */
#pragma once
#include "ctl_int.h"

struct rcd__csv {
    struct rcd_buf text; /* cells end with NUL */
    const char *file;
    const char **cells; /* rows x columns, without the head */
    const char **head;  /* columns; NULL: the file has none */
    size_t *lines;      /* of each row, for messages */
    size_t rows, columns;
    bool spaces; /* cells may be cut at spaces: two columns at least are wanted */
    char by;     /* what cells are cut at */
};

/** Read a file; no head is taken. `spaces`: cells may be cut at them. CTL_OK, or what was complained of. To be released
 * with rcd__csv_done in any case. */
int rcd__csv_read(struct rcd__csv *t, const char *file, bool spaces);
/** Does the first line name the columns? So it seems where column `probe` has numbers below a text. */
bool rcd__csv_has_head(const struct rcd__csv *t, size_t probe);
/** The first row becomes the head. */
int rcd__csv_take_head(struct rcd__csv *t);
void rcd__csv_done(struct rcd__csv *t);
bool rcd__csv_is_number(const char *cell);

/** args->edges_file and args->nodes_file (or NULL) -> the JSON of a request in `b`, which the caller has made. CTL_OK, or
 * what was complained of. */
int rcd__request_from_tables(const struct ctl_args *args, struct rcd_buf *b);
