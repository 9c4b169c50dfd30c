/* test_describe.c - the example file and --help are made from the table, and the example is valid. */
#include "recurd/config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(config, .timeout = 400);

static char *text_of(rcd_status (*write_it)(struct rcd_buf *))
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 20);
    cr_assert(write_it(&b) == RCD_OK);
    char *text = rcd_strndup(b.data, b.len);
    rcd_buf_done(&b);
    cr_assert(text != NULL);
    return text;
}

Test(config, example_with_every_option_set_is_the_default)
{
    char *text = text_of(rcd_config_write_example), path[] = "/tmp/recurd-config-XXXXXX";
    for (char *line = text; line != NULL && *line != '\0';) { /* "#key = value" -> "key = value" */
        if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z')
            line[0] = ' ';
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    char name[] = "recurd", flag[] = "--config";
    char *argv[] = {name, flag, path, NULL};
    struct rcd_config a, b;
    struct rcd_error err = {0};
    cr_assert(rcd_config_load(&a, 1, argv, NULL, &err) == RCD_OK, "%s", err.text);
    cr_assert(rcd_config_load(&b, 3, argv, NULL, &err) == RCD_OK, "%s", err.text);
    close(fd);
    unlink(path);
#define SAME_STRING(field) cr_expect(eq(str, a.field, b.field))
#define SAME_BOOL(field) cr_expect(a.field == b.field)
#define SAME_UINT(field) cr_expect(eq(u64, a.field, b.field))
#define SAME_BYTES SAME_UINT
#define SAME_DURATION SAME_UINT
#define SAME_ENUM(field) cr_expect(eq(int, a.field, b.field))
#define X(section, key, field, type, def, min, max, reload, choices, doc) SAME_##type(field);
#include "recurd/options.def"
#undef X
    rcd_config_done(&a);
    rcd_config_done(&b);
    rcd_free(text);
}

Test(config, help_names_every_flag)
{
    char *text = text_of(rcd_config_write_help);
    cr_expect(strstr(text, "--models DIR") != NULL);
    char flag[128];
#define X(section, key, field, type, def, min, max, reload, choices, doc)                          \
    snprintf(flag, sizeof flag, "--%s-%s", section, key);                                          \
    for (char *p = flag; *p != '\0'; p++)                                                          \
        *p = *p == '_' ? '-' : *p;                                                                 \
    cr_expect(strstr(text, flag) != NULL, "%s", flag);
#include "recurd/options.def"
#undef X
    for (const char *line = text; *line != '\0'; line += strspn(line, "\n")) {
        size_t len = strcspn(line, "\n");
        cr_expect(len <= 100, "%.*s", (int)len, line);
        line += len;
    }
    rcd_free(text);
}
