/* npz.c - a reader of numpy's .npz: a zip archive (stored or deflated members, no encryption, no zip64 sizes) of .npy
 * arrays. Sizes and places are checked against the file before anything is read there. */
#include "npz.h"

#include "recurd/tensor.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

enum {
    END_LEN = 22,
    COMMENT_MAX = 65535,
    ENTRY_LEN = 46,
    LOCAL_LEN = 30,
    MAX_BYTES = 1 << 30,
    MAX_ARRAYS = 64,
    RANK_MAX = 8
};

struct array {
    char name[128];
    char kind; /* f i u b U S */
    size_t item, n, rank;
    size_t dims[RANK_MAX];
    bool columns;         /* stored column after column */
    struct rcd_buf bytes; /* of the member; the data begin at `data` */
    size_t data;
};

static uint32_t u16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const unsigned char *p)
{
    return u16(p) | u16(p + 2) << 16;
}

/* ---- zip ------------------------------------------------------------------------------------------- */

/* Where the list of members ends: the last such mark in the file. NULL: none. */
static const unsigned char *find_end(const unsigned char *file, size_t len)
{
    for (size_t back = END_LEN; back <= len && back <= END_LEN + COMMENT_MAX; back++) {
        const unsigned char *p = file + len - back;
        if (u32(p) == 0x06054b50)
            return p;
    }
    return NULL;
}

static int inflate_member(const char *path, const char *name, const unsigned char *from,
                          size_t packed, size_t size, struct rcd_buf *out)
{
    char *to = rcd_calloc(1, size + 1);
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)from, .avail_in = (uInt)packed};
    if (to == NULL)
        return rcd__complain(CTL_REFUSED, "no memory for %s", path);
    z.next_out = (unsigned char *)to;
    z.avail_out = (uInt)size;
    int rc = inflateInit2(&z, -MAX_WBITS);
    if (rc == Z_OK) {
        rc = inflate(&z, Z_FINISH);
        inflateEnd(&z);
    }
    const bool good = rc == Z_STREAM_END && z.total_out == size;
    int status = good ? CTL_OK : rcd__complain(CTL_USAGE, "%s: %s is damaged", path, name);
    if (good && rcd_buf_append(out, to, size) != RCD_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", path);
    rcd_free(to);
    return status;
}

