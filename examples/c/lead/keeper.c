/* The keeper: the process between `lead` and the command.
 *
 * It is the command's parent, and does one thing: end the command, with all that it has started, before the lease can
 * pass on. For that it needs nobody. It was told until when leading is certain, and is told again after each renewal;
 * when that time has come it sends SIGTERM, and SIGKILL before the margin is over, though `lead` be stopped, busy or
 * dead. The end of the socket is the end of `lead`.
 *
 *     certain ...............................| SIGTERM ............ SIGKILL | reserve ...........| lease over
 *                                            |<------- grace ------------->|                    |
 *                                            |<------- margin (--step-down-ms) ---------------->|
 *
 * The reserve is for the kernel, which may take a while to end processes, and for clocks that do not run alike.
 *
 * It is forked before the election begins, so it has one thread, no connection and no password, and nothing of that
 * reaches the command. It has a group of its own and lets no signal through: neither Ctrl-Z nor a kill of the group of
 * `lead` stops it. It prints nothing, since that might make it wait: what there is to say it tells `lead`. If it is
 * killed itself, the command gets SIGKILL from the kernel and the rest becomes children of `lead`, which kills them. */

#include "lead.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* While processes are being killed: how long until the first and, at most, the next look for more of them. */
enum { FIRST_LOOK_MS = 10, NEXT_LOOK_MS = 1000 };

enum stage { IDLE, RUNNING, ENDING, KILLING };

typedef struct {
    const options *given;
    const inherited *before;
    int lead; /* The socket; -1 once `lead` is gone. */
    int signals;
    int timer;
    enum stage stage;
    pid_t command;      /* The first process, and so the number of its group; 0 once it was waited for. */
    bool was_asked;     /* The group was sent SIGTERM. */
    int failure;        /* Where the command's errno comes from, if it cannot be executed. */
    int status;         /* Of the command, as wait gives it. */
    int64_t until;      /* Leading is certain until then. */
    int64_t kill_at;    /* If the stage is ENDING. */
    int64_t look_after; /* If it is KILLING. */
    uint64_t how;       /* BY_LOSS and so on. */
} keeper;

bool tell(int socket, word what) {
    return send(socket, &what, sizeof what, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof what;
}

bool hear(int socket, word *what) {
    ssize_t length;
    do
        length = recv(socket, what, sizeof *what, MSG_DONTWAIT);
    while (length < 0 && errno == EINTR);
    if (length == (ssize_t)sizeof *what)
        return true;
    what->kind = length < 0 && errno == EAGAIN ? -1 : 0;
    return false;
}

/* In the child: becomes the command. */
static void become_command(const keeper *self, const word *run, pid_t parent, int failure) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(FAILED);
    if (run->value != 0)
        give_terminal(getpid());
    char token[32];
    snprintf(token, sizeof token, "%" PRIu64, run->token);
    setenv("ETCD_LEADER_TOKEN", token, 1);
    setenv("ETCD_LEADER_KEY", self->given->config.key, 1);
    setenv("ETCD_LEADER_NAME", self->given->config.name, 1);
    sigaction(SIGCHLD, &self->before->child, NULL);
    sigaction(SIGPIPE, &self->before->pipe, NULL);
    sigprocmask(SIG_SETMASK, &self->before->mask, NULL);
    execvp(self->given->command[0], self->given->command);
    int error = errno;
    if (write(failure, &error, sizeof error) < 0)
        _exit(FAILED);
    _exit(NOT_FOUND);
}

/* All that was started has ended. */
static void finish(keeper *self) {
    int error;
    if (read(self->failure, &error, sizeof error) == (ssize_t)sizeof error) {
        self->how |= NOT_STARTED;
        self->status = error;
    }
    close(self->failure);
    self->stage = IDLE;
    word end = {ENDED, self->status, 0, self->how};
    /* This one must not get lost. We may wait for a reader now: there is nothing else to do. */
    if (self->lead >= 0 && send(self->lead, &end, sizeof end, MSG_NOSIGNAL) < 0)
        return; /* It is dead, and the next look at the socket says so. */
}

static void start(keeper *self, const word *run) {
    int ends[2];
    pid_t parent = getpid();
    self->until = run->until_ms;
    new_brood();
    if (now_ms() >= self->until) { /* The order came late. */
        tell(self->lead, (word){ENDED, 0, 0, BY_LOSS});
        return;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        tell(self->lead, (word){ENDED, -errno, 0, NOT_STARTED});
        return;
    }
    pid_t child = fork();
    if (child == 0)
        become_command(self, run, parent, ends[1]);
    int error = errno;
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        tell(self->lead, (word){ENDED, -error, 0, NOT_STARTED});
        return;
    }
    setpgid(child, child); /* It does that as well; whoever is first. */
    self->command = child;
    self->was_asked = false;
    self->failure = ends[0];
    self->status = 0;
    self->how = 0;
    self->stage = RUNNING;
    tell(self->lead, (word){RUNS, child, 0, 0});
}

/* Sends a signal to the command's group. Its number cannot be another's while its first process was not waited for. */
static void signal_group(const keeper *self, int number) {
    if (self->command > 0)
        kill(-self->command, number);
}

/* Whoever is in the group now is not asked again when the command has ended; whoever comes later is. */
static void ask_group(keeper *self) {
    if (self->command > 0)
        note_group_is_asked(self->command);
    self->was_asked = true;
    signal_group(self, SIGTERM);
}

static void ask_to_end(keeper *self) {
    ask_group(self);
    signal_group(self, SIGCONT); /* What is stopped would not hear. */
    ask_children();
}

