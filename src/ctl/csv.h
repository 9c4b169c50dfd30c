/* csv.h - a table from a file: commas or tabs between the cells (in edge lists spaces, too), lines that begin with # left out. */
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
};

/** Read a file. `probe`: a column of numbers; where its first cell is none, the first line names the columns. CTL_OK, or
 * what was complained of. To be released with rcd__csv_done in any case. */
int rcd__csv_read(struct rcd__csv *t, const char *file, size_t probe);
/** The same look for names of columns at another column. */
int rcd__csv_take_head(struct rcd__csv *t, size_t probe);
void rcd__csv_done(struct rcd__csv *t);
bool rcd__csv_is_number(const char *cell);
