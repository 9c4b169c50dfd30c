/* csv.c - tables as spreadsheets and pandas write them (RFC 4180 without line ends inside cells). */
#include "csv.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS_MAX = 65536 };

void rcd__csv_done(struct rcd__csv *t)
{
    rcd_buf_done(&t->text);
    rcd_free(t->cells);
    rcd_free(t->head);
    rcd_free(t->lines);
}

bool rcd__csv_is_number(const char *cell)
{
    char *end = NULL;
    (void)strtod(cell, &end);
    return end != cell && *end == '\0' && !isspace((unsigned char)cell[0]) &&
           strpbrk(cell, "xXnN") == NULL;
}

/* A cell in quotes, in which "" is one quote: written over itself. Returns what follows the last quote, or NULL. */
static char *unquote(char *p)
{
    char *to = p;
    for (p++; *p != '\0'; p++) {
        if (*p == '"' && p[1] != '"') {
            *to = '\0';
            return p + 1;
        }
        p += *p == '"';
        *to++ = *p;
    }
    return NULL;
}

/* Cuts a line in place at commas, or at tabs where it has them, at semicolons where it has neither; at spaces if it may
 * be and has none of them. 0: a quote is not closed. */
static size_t cut(char *line, bool spaces, const char **cells, size_t most)
{
    char by = strchr(line, '\t') != NULL                               ? '\t'
              : strchr(line, ',') == NULL && strchr(line, ';') != NULL ? ';'
                                                                       : ',';
    if (spaces && strpbrk(line, ",;\t\"") == NULL) {
        size_t len = strlen(line);
        while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\r'))
            line[--len] = '\0';
        by = ' ';
    }
    size_t n = 0;
    for (char *p = line; n < most;) {
        while (*p == ' ')
            p++;
        cells[n++] = p;
        char *from = *p == '"' ? unquote(p) : p;
        if (from == NULL)
            return 0;
        char *end = strchr(from, by), *last = end != NULL ? end : from + strlen(from);
        const bool more = end != NULL;
        while (last > from && (last[-1] == ' ' || last[-1] == '\r'))
            last--;
        if (from == p)
            *last = '\0';
        if (!more)
            break;
        p = end + 1;
    }
    return n;
}

static int add_row(struct rcd__csv *t, char *line, size_t number, size_t *cap, const char **found)
{
    size_t n = cut(line, t->spaces, found, CELLS_MAX);
    if (n == 0)
        return rcd__complain(CTL_USAGE, "%s: line %zu has a quote that is not closed", t->file,
                             number);
    if (t->columns == 0)
        t->columns = n;
    if (n != t->columns)
        return rcd__complain(CTL_USAGE, "%s: line %zu has %zu columns, the first one has %zu",
                             t->file, number, n, t->columns);
    if (t->rows == *cap) {
        *cap = 2 * *cap + 1024;
        const char **cells = rcd_realloc(t->cells, *cap * n * sizeof *cells);
        t->cells = cells != NULL ? cells : t->cells;
        size_t *lines = cells != NULL ? rcd_realloc(t->lines, *cap * sizeof *lines) : NULL;
        t->lines = lines != NULL ? lines : t->lines;
        if (lines == NULL)
            return rcd__complain(CTL_REFUSED, "no memory for %s", t->file);
    }
    memcpy(t->cells + t->rows * n, found, n * sizeof *found);
    t->lines[t->rows++] = number;
    return CTL_OK;
}

int rcd__csv_take_head(struct rcd__csv *t, size_t probe)
{
    if (t->rows < 1 || probe >= t->columns || rcd__csv_is_number(t->cells[probe]))
        return CTL_OK;
    bool named = t->rows == 1 || rcd__csv_is_number(t->cells[t->columns + probe]) ||
                 strcmp(t->cells[0], "source") == 0 || strcmp(t->cells[0], "id") == 0;
    if (!named)
        return CTL_OK;
    t->head = rcd_calloc(t->columns, sizeof *t->head);
    if (t->head == NULL)
        return rcd__complain(CTL_REFUSED, "no memory for %s", t->file);
    memcpy(t->head, t->cells, t->columns * sizeof *t->head);
    t->rows--;
    memmove(t->cells, t->cells + t->columns, t->rows * t->columns * sizeof *t->cells);
    memmove(t->lines, t->lines + 1, t->rows * sizeof *t->lines);
    return CTL_OK;
}

int rcd__csv_read(struct rcd__csv *t, const char *file, size_t probe)
{
    *t = (struct rcd__csv){.file = file, .spaces = probe > 1};
    int status = rcd__read_whole(file, &t->text);
    if (status == CTL_OK && rcd_buf_append(&t->text, "", 1) != RCD_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", file);
    const char **found = rcd_calloc(CELLS_MAX, sizeof *found);
    if (found == NULL && status == CTL_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", file);
    size_t cap = 0, number = 1;
    char *line = t->text.data;
    if (status == CTL_OK && strncmp(line, "\xef\xbb\xbf", 3) == 0)
        line += 3; /* spreadsheets mark UTF-8 so */
    for (; status == CTL_OK && line != NULL && *line != '\0'; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        if (*line != '\0' && *line != '#' && *line != '\r')
            status = add_row(t, line, number, &cap, found);
        line = end != NULL ? end + 1 : NULL;
    }
    rcd_free(found);
    if (status == CTL_OK && t->rows == 0)
        status = rcd__complain(CTL_USAGE, "%s has no rows", file);
    return status == CTL_OK ? rcd__csv_take_head(t, probe) : status;
}
