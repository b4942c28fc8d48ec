/* The password of --user: where it comes from, and that it goes nowhere else.
 *
 * Never from the command line, which everybody on the machine may read. Our variable is wiped where it stood, so that
 * neither the command nor /proc has it; the keeper, which the command is a child of, never knows it. etcdctl's variables
 * stay as they are: the command may run etcdctl. */

#include "lead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char password[2048];
static char *from_variable; /* A copy; NULL: there was none. */

static void wipe(volatile char *secret, size_t length) {
    while (length-- > 0)
        *secret++ = '\0';
}

void forget_password_variable(void) {
    /* It may stand there more than once. */
    const size_t length = strlen(PASSWORD_VARIABLE "=");
    for (char **one = environ; *one != NULL; one++)
        if (strncmp(*one, PASSWORD_VARIABLE "=", length) == 0)
            wipe(*one + length, strlen(*one + length));
    unsetenv(PASSWORD_VARIABLE);
}

/* The first line of a file; what is too long is left for the library to refuse. */
static bool read_file(const char *path, bool again) {
    struct stat kind;
    bool is_no_file = stat(path, &kind) == 0 && !S_ISREG(kind.st_mode);
    if (again && is_no_file) {
        say(ALWAYS, "--password-file \"%s\" can be read only once, and --restart reads it again; give a file, or the"
            " environment variable %s", path, PASSWORD_VARIABLE);
        return false;
    }
    if (is_no_file) /* We wait for the writer of a pipe, and a signal may end that wait. */
        let_signals_end_us();
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, password, sizeof password - 1);
    int error = errno;
    if (is_no_file)
        take_signals();
    if (length < 0)
        say(ALWAYS, "--password-file \"%s\" cannot be read: %s; give a file with the password, that this user may read",
            path, strerror(error));
    if (file >= 0)
        close(file);
    if (length < 0)
        return false;
    password[length] = '\0';
    password[strcspn(password, "\r\n")] = '\0';
    return true;
}

bool load_password(options *given) {
    const char *variable = getenv(PASSWORD_VARIABLE);
    if (from_variable == NULL && variable != NULL)
        from_variable = strdup(variable);
    forget_password_variable();
    if (given->config.username == NULL)
        return true;
    if (given->password_file != NULL) {
        /* Read anew for each election: it may have been replaced. */
        if (!read_file(given->password_file, given->restarts))
            return false;
        given->config.password = password;
    } else if (from_variable != NULL) {
        given->config.password = from_variable;
    } else if (given->etcdctl_password != NULL) {
        given->config.password = given->etcdctl_password;
    } else {
        say(ALWAYS, "--user is \"%s\" and there is no password; give --password-file, or the environment variable %s",
            given->config.username, PASSWORD_VARIABLE);
        return false;
    }
    return true;
}

void forget_all_passwords(void) {
    forget_password_variable();
    wipe(password, sizeof password);
    if (from_variable != NULL)
        wipe(from_variable, strlen(from_variable));
}

void forget_password(options *given) {
    wipe(password, sizeof password);
    given->config.password = NULL;
}
