/* The command line. Whatever cannot be used is refused here, or by the library before it touches any network. */

#include "manual.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_TTL_S = 300 };

static void refuse(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void refuse(const char *format, ...) {
    char why[900];
    va_list values;
    va_start(values, format);
    vsnprintf(why, sizeof why, format, values);
    va_end(values);
    say(ALWAYS, "%s", why);
    exit(USAGE);
}

/* A whole number, or as many thousandths as a decimal one has; -1: it is none, or too large. */
static int64_t number(const char *text, bool in_thousandths) {
    int64_t value = 0;
    int places = in_thousandths ? 3 : 0;
    const char *at = text;
    for (; isdigit((unsigned char)*at) && value < INT32_MAX; at++)
        value = value * 10 + (*at - '0');
    bool is_number = at > text;
    if (in_thousandths && is_number && *at == '.' && isdigit((unsigned char)at[1]))
        for (at++; isdigit((unsigned char)*at) && places > 0; at++, places--)
            value = value * 10 + (*at - '0');
    for (; places > 0; places--)
        value *= 10;
    return is_number && *at == '\0' ? value : -1;
}

/* "did you mean 30? " for "30s", where seconds are asked for; nothing if that would not do either. */
static const char *without_unit(const char *text, int64_t unit_ms, int64_t step_ms, int64_t most_ms) {
    static const struct { const char *name; int64_t ms; } units[] = {
        {"ms", 1}, {"s", 1000}, {"sec", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000},
    };
    static char meant[40];
    char digits[16] = "";
    size_t length = strspn(text, "0123456789.");
    if (length >= sizeof digits)
        return "";
    memcpy(digits, text, length);
    int64_t thousandths = number(digits, true);
    bool is_in_reach = thousandths > 0 && thousandths <= most_ms * 1000;
    for (size_t at = 0; is_in_reach && at < sizeof units / sizeof *units; at++) {
        int64_t ms = thousandths * units[at].ms / 1000;
        if (strcmp(text + length, units[at].name) != 0 || ms < step_ms || ms % step_ms != 0 || ms > most_ms)
            continue;
        snprintf(meant, sizeof meant, "did you mean %.10g? ", (double)ms / (double)unit_ms);
        return meant;
    }
    return "";
}

static int64_t seconds(enum id id, const char *text, int64_t most_s) {
    int64_t value = number(text, true);
    if (value < 0 || value > most_s * 1000)
        refuse("--%s is \"%s\"; %sgive seconds up to %" PRId64 ", such as 30 or 0.5", manual[id].name, text,
               without_unit(text, 1000, 1, most_s * 1000), most_s);
    return value;
}

static uint32_t whole(enum id id, const char *text, int32_t most, const char *unit) {
    int64_t value = number(text, false), unit_ms = id == TTL ? 1000 : 1;
    if (value < 1 || value > most)
        refuse("--%s is \"%s\"; %sgive whole %s from 1 to %" PRId32, manual[id].name, text,
               without_unit(text, unit_ms, unit_ms, most * unit_ms), unit, most);
    return (uint32_t)value;
}

static int32_t api(const char *text) {
    if (strcmp(text, "v2") == 0)
        return EL_API_V2;
    if (strcmp(text, "v3") == 0)
        return EL_API_V3;
    /* "v4", "V3" or "3": the newest, unless it is the other. */
    const char *digit = text + (*text == 'v' || *text == 'V');
    bool is_near = isdigit((unsigned char)digit[0]) && digit[1] == '\0';
    refuse("--api is \"%s\"; %sgive v2 or v3", text,
           !is_near ? "" : *digit == '2' ? "did you mean v2? " : "did you mean v3? ");
}

static void take(options *given, enum id id, char *value) {
    static const char *endpoints[1];
    el_config *config = &given->config;
    switch (id) {
    case ENDPOINTS: /* The library reads a list as etcdctl does. */
        endpoints[0] = value;
        config->endpoints = endpoints;
        config->endpoint_count = 1;
        break;
    case KEY: config->key = value; break;
    case NAME: config->name = value; break;
    case API: config->api = api(value); break;
    case WAIT: given->wait_ms = seconds(id, value, INT32_MAX / 1000); break;
    case ONCE: break;
    case RESTART: given->restarts = true; break;
    case PAUSE: given->pause_ms = seconds(id, value, 86400); break;
    case TTL: config->ttl_s = whole(id, value, MOST_TTL_S, "seconds"); break;
    case GRACE: given->grace_ms = seconds(id, value, MOST_TTL_S); break;
    case STEP_DOWN: config->step_down_ms = whole(id, value, MOST_TTL_S * 1000, "milliseconds"); break;
    case RENEW: config->renew_ms = whole(id, value, MOST_TTL_S * 1000, "milliseconds"); break;
    case REQUEST_TIMEOUT: config->request_timeout_ms = whole(id, value, MOST_TTL_S * 1000, "milliseconds"); break;
    case STOP_TIMEOUT: /* Zero would be the default. */
        config->stop_timeout_ms = (uint32_t)seconds(id, value, 3600);
        config->stop_timeout_ms += config->stop_timeout_ms == 0;
        break;
    case CACERT: config->ca_file = value; break;
    case CERT: config->cert_file = value; break;
    case KEY_FILE: config->key_file = value; break;
    case SERVER_NAME: config->tls_server_name = value; break;
    case USER:
        if (strchr(value, ':') != NULL) /* It may hold the password: not to be shown. */
            refuse("--user holds a colon; give the name alone, and the password in --password-file or "
                   PASSWORD_VARIABLE ": a command line is for everybody to read");
        config->username = value;
        break;
    case PASSWORD_FILE: given->password_file = value; break;
    case QUIET: most_said = ALWAYS; break;
    case VERBOSE: most_said = IN_DETAIL; break;
    case HELP: print_manual(); exit(0);
    case VERSION: printf("lead %s\n", el_version()); exit(0);
    case OPTIONS: break;
    }
}

/* The option that begins an argument, `--name` or `--name=value`. */
static enum id find(const char *argument, size_t length) {
    for (int id = 0; id < OPTIONS; id++)
        if (strlen(manual[id].name) == length && strncmp(manual[id].name, argument, length) == 0)
            return (enum id)id;
    if (length == strlen("password") && strncmp(argument, "password", length) == 0)
        refuse("--password is not taken: a command line is for everybody to read; give --password-file, or the "
               "environment variable " PASSWORD_VARIABLE);
    const char *nearest = nearest_option(argument, length);
    if (nearest != NULL)
        refuse("--%.*s is no option; did you mean --%s? `lead --help` has them all", (int)length, argument, nearest);
    refuse("--%.*s is no option; `lead --help` has them all", (int)length, argument);
}

/* For an argument that is no option and no value: it has one dash, or none. */
static void refuse_word(const char *argument) __attribute__((noreturn));

static void refuse_word(const char *argument) {
    if (strstr(argument, "://") != NULL && *argument != '-') /* A URL may hold a password: not to be shown. */
        refuse("the members of the cluster are given with spaces between them; give them to --endpoints with commas"
               " instead");
    /* Without a dash it is most likely the command, unless it is an option's name letter for letter. */
    const char *name = *argument == '-' ? argument + 1 : argument;
    /* What follows may be a password: not to be shown. */
    size_t length = strcspn(argument, "=:"), dash = (size_t)(name - argument);
    const char *nearest = nearest_option(name, strcspn(name, "="));
    if (dash == 0 && nearest != NULL && strcmp(nearest, name) != 0)
        nearest = NULL;
    if (nearest != NULL)
        refuse("\"%.*s\" is no option; did you mean --%s? Options come first, then --, then the command"
               " (`lead --help` is the manual)", (int)length, argument, nearest);
    refuse("\"%.*s\" is no option; options come first, then --, then the command (`lead --help` is the manual)",
           (int)length, argument);
}

static double in_seconds(int64_t ms) {
    return (double)ms / 1000;
}

/* The settings that would take effect; false: the library refuses this configuration. */
static bool ask_library(el_config config, el_effective *settings) {
    /* Nothing secret is read before the keeper runs. */
    config.username = config.cert_file = config.key_file = NULL;
    return el_config_settings(&config, sizeof config, settings, sizeof *settings) == EL_OK;
}

/* Two tenths of the ttl remain for the reserve, and for attempts to renew. */
static int64_t most_grace(const el_effective *settings) {
    return (int64_t)settings->ttl_ms * 8 / 10 - settings->renew_ms;
}

/* Says which lease would have room for it. */
static void refuse_grace(const options *given) __attribute__((noreturn));

static void refuse_grace(const options *given) {
    el_config other = given->config;
    el_effective settings = given->settings;
    for (other.ttl_s = 1; other.ttl_s <= MOST_TTL_S; other.ttl_s++)
        if (ask_library(other, &settings) && given->grace_ms <= most_grace(&settings))
            refuse("--grace is %g, and does not fit between the end of leading and the end of a lease of %g s; give "
                   "--ttl %" PRIu32 " or more, or a shorter grace", in_seconds(given->grace_ms),
                   in_seconds(given->settings.ttl_ms), other.ttl_s);
    refuse("--grace is %g, and does not fit into any lease; give at most %g", in_seconds(given->grace_ms),
           in_seconds(most_grace(&settings)));
}

/* How the margin before the lease's end is shared: the grace, and what is left for clocks and for the kernel. */
static void share_the_margin(options *given) {
    el_effective *settings = &given->settings;
    if (!ask_library(given->config, settings))
        refuse("%s", in_words_of_options(el_last_error()));
    int64_t tenth = settings->ttl_ms / 10, margin = settings->step_down_ms;
    if (given->config.step_down_ms == 0 && given->grace_ms > tenth) {
        if (given->grace_ms > most_grace(settings))
            refuse_grace(given);
        margin = given->grace_ms + tenth;
    }
    given->config.step_down_ms = (uint32_t)margin;
    given->reserve_ms = earlier(tenth, margin / 2);
    if (given->grace_ms < 0)
        given->grace_ms = earlier(tenth, margin - given->reserve_ms);
    if (given->grace_ms > margin - given->reserve_ms)
        refuse("--grace is %g, and --step-down-ms %" PRId64 " leaves room for %g, since %g must remain for clocks and "
               "for the kernel; give less, or leave --step-down-ms out", in_seconds(given->grace_ms), margin,
               in_seconds(margin - given->reserve_ms), in_seconds(given->reserve_ms));
}

static void check(options *given, char *const *values) {
    el_config *config = &given->config;
    static char name[300];
    if (values[ENDPOINTS] == NULL)
        refuse("--endpoints is missing; give the members of the etcd cluster, such as http://127.0.0.1:2379"
               " (`lead --help` is the manual)");
    if (values[KEY] == NULL)
        refuse("--key is missing; give the key of the election, such as /jobs/nightly");
    if (given->command == NULL || given->command[0] == NULL)
        refuse("the command is missing; write it at the end, after --");
    if (values[ONCE] != NULL && values[RESTART] != NULL)
        refuse("--once and --restart are both given; give one of them");
    if (values[QUIET] != NULL && values[VERBOSE] != NULL)
        refuse("--quiet and --verbose are both given; give one of them");
    if (values[PAUSE] != NULL && values[RESTART] == NULL)
        refuse("--pause is \"%s\" without --restart; give both, or neither", values[PAUSE]);
    if (values[PASSWORD_FILE] != NULL && values[USER] == NULL)
        refuse("--password-file is \"%s\" without --user; give both, or neither", values[PASSWORD_FILE]);
    if (values[CERT] != NULL && values[KEY_FILE] == NULL)
        refuse("--cert is \"%s\" without --key-file; give the certificate's private key as well", values[CERT]);
    if (values[KEY_FILE] != NULL && values[CERT] == NULL)
        refuse("--key-file is \"%s\" without --cert; give the key's certificate as well", values[KEY_FILE]);
    if (values[NAME] == NULL) {
        char host[256] = "";
        gethostname(host, sizeof host - 1);
        if (config->api == EL_API_V2)
            snprintf(name, sizeof name, "%s-%d", host, (int)getpid());
        else
            snprintf(name, sizeof name, "%s", host);
        config->name = name;
    }
    share_the_margin(given);
}

/* Whether nothing would be encrypted, so that etcdctl does not use its variables for TLS. */
static bool are_all_plain(const char *endpoints) {
    static const char plain[] = "http://";
    bool are_plain = endpoints != NULL;
    while (are_plain && *endpoints != '\0') {
        endpoints += strspn(endpoints, " ");
        are_plain = *endpoints == '\0' || strncmp(endpoints, plain, strlen(plain)) == 0;
        endpoints += strcspn(endpoints, ",");
        endpoints += *endpoints == ',';
    }
    return are_plain;
}

/* Takes from etcdctl's variables whatever the command line does not give, as etcdctl does. */
static void take_from_etcdctl(options *given, char **values) {
    static const struct { enum id id; const char *variable; } variables[] = {
        {ENDPOINTS, "ETCDCTL_ENDPOINTS"}, {CACERT, "ETCDCTL_CACERT"}, {CERT, "ETCDCTL_CERT"}, {KEY_FILE, "ETCDCTL_KEY"},
        {USER, "ETCDCTL_USER"},
    };
    given->etcdctl_password = getenv("ETCDCTL_PASSWORD");
    for (size_t at = 0; at < sizeof variables / sizeof *variables; at++) {
        enum id id = variables[at].id;
        const char *value = getenv(variables[at].variable);
        bool is_for_tls = id == CACERT || id == CERT || id == KEY_FILE;
        if (values[id] != NULL || value == NULL || *value == '\0' || (is_for_tls && are_all_plain(values[ENDPOINTS])))
            continue;
        values[id] = strdup(value);
        if (values[id] == NULL)
            refuse("there is no memory for %s", variables[at].variable);
        char *colon = id == USER ? strchr(values[id], ':') : NULL;
        if (colon != NULL) {
            *colon = '\0';
            given->etcdctl_password = colon + 1;
        }
        take(given, id, values[id]);
    }
}

void read_options(int argc, char **argv, options *given) {
    static char present[] = "";
    char *values[OPTIONS] = {NULL};
    int at = 1;
    *given = (options){.wait_ms = NEVER, .grace_ms = -1, .pause_ms = 1000};
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strcmp(argv[at], "-h") == 0)
            take(given, HELP, present);
        if (strncmp(argv[at], "--", 2) != 0)
            refuse_word(argv[at]);
        const char *name = argv[at] + 2;
        size_t length = strcspn(name, "=");
        enum id id = find(name, length);
        char *value = name[length] == '=' ? argv[at] + 2 + length + 1 : NULL;
        if (manual[id].argument == NULL && value != NULL)
            refuse("--%s is given \"%s\"; it takes no value", manual[id].name, value);
        if (manual[id].argument != NULL && value == NULL) {
            if (at + 1 >= argc || strcmp(argv[at + 1], "--") == 0)
                refuse("--%s has no value; give %s", manual[id].name, manual[id].argument);
            value = argv[++at];
        }
        /* Either may hold a password: not to be shown. */
        if (values[id] != NULL && id == ENDPOINTS)
            refuse("--endpoints is given twice; give it once, with commas between the members");
        if (values[id] != NULL && id == USER)
            refuse("--user is given twice; give it once");
        if (values[id] != NULL && manual[id].argument != NULL)
            refuse("--%s is given twice, \"%s\" and \"%s\"; give it once%s", manual[id].name, values[id], value,
                   id == KEY ? " (the private key of --cert is --key-file)" : "");
        values[id] = value != NULL ? value : present;
        take(given, id, value);
    }
    given->command = at < argc ? argv + at + 1 : NULL;
    take_from_etcdctl(given, values);
    check(given, values);
}