static int read_member(const char *path, const unsigned char *file, size_t len,
                       const unsigned char *entry, struct array *a)
{
    const size_t packed = u32(entry + 20), size = u32(entry + 24), at = u32(entry + 42),
                 name = u16(entry + 28);
    snprintf(a->name, sizeof a->name, "%.*s", (int)name, (const char *)entry + ENTRY_LEN);
    if (packed == UINT32_MAX || size == UINT32_MAX || size > MAX_BYTES)
        return rcd__complain(CTL_USAGE, "%s: %s has more than %d bytes", path, a->name, MAX_BYTES);
    if ((u16(entry + 8) & 1) != 0 || (u16(entry + 10) != 0 && u16(entry + 10) != 8))
        return rcd__complain(CTL_USAGE, "%s: %s is encrypted or packed in an unknown way", path,
                             a->name);
    if (at > len || len - at < LOCAL_LEN || u32(file + at) != 0x04034b50)
        return rcd__complain(CTL_USAGE, "%s: %s is damaged", path, a->name);
    const size_t skip = LOCAL_LEN + u16(file + at + 26) + u16(file + at + 28);
    if (len - at < skip || len - at - skip < packed || (u16(entry + 10) == 0 && packed != size))
        return rcd__complain(CTL_USAGE, "%s: %s is cut off", path, a->name);
    const unsigned char *data = file + at + skip;
    int status = CTL_OK;
    if (u16(entry + 10) == 8)
        status = inflate_member(path, a->name, data, packed, size, &a->bytes);
    else if (rcd_buf_append(&a->bytes, data, size) != RCD_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", path);
    if (status == CTL_OK &&
        crc32_z(0, (const unsigned char *)a->bytes.data, size) != u32(entry + 16))
        status =
            rcd__complain(CTL_USAGE, "%s: %s is damaged (its checksum differs)", path, a->name);
    return status;
}

/* ---- npy ------------------------------------------------------------------------------------------- */

/* The head: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } */
static bool read_head(struct array *a, char *head)
{
    const char *descr = strstr(head, "'descr': '"), *shape = strstr(head, "'shape': (");
    if (descr == NULL || shape == NULL)
        return false;
    descr += strlen("'descr': '");
    if (*descr != '<' && *descr != '|')
        return false;
    a->kind = descr[1];
    a->item = strtoul(descr + 2, NULL, 10);
    if (strchr("fiubUS", a->kind) == NULL || a->item == 0 || a->item > 65536)
        return false;
    a->item *= a->kind == 'U' ? 4 : 1;
    a->n = 1;
    for (const char *p = shape + strlen("'shape': ("); *p != ')';) {
        char *end = NULL;
        const size_t dim = strtoul(p, &end, 10);
        if (end == p || a->rank == RANK_MAX || !rcd_mul(a->n, dim, &a->n))
            return false;
        a->dims[a->rank++] = dim;
        for (p = end; *p == ',' || *p == ' ';)
            p++;
    }
    a->columns = strstr(head, "'fortran_order': False") == NULL && a->rank > 1;
    return !a->columns || a->rank == 2;
}

/* Column after column, as numpy stores what was transposed (pairs of nodes to edge_index): row after row. */
static int to_rows(const char *path, struct array *a, size_t bytes)
{
    const size_t rows = a->dims[0], columns = a->dims[1], item = a->item;
    char *made = rcd_calloc(bytes + 1, 1), *from = a->bytes.data + a->data;
    if (made == NULL)
        return rcd__complain(CTL_REFUSED, "no memory for %s", path);
    for (size_t i = 0; i < a->n; i++)
        memcpy(made + i * item, from + (i % columns * rows + i / columns) * item, item);
    memcpy(from, made, bytes);
    rcd_free(made);
    return CTL_OK;
}

static int read_array(const char *path, struct array *a)
{
    const unsigned char *b = (const unsigned char *)a->bytes.data;
    const size_t len = a->bytes.len;
    size_t bytes = 0;
    if (len < 12 || memcmp(b, "\x93NUMPY", 6) != 0)
        return rcd__complain(CTL_USAGE, "%s: %s is no numpy array", path, a->name);
    const size_t begin = b[6] == 1 ? 10 : 12, head = b[6] == 1 ? u16(b + 8) : u32(b + 8);
    if (head == 0 || head > len - begin)
        return rcd__complain(CTL_USAGE, "%s: %s is cut off", path, a->name);
    a->data = begin + head;
    a->bytes.data[a->data - 1] = '\0'; /* in place of the newline */
    if (!read_head(a, a->bytes.data + begin))
        return rcd__complain(CTL_USAGE, "%s: %s: numbers and texts are read, not %.100s%s", path,
                             a->name, a->bytes.data + begin,
                             strstr(a->bytes.data + begin, "'|O'") != NULL
                                 ? " (a list of texts: save it with .astype(str))"
                                 : "");
    if (!rcd_mul(a->n, a->item, &bytes) || bytes > len - a->data)
        return rcd__complain(CTL_USAGE, "%s: %s is cut off", path, a->name);
    char *dot = strrchr(a->name, '.');
    if (dot != NULL && strcmp(dot, ".npy") == 0)
        *dot = '\0';
    return a->columns ? to_rows(path, a, bytes) : CTL_OK;
}

/* ---- tensors --------------------------------------------------------------------------------------- */

static void put_utf8(struct rcd_buf *out, uint32_t c)
{
    char t[4];
    size_t n = 0;
    if (c < 0x80)
        t[n++] = (char)c;
    else if (c < 0x800)
        t[n++] = (char)(0xc0 | c >> 6);
    else if (c < 0x10000)
        t[n++] = (char)(0xe0 | c >> 12);
    else
        t[n++] = (char)(0xf0 | (c >> 18 & 7));
    for (int shift = c < 0x80 ? -6 : c < 0x800 ? 0 : c < 0x10000 ? 6 : 12; shift >= 0; shift -= 6)
        t[n++] = (char)(0x80 | (c >> shift & 63));
    (void)rcd_buf_append(out, t, n);
}

static void put_text(struct rcd_buf *out, const struct array *a, const unsigned char *item)
{
    const size_t head = out->len;
    uint32_t len = 0;
    (void)rcd_buf_append(out, &len, sizeof len);
    for (size_t i = 0; i < a->item; i += a->kind == 'U' ? 4 : 1) {
        const uint32_t c = a->kind == 'U' ? u32(item + i) : item[i];
        if (c == 0)
            break;
        if (a->kind == 'U')
            put_utf8(out, c);
        else
            (void)rcd_buf_append(out, item + i, 1);
    }
    if (out->failed)
        return;
    len = (uint32_t)(out->len - head - sizeof len);
    memcpy(out->data + head, &len, sizeof len);
}

static int64_t whole(const struct array *a, const unsigned char *p)
{
    uint64_t v = 0;
    for (size_t i = 0; i < a->item && i < 8; i++)
        v |= (uint64_t)p[i] << 8 * i;
    const unsigned spare = 64 - 8 * (unsigned)(a->item < 8 ? a->item : 8);
    return a->kind == 'i' ? (int64_t)(v << spare) >> spare : (int64_t)v;
}

/* Of a half or a double, exactly. */
static double real(const struct array *a, const unsigned char *p)
{
    uint16_t half = 0;
    double d = 0;
    memcpy(a->item == 2 ? (void *)&half : (void *)&d, p, a->item);
    return a->item == 2 ? (double)rcd_f16_to_f32(half) : d;
}

/* A number of an array of doubles, halfs or whole numbers; false: its datatype cannot hold it. */
static bool put_number(struct rcd_buf *out, const struct array *a, const unsigned char *p)
{
    if (a->kind == 'f') {
        const double d = real(a, p);
        const float f = (float)d;
        (void)rcd_buf_append(out, &f, sizeof f);
        return !isinf(f) || isinf(d);
    }
    const int64_t v = whole(a, p);
    (void)rcd_buf_append(out, &v, sizeof v);
    return a->kind != 'u' || v >= 0;
}

/* The numbers or texts of an array, with the datatype that they get. */
static int put_data(const char *path, struct rcd_buf *out, const struct array *a, const char **ret)
{
    const unsigned char *p = (const unsigned char *)a->bytes.data + a->data;
    const bool text = a->kind == 'U' || a->kind == 'S', reals = a->kind == 'f';
    *ret = text ? "BYTES" : reals ? "FP32" : "INT64";
    if ((reals && a->item != 2 && a->item != 4 && a->item != 8) || (!text && a->item > 8))
        return rcd__complain(CTL_USAGE, "%s: %s has items of %zu bytes, kind '%c'", path, a->name,
                             a->item, a->kind);
    if (reals && a->item == 4)
        (void)rcd_buf_append(out, p, 4 * a->n);
    for (size_t i = 0; i < a->n && (!reals || a->item != 4); i++, p += a->item) {
        if (text)
            put_text(out, a, p);
        else if (!put_number(out, a, p))
            return rcd__complain(CTL_USAGE, "%s: item %zu of %s is beyond %s", path, i, a->name,
                                 *ret);
    }
    return CTL_OK;
}

static int put_array(const char *path, const struct array *a, json_t *inputs, struct rcd_buf *data)
{
    const size_t before = data->len;
    const char *datatype = NULL;
    int status = put_data(path, data, a, &datatype);
    if (status != CTL_OK)
        return status;
    json_t *shape = json_array();
    for (size_t d = 0; d < a->rank; d++)
        json_array_append_new(shape, json_integer((json_int_t)a->dims[d]));
    json_t *input =
        json_pack("{s:s, s:s, s:o, s:{s:I}}", "name", a->name, "datatype", datatype, "shape", shape,
                  "parameters", "binary_data_size", (json_int_t)(data->len - before));
    if (data->failed || input == NULL || json_array_append_new(inputs, input) != 0)
        return rcd__complain(CTL_REFUSED, "no memory for %s", path);
    return CTL_OK;
}

static int put_arrays(const char *path, const unsigned char *file, size_t len, json_t *inputs,
                      struct rcd_buf *data)
{
    const unsigned char *end = find_end(file, len);
    if (end == NULL)
        return rcd__complain(CTL_USAGE, "%s is no .npz file", path);
    size_t n = u16(end + 10), at = u32(end + 16);
    int status = n <= MAX_ARRAYS
                     ? CTL_OK
                     : rcd__complain(CTL_USAGE, "%s has more than %d arrays", path, MAX_ARRAYS);
    for (size_t i = 0; status == CTL_OK && i < n; i++) {
        struct array a = {.kind = 0};
        if (at > len || len - at < ENTRY_LEN || u32(file + at) != 0x02014b50 ||
            len - at - ENTRY_LEN < u16(file + at + 28))
            return rcd__complain(CTL_USAGE, "%s: the list of members is damaged", path);
        rcd_buf_init(&a.bytes, MAX_BYTES);
        status = read_member(path, file, len, file + at, &a);
        if (status == CTL_OK)
            status = read_array(path, &a);
        if (status == CTL_OK)
            status = put_array(path, &a, inputs, data);
        rcd_buf_done(&a.bytes);
        at += ENTRY_LEN + u16(file + at + 28) + u16(file + at + 30) + u16(file + at + 32);
    }
    return status;
}

int rcd__request_from_npz(const char *path, bool undirected, struct rcd_buf *out,
                          size_t *ret_json_len)
{
    struct rcd_buf file, data;
    json_t *inputs = json_array();
    rcd_buf_init(&data, MAX_BYTES);
    int status = rcd__read_whole(path, &file);
    if (status == CTL_OK)
        status = put_arrays(path, (const unsigned char *)file.data, file.len, inputs, &data);
    json_t *request =
        json_pack("{s:o, s:{s:b}}", "inputs", inputs, "parameters", "undirected", (int)undirected);
    char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    if (status == CTL_OK && text == NULL)
        status = rcd__complain(CTL_REFUSED, "no memory for %s", path);
    if (status == CTL_OK) {
        *ret_json_len = strlen(text);
        (void)rcd_buf_puts(out, text);
        if (data.len > 0)
            (void)rcd_buf_append(out, data.data, data.len);
        if (out->failed)
            status = rcd__complain(CTL_REFUSED, "no memory for %s", path);
    }
    free(text);
    json_decref(request);
    rcd_buf_done(&data);
    rcd_buf_done(&file);
    return status;
}
