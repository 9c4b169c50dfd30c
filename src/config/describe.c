/* describe.c - the option table for people: conf/recurd.conf and --help. */
#include "config_int.h"

#include <string.h>

#ifndef RCD_VERSION
#define RCD_VERSION "unknown"
#endif

/* `text` in lines of at most `width` characters, each led by `lead`. */
static void put_wrapped(struct rcd_buf *out, const char *lead, const char *text, size_t width)
{
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > width) {
            len = width;
            while (len > 0 && text[len] != ' ')
                len--;
            len = len > 0 ? len : width;
        }
        (void)rcd_buf_printf(out, "%s%.*s\n", lead, (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

rcd_status rcd_config_write_example(struct rcd_buf *out)
{
    (void)rcd_buf_puts(
        out,
        "# recurd.conf - every option with its default. Written from the option table\n"
        "# (include/recurd/options.def): change it there, not here.\n"
        "#\n"
        "# Lines are `key = value` in [sections]; comments stand on lines of their own.\n"
        "# Sizes are bytes, or with K, M, G; times are seconds, or with ms, s, m, h, d.\n"
        "# Any option can also be given as environment variable RECURD_SECTION_KEY and, above\n"
        "# all others, as flag --section-key (underscores as hyphens): server.max_body is\n"
        "# RECURD_SERVER_MAX_BODY and --server-max-body. Options marked \"reload\" are read\n"
        "# again on SIGHUP; the others need a restart.\n");
    size_t n = 0;
    const struct rcd__option *o = rcd__options(&n);
    for (size_t i = 0; i < n; i++) {
        char range[128];
        if (i == 0 || strcmp(o[i].section, o[i - 1].section) != 0)
            (void)rcd_buf_printf(out, "\n[%s]\n", o[i].section);
        (void)rcd_buf_puts(out, "\n");
        put_wrapped(out, "# ", o[i].doc, 96);
        (void)rcd_buf_printf(out, "# Takes: %s.%s\n", rcd__option_range(&o[i], range, sizeof range),
                             o[i].reloadable ? " Reload: yes." : "");
        (void)rcd_buf_printf(out, "#%s =%s%s\n", o[i].key, *o[i].def != '\0' ? " " : "", o[i].def);
    }
    return out->failed ? RCD_ENOMEM : RCD_OK;
}

static const char help_head[] =
    "recurd " RCD_VERSION " - serves trained recurrent and graph networks (ONNX) over HTTP\n"
    "(Open Inference Protocol v2).\n"
    "\n"
    "Usage:  recurd [--config FILE] [--models DIR] [--listen ADDR:PORT] [OPTION VALUE]...\n"
    "\n"
    "  --models DIR        the model repository: DIR/<model>/<version>/model.onnx\n"
    "  --listen ADDR:PORT  where to serve\n"
    "  --config FILE       read options from FILE (conf/recurd.conf shows them all)\n"
    "  --check             check configuration and models, say what is wrong, do not serve\n"
    "  --help, --version\n"
    "\n"
    "Try it:\n"
    "  recurd --models models --listen 127.0.0.1:8000 &\n"
    "  curl -s 127.0.0.1:8000/v2\n"
    "\n"
    "Every option below can be given as flag (--server-max-body 8M), as environment variable\n"
    "(RECURD_SERVER_MAX_BODY=8M) or in the file (max_body = 8M under [server]); a flag wins over\n"
    "the environment, the environment over the file. Sizes take K, M, G; times ms, s, m, h, d.\n"
    "Options marked * are read again on SIGHUP.\n";

static const char help_tail[] =
    "\n"
    "Signals: SIGTERM or SIGINT finishes what runs and ends; a second one ends at once.\n"
    "SIGHUP reads the configuration and the model repository again.\n";

rcd_status rcd_config_write_help(struct rcd_buf *out)
{
    (void)rcd_buf_puts(out, help_head);
    size_t n = 0;
    const struct rcd__option *o = rcd__options(&n);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(o[i].section, o[i - 1].section) != 0)
            (void)rcd_buf_printf(out, "\n%s\n", o[i].section);
        char flag[RCD__NAME_MAX + 8], doc[512];
        snprintf(flag, sizeof flag, "--%s%s", o[i].flag, o[i].reloadable ? " *" : "");
        const char *stop = strstr(o[i].doc, ". ");
        int len = stop != NULL ? (int)(stop - o[i].doc) + 1 : (int)strlen(o[i].doc);
        snprintf(doc, sizeof doc, "%.*s [%s]", len, o[i].doc,
                 *o[i].def != '\0' ? o[i].def : "none");
        (void)rcd_buf_printf(out, "  %s\n", flag);
        put_wrapped(out, "        ", doc, 88);
    }
    (void)rcd_buf_puts(out, help_tail);
    return out->failed ? RCD_ENOMEM : RCD_OK;
}
