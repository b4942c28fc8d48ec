/* The options, and what --help says. */

#ifndef MANUAL_H
#define MANUAL_H

#include "lead.h"

enum id {
    ENDPOINTS, KEY, NAME, API,
    WAIT, ONCE, RESTART, PAUSE,
    TTL, GRACE, STEP_DOWN, RENEW, REQUEST_TIMEOUT, STOP_TIMEOUT,
    CACERT, CERT, KEY_FILE, SERVER_NAME, USER, PASSWORD_FILE,
    QUIET, VERBOSE, HELP, VERSION,
    OPTIONS
};

typedef struct {
    const char *name;     /* Without the dashes. */
    const char *argument; /* What its value is called; NULL: it has none. */
    const char *heading;  /* What stands above it in the manual; NULL: nothing. */
    const char *help;
} option;

/* What is not in here is no option, and what is in here is in the manual. */
extern const option manual[OPTIONS];

void print_manual(void);

/* The name of the option that is nearest to what was given (without dashes), maybe with a value; NULL: none is near. */
const char *nearest_option(const char *given, size_t length);

#endif
