/* The terminal, so that a command can be used as if `lead` were not there.
 *
 * The command is a process group of its own, so that all of it can be killed. On a terminal only one group may read and
 * is sent Ctrl-C and Ctrl-Z: we hand that right to the command, and take it back. We do so only if both standard input
 * and output are the terminal: in `lead ... | less` it belongs to less. */

#include "lead.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int terminal = -1;

void find_terminal(void) {
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
}

bool have_terminal(void) {
    return terminal >= 0;
}

bool is_terminal_ours(void) {
    return terminal >= 0 && tcgetpgrp(terminal) == getpgrp();
}

/* To call both of these from the background needs SIGTTOU to be blocked. */
void give_terminal(pid_t group) {
    tcsetpgrp(terminal, group);
}

void take_terminal_back(pid_t from) {
    pid_t now = terminal >= 0 ? tcgetpgrp(terminal) : -1;
    /* Not if somebody else has it by now: a shell that has put us into the background. */
    if (now > 0 && (now == from || (kill(-now, 0) != 0 && errno == ESRCH)))
        tcsetpgrp(terminal, getpgrp());
}
