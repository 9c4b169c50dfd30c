/* print_conf.c - writes conf/recurd.conf from the option table to standard output. */
#include "recurd/config.h"

int main(void)
{
    struct rcd_buf text;
    rcd_buf_init(&text, 1 << 20);
    int failed = rcd_config_write_example(&text) != RCD_OK ||
                 fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0;
    rcd_buf_done(&text);
    return failed;
}
