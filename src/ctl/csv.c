/* csv.c - tables as spreadsheets and pandas write them (RFC 4180 without line ends inside cells). */
#include "csv.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* What tools write where they have no number: never the name of a column. */
static bool is_missing(const char *cell)
{
    static const char *const marks[] = {"",     "na",  "n/a",  "nan",      "null",
                                        "none", "inf", "-inf", "infinity", "-nan"};
    for (size_t i = 0; i < RCD_COUNT(marks); i++) {
        if (strcasecmp(cell, marks[i]) == 0)
            return true;
    }
    return false;
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

/* What a file's first row is cut at: tabs, or semicolons where they are more than the commas (which are in decimals
 * then), or commas; spaces where they may be and it has none of the others. */
static char separator(const char *line, bool spaces)
{
    size_t tabs = 0, semicolons = 0, commas = 0;
    bool quoted = false;
    for (; *line != '\0'; line++) {
        quoted = quoted != (*line == '"');
        tabs += !quoted && *line == '\t';
        semicolons += !quoted && *line == ';';
        commas += !quoted && *line == ',';
    }
    if (tabs > 0)
        return '\t';
    if (semicolons > commas)
        return ';';
    return commas > 0 || !spaces ? ',' : ' ';
}

/* Cuts a line in place. 0 and *wrong: what is the matter with a quote. */
static size_t cut(char *line, char by, const char **cells, size_t most, const char **wrong)
{
    size_t n = 0, len = strlen(line);
    while (len > 0 && line[len - 1] == ' ')
        line[--len] = '\0';
    for (char *p = line; n < most;) {
        while (*p == ' ')
            p++;
        cells[n++] = p;
        char *from = *p == '"' ? unquote(p) : p;
        if (from == NULL) {
            *wrong = "a quote that is not closed";
            return 0;
        }
        char *end = strchr(from, by), *last = end != NULL ? end : from + strlen(from);
        const bool more = end != NULL;
        while (last > from && last[-1] == ' ')
            last--;
        if (from == p) {
            *last = '\0';
        } else if (last > from) {
            *wrong = "text behind a closing quote";
            return 0;
        }
        if (!more)
            break;
        p = end + 1;
    }
    return n;
}

static bool is_utf8(const char *line)
{
    json_t *text = json_string(line); /* NULL: it is not */
    json_decref(text);
    return text != NULL;
}

static int add_row(struct rcd__csv *t, char *line, size_t number, size_t *cap, const char **found)
{
    const char *wrong = "";
    if (!is_utf8(line))
        return rcd__complain(CTL_USAGE, "%s: line %zu is not UTF-8; save the file as UTF-8",
                             t->file, number);
    if (t->columns == 0)
        t->by = separator(line, t->spaces);
    size_t n = cut(line, t->by, found, CELLS_MAX, &wrong);
    if (n == 0)
        return rcd__complain(CTL_USAGE, "%s: line %zu has %s", t->file, number, wrong);
    if (t->columns == 0)
        t->columns = n;
    if (n != t->columns)
        return rcd__complain(CTL_USAGE, "%s: line %zu has %zu column%s, the first one has %zu",
                             t->file, number, n, n == 1 ? "" : "s", t->columns);
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

int rcd__csv_take_head(struct rcd__csv *t)
{
    t->head = rcd_calloc(t->columns, sizeof *t->head);
    if (t->head == NULL)
        return rcd__complain(CTL_REFUSED, "no memory for %s", t->file);
    memcpy(t->head, t->cells, t->columns * sizeof *t->head);
    t->rows--;
    memmove(t->cells, t->cells + t->columns, t->rows * t->columns * sizeof *t->cells);
    memmove(t->lines, t->lines + 1, t->rows * sizeof *t->lines);
    return CTL_OK;
}

bool rcd__csv_has_head(const struct rcd__csv *t, size_t probe)
{
    const char *first = t->cells[probe];
    return !rcd__csv_is_number(first) && !is_missing(first) &&
           (t->rows == 1 || rcd__csv_is_number(t->cells[t->columns + probe]) ||
            is_missing(t->cells[t->columns + probe]));
}

/* The end of a line, which is cut off there; returns where the next one begins, NULL at the file's end. */
static char *cut_line(char *line)
{
    char *end = strpbrk(line, "\r\n");
    if (end == NULL)
        return NULL;
    const bool two = end[0] == '\r' && end[1] == '\n';
    *end = '\0';
    return end + (two ? 2 : 1);
}

/* Files that are text in another way, or no text, and would be cut off silently. */
static int check_text(const struct rcd__csv *t)
{
    const char *data = t->text.data, *nul = memchr(data, '\0', t->text.len - 1);
    if (strncmp(data, "\xff\xfe", 2) == 0 || strncmp(data, "\xfe\xff", 2) == 0)
        return rcd__complain(CTL_USAGE, "%s is UTF-16; save it as UTF-8", t->file);
    if (nul != NULL)
        return rcd__complain(CTL_USAGE, "%s: byte %zu is NUL: no text file", t->file,
                             (size_t)(nul - data));
    return CTL_OK;
}

int rcd__csv_read(struct rcd__csv *t, const char *file, bool spaces)
{
    *t = (struct rcd__csv){.file = file, .spaces = spaces};
    int status = rcd__read_whole(file, &t->text);
    if (status == CTL_OK && rcd_buf_append(&t->text, "", 1) != RCD_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", file);
    const char **found = rcd_calloc(CELLS_MAX, sizeof *found);
    if (found == NULL && status == CTL_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", file);
    if (status == CTL_OK)
        status = check_text(t);
    size_t cap = 0, number = 1;
    char *line = t->text.data;
    if (status == CTL_OK && strncmp(line, "\xef\xbb\xbf", 3) == 0)
        line += 3; /* spreadsheets mark UTF-8 so */
    for (; status == CTL_OK && line != NULL; number++) {
        char *next = cut_line(line);
        const bool remark = *line == '#' || (*line == '%' && t->rows == 0);
        if (!remark && line[strspn(line, " \t")] != '\0')
            status = add_row(t, line, number, &cap, found);
        line = next;
    }
    rcd_free(found);
    if (status == CTL_OK && t->rows == 0)
        status = rcd__complain(CTL_USAGE, "%s has no rows", file);
    return status;
}