static void forward(keeper *self, int number) {
    tell(self->lead, (word){HEARD, 0, 0, 0});
    if (self->stage == IDLE)
        return;
    if (number == SIGTERM)
        ask_group(self);
    else
        signal_group(self, number);
    if (number == SIGTERM || number == SIGINT || number == SIGHUP || number == SIGQUIT)
        signal_group(self, SIGCONT);
}

/* Nobody may rely on our leading any more: the command has until `kill_at`. */
static void lose(keeper *self, int64_t kill_at) {
    if (self->stage == RUNNING) {
        self->how |= BY_LOSS;
        self->stage = ENDING;
        self->kill_at = kill_at;
        if (kill_at > now_ms())
            ask_to_end(self);
    } else if (self->stage == ENDING) {
        /* What had ended by itself had ended in time; only what it left behind has less. */
        self->kill_at = earlier(self->kill_at, kill_at);
    }
}

/* The last moment for SIGKILL, if we lose now. */
static int64_t grace_ends(const keeper *self) {
    return earlier(now_ms(), self->until) + self->given->grace_ms;
}

static void obey(keeper *self) {
    word order;
    while (self->lead >= 0) {
        if (!hear(self->lead, &order)) {
            if (order.kind != 0)
                return;
            close(self->lead);
            self->lead = -1;
            lose(self, grace_ends(self));
            return;
        }
        if (order.kind == RUN && self->stage == IDLE)
            start(self, &order);
        else if (order.kind == EXTEND && order.until_ms > self->until)
            self->until = order.until_ms;
        else if (order.kind == SIGNAL)
            forward(self, order.value);
        else if (order.kind == LOSE)
            lose(self, earlier(order.until_ms, grace_ends(self)));
    }
}

/* The command has ended and was not waited for yet, so that its group's number is still its own. */
static void command_ended(keeper *self) {
    if (self->stage == RUNNING) {
        self->stage = ENDING;
        self->kill_at = now_ms() + self->given->grace_ms;
        if (!self->was_asked)
            ask_group(self);
        signal_group(self, SIGCONT);
    } else if (self->stage == KILLING) {
        signal_group(self, SIGKILL);
    }
    waitpid(self->command, &self->status, 0);
    self->command = 0;
}

/* Waits for whoever has ended. */
static void reap(keeper *self) {
    for (;;) {
        siginfo_t child;
        child.si_pid = 0;
        if (waitid(P_ALL, 0, &child, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) != 0 || child.si_pid == 0)
            return;
        if (child.si_code != CLD_STOPPED && child.si_pid == self->command) {
            command_ended(self);
            continue;
        }
        if (child.si_code != CLD_STOPPED) {
            waitpid(child.si_pid, NULL, WNOHANG);
            continue;
        }
        /* Takes no more than the stop: it may have been killed since, and that is for the next look. */
        siginfo_t stop;
        stop.si_pid = 0;
        bool is_stopped = waitid(P_PID, (id_t)child.si_pid, &stop, WSTOPPED | WNOHANG) == 0 && stop.si_pid != 0;
        if (is_stopped && stop.si_pid == self->command && self->stage == RUNNING && self->lead >= 0)
            tell(self->lead, (word){STOPS, stop.si_status, 0, 0});
    }
}

/* Does what the time and the children ask for. */
static void advance(keeper *self) {
    int64_t now = now_ms();
    if ((self->stage == RUNNING || self->stage == ENDING) && now >= self->until)
        lose(self, self->until + self->given->grace_ms);
    bool are_left = self->stage == ENDING && self->command == 0 && has_children();
    if (are_left && (self->how & BY_LOSS) == 0)
        self->how |= LEFT_OTHERS;
    bool is_first = self->stage == ENDING && now >= self->kill_at && (self->command != 0 || are_left);
    if (is_first) {
        self->stage = KILLING;
        self->how |= BY_FORCE;
        self->look_after = FIRST_LOOK_MS;
    }
    if (self->stage == KILLING) {
        signal_group(self, SIGKILL);
        pid_t refused;
        kill_family(&refused);
        if (is_first && self->lead >= 0)
            tell(self->lead, (word){KILLS, refused, 0, 0});
        reap(self);
    }
    if (self->stage == ENDING && are_left)
        ask_children();
    if (self->stage != IDLE && self->command == 0 && !has_children())
        finish(self);
}

static int64_t next_time(keeper *self) {
    int64_t now = now_ms(), wait = self->look_after;
    switch (self->stage) {
    case RUNNING:
        return self->until;
    case ENDING:
        return self->until > now ? earlier(self->until, self->kill_at) : self->kill_at;
    case KILLING:
        self->look_after = earlier(2 * wait, NEXT_LOOK_MS);
        return now + wait;
    default:
        return NEVER;
    }
}

static void keep(keeper *self) {
    while (self->lead >= 0 || self->stage != IDLE) {
        set_timer(self->timer, next_time(self));
        struct pollfd sources[] = {{self->signals, POLLIN, 0}, {self->timer, POLLIN, 0}, {self->lead, POLLIN, 0}};
        poll(sources, 3, -1);
        struct signalfd_siginfo child;
        while (read(self->signals, &child, sizeof child) > 0) {
        }
        reap(self); /* First: who has ended has ended before whatever we hear now. */
        obey(self);
        advance(self);
    }
}

pid_t start_keeper(const options *given, const inherited *before, int *socket) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    pid_t child = fork();
    if (child != 0) {
        close(ends[1]);
        *socket = ends[0];
        return child;
    }
    close(ends[0]);
    setpgid(0, 0);
    prctl(PR_SET_NAME, "lead-keeper");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    forget_all_passwords();
    spare_nobody();
    sigset_t all, children;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    keeper self = {.given = given, .before = before, .lead = ends[1]};
    self.signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    self.timer = new_timer();
    if (self.signals >= 0 && self.timer >= 0)
        keep(&self);
    _exit(0);
}