/* The library's name of a field, and ours. */
static const char *const fields[][2] = {
    {"ttl_s", "--ttl"}, {"renew_ms", "--renew-ms"}, {"step_down_ms", "--step-down-ms"},
    {"request_timeout_ms", "--request-timeout-ms"}, {"endpoint_count", "--endpoints"}, {"endpoints", "--endpoints"},
    {"ca_file", "--cacert"}, {"cert_file", "--cert"}, {"key_file", "--key-file"}, {"tls_server_name", "--server-name"},
    {"username", "--user"}, {"password", "the password"}, {"key", "--key"}, {"name", "--name"},
};

/* Whether the word that begins here is this one. A word without an underscore is a field only as the first of all. */
static bool is_field(const char *at, const char *field, bool is_first) {
    size_t length = strlen(field);
    bool ends = strncmp(at, field, length) == 0 && !isalnum((unsigned char)at[length]) && at[length] != '_';
    return ends && (is_first || strchr(field, '_') != NULL);
}

const char *in_words_of_options(const char *message) {
    static char words[900];
    size_t length = 0;
    bool is_quoted = false;
    for (const char *at = message; *at != '\0' && length + 32 < sizeof words;) {
        bool begins = at == message || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');
        const char *ours = NULL;
        for (size_t field = 0; begins && !is_quoted && ours == NULL && field < sizeof fields / sizeof *fields; field++)
            if (is_field(at, fields[field][0], at == message)) {
                ours = fields[field][1];
                at += strlen(fields[field][0]);
            }
        if (ours != NULL) {
            length += (size_t)snprintf(words + length, sizeof words - length, "%s", ours);
            continue;
        }
        is_quoted = is_quoted != (*at == '"' && (at == message || at[-1] != '\\'));
        words[length++] = *at++;
    }
    words[length] = '\0';
    return words;
}
