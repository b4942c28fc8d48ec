/* The signals that `lead` itself takes, as words to read and not as interruptions. */

#include "lead.h"

#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static const int ending[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
static const int others[] = {SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGCHLD};

/* What was ignored when we were started (nohup) stays so, for the command too. */
static void add_unless_ignored(sigset_t *set, const int *numbers, size_t count) {
    for (size_t at = 0; at < count; at++) {
        struct sigaction before;
        if (sigaction(numbers[at], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaddset(set, numbers[at]);
    }
}

static sigset_t ours; /* That the descriptor is for. */

int hear_signals(void) {
    sigemptyset(&ours);
    add_unless_ignored(&ours, ending, sizeof ending / sizeof *ending);
    add_unless_ignored(&ours, others, sizeof others / sizeof *others);
    take_signals();
    return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

void take_signals(void) {
    sigset_t blocked = ours;
    sigaddset(&blocked, SIGTTOU); /* Or to hand the terminal over would stop us. */
    sigprocmask(SIG_BLOCK, &blocked, NULL);
}

int next_signal(int signals) {
    struct signalfd_siginfo signal;
    return read(signals, &signal, sizeof signal) == (ssize_t)sizeof signal ? (int)signal.ssi_signo : 0;
}

void let_signals_end_us(void) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t at = 0; at < sizeof ending / sizeof *ending; at++)
        sigaddset(&set, ending[at]);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void end_by(int number) {
    sigset_t set;
    prctl(PR_SET_DUMPABLE, 0); /* The command has left its core, if it is to leave any. */
    kill(0, number);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

bool stop_here(pid_t target) {
    sigset_t stop, go_on;
    struct timespec no_time = {0, 0};
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    sigemptyset(&go_on);
    sigaddset(&go_on, SIGCONT);
    kill(target, SIGTSTP);
    /* The library's thread has it blocked: we take it, here. */
    sigprocmask(SIG_UNBLOCK, &stop, NULL);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    /* We take that as well: left to be read once more, it would let the command go on after its next stop. */
    return sigtimedwait(&go_on, NULL, &no_time) == SIGCONT;
}
