/* lead - runs a command only while this host leads an election on etcd.
 *
 *     lead --endpoints http://etcd-1:2379,http://etcd-2:2379 --key /jobs/nightly -- ./job --all
 *
 * Run the same line on many hosts: one of them runs the command, the others wait in line. `lead --help` is the manual.
 *
 * How it works: two processes, and the command.
 *
 *     lead         waits for its turn, hears signals, exits with the command's status           turn.c
 *      `- keeper   starts the command and ends it before the lease can pass on, come what may    keeper.c
 *          `- the command, a process group of its own, and all that it starts                    brood.c, terminal.c
 *
 * Each covers for the other. `lead` is stopped or dies: the keeper ends the command in time. The keeper is stopped or
 * dies: `lead` kills the command. The command's first process dies with the keeper even if both are killed at once. */

#include "lead.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Descriptors of ours must not land where the command expects its input and output. */
static void fill_standard_descriptors(void) {
    int filler;
    do
        filler = open("/dev/null", O_RDWR);
    while (filler >= 0 && filler <= STDERR_FILENO);
    if (filler >= 0)
        close(filler);
}

int main(int argc, char **argv) {
    fill_standard_descriptors();
    options given;
    read_options(argc, argv, &given);
    inherited before;
    sigprocmask(SIG_SETMASK, NULL, &before.mask);
    struct sigaction normal = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGCHLD, &normal, &before.child);
    sigaction(SIGPIPE, &ignored, &before.pipe);
    if (!can_see_processes())
        return FAILED;
    find_terminal();
    /* Orphans of a keeper that was killed are to come to us, not to init. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    spare_those_before();
    /* Now, while there is one thread, no connection and no password. */
    int socket;
    pid_t keeper = start_keeper(&given, &before, &socket);
    if (keeper < 0) {
        say(ALWAYS, "the keeper process cannot be started: %s", strerror(errno));
        return FAILED;
    }
    spare(keeper);
    return take_turns(&given, &before, keeper, socket);
}
