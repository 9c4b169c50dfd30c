/* args.c - the environment and the command line. */
#include "config_int.h"

#include <string.h>

/* Kubernetes sets NAME_PORT..., NAME_SERVICE_... in every pod for each service NAME; a service
 * called "recurd" must not keep recurd from starting. No section has these names. */
static bool is_service_link(const char *name)
{
    return strncmp(name, "RECURD_PORT", 11) == 0 || strncmp(name, "RECURD_SERVICE_", 15) == 0;
}

rcd_status rcd__config_read_env(struct rcd_config *c, char *const *environ_, struct rcd_error *err)
{
    for (char *const *e = environ_; e != NULL && *e != NULL; e++) {
        const char *equals = strchr(*e, '=');
        if (strncmp(*e, "RECURD_", 7) != 0 || equals == NULL || is_service_link(*e) ||
            strncmp(*e, "RECURD_CONFIG=", 14) == 0 ||
            strncmp(*e, "RECURD_SERVER=", 14) == 0) /* that one is recurctl's */
            continue;
        char name[RCD__NAME_MAX];
        size_t len = (size_t)(equals - *e);
        snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), *e);
        const struct rcd__option *o = rcd__option_find(name, RCD__BY_ENV);
        rcd_status status = o == NULL || len >= sizeof name
                                ? rcd__option_unknown("environment: ", name, RCD__BY_ENV, err)
                                : rcd__option_set(c, o, equals + 1, "environment: ", name, err);
        if (status != RCD_OK)
            return status;
    }
    return RCD_OK;
}

/* One argument as name and value; the value may stand in the next one. */
struct arg {
    char name[RCD__NAME_MAX];
    const char *value; /* NULL: none so far */
};

static void split(const char *text, struct arg *a)
{
    const char *equals = strchr(text, '=');
    size_t len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    snprintf(a->name, sizeof a->name, "%.*s",
             (int)(len < sizeof a->name ? len : sizeof a->name - 1), text);
    a->value = equals != NULL ? equals + 1 : NULL;
}

static const struct rcd__option *find_flag(const char *name)
{
    if (strcmp(name, "--models") == 0)
        return rcd__option_by_key("models", "dir");
    if (strcmp(name, "--listen") == 0)
        return rcd__option_by_key("server", "listen");
    return rcd__option_find(name, RCD__BY_FLAG);
}

/* --check and the like: set it and say that it was one. */
static bool take_switch(struct rcd_config *c, const char *name)
{
    bool check = strcmp(name, "--check") == 0, version = strcmp(name, "--version") == 0;
    bool help = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    c->check |= check;
    c->help |= help;
    c->version |= version;
    return check || help || version;
}

static rcd_status set_config_file(struct rcd_config *c, const char *path, struct rcd_error *err)
{
    char *copy = rcd_strdup(path);
    if (copy == NULL)
        return rcd_fail(err, RCD_ENOMEM, "--config: no memory");
    rcd_free(c->config_file);
    c->config_file = copy;
    return RCD_OK;
}

rcd_status rcd__config_read_args(struct rcd_config *c, int argc, char *const *argv,
                                 struct rcd_error *err)
{
    for (int i = 1; i < argc; i++) {
        struct arg a;
        char quoted[80];
        split(argv[i], &a);
        if (take_switch(c, a.name)) {
            if (a.value != NULL)
                return rcd_fail(err, RCD_EINVAL, "%s takes no value", a.name);
            continue;
        }
        bool is_config = strcmp(a.name, "--config") == 0;
        const struct rcd__option *o = find_flag(a.name);
        if (a.name[0] != '-')
            return rcd_fail(err, RCD_EINVAL, "'%s' is not a flag; recurd --help lists them",
                            rcd_quote(quoted, sizeof quoted, argv[i], strlen(argv[i])));
        if (o == NULL && !is_config)
            return rcd__option_unknown("", a.name, RCD__BY_FLAG, err);
        if (a.value == NULL && i + 1 < argc)
            a.value = argv[++i];
        if (a.value == NULL)
            return rcd_fail(err, RCD_EINVAL, "%s needs a value", a.name);
        rcd_status status = is_config ? set_config_file(c, a.value, err)
                                      : rcd__option_set(c, o, a.value, "", a.name, err);
        if (status != RCD_OK)
            return status;
    }
    return RCD_OK;
}

const char *rcd__config_file_arg(int argc, char *const *argv)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        struct arg a;
        split(argv[i], &a);
        bool takes_value = strcmp(a.name, "--config") == 0 || find_flag(a.name) != NULL;
        if (takes_value && a.value == NULL && i + 1 < argc)
            a.value = argv[++i];
        if (strcmp(a.name, "--config") == 0 && a.value != NULL)
            path = a.value;
    }
    return path;
}
