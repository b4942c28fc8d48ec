/* The election, and what follows from it for the command: one thread, which waits in poll(2) for signals, for the
 * library, for the keeper and for the time. */

#include "lead.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GO_ON = -1, AGAIN = -2 }; /* Beside exit statuses. */
/* How long the keeper has where there is no end of a lease to be in time for: to kill, and to pass a signal on. */
enum { KILL_MS = 1000, ANSWER_MS = 5000 };

enum stage { WAITING, WORKING, LOSING, OVER, LEAVING };

typedef struct {
    options *given;
    pid_t keeper;
    int socket; /* To the keeper. */
    int signals;
    int timer;
    el_election *election;
    bool is_ended;       /* The election has. */
    bool has_campaigned; /* At least once. */
    bool is_keeper_gone;
    enum stage stage;
    uint64_t term;       /* The token, while we are elected. */
    uint64_t works_for;  /* The token that the command was started with. */
    pid_t command;       /* 0: not known yet. */
    int64_t told;        /* The keeper knows that leading is certain until then. */
    int64_t give_up_at;  /* If the stage is WAITING. */
    int64_t kill_by;     /* Then the keeper must have killed if the stage is LOSING, or have heard if it is WORKING. */
    bool has_said_why;   /* Why the command must end. */
    bool has_no_grace;   /* It gets no SIGTERM. */
    bool has_terminal;   /* The command. */
    bool is_to_stop;     /* Somebody stops us as Ctrl-Z does. */
    int signal;          /* Which asks for the end; 0. */
    word end;            /* How the command ended, if the stage is OVER. */
    uint64_t leader_token;
    char leader[256];
    char trouble[512];   /* What keeps etcd from us; empty: nothing. */
} turn;

static const char *or_unknown(const turn *self) {
    return self->leader_token != 0 ? self->leader : "nobody that is known";
}

static void lose(turn *self, const el_event *event) {
    /* If it was not the clock alone, the place may be gone and another lead already: there is no time for SIGTERM. */
    bool at_once = event->status != EL_DEADLINE;
    int64_t now = now_ms();
    self->stage = LOSING;
    /* The keeper does it, or we do: of the reserve a half is left for that. */
    self->kill_by = earlier(now, self->told) + self->given->grace_ms + self->given->reserve_ms / 2;
    if (at_once)
        self->kill_by = now + KILL_MS;
    self->has_said_why = true;
    self->has_no_grace = at_once || self->given->grace_ms == 0;
    tell(self->socket, (word){LOSE, 0, at_once ? now : NEVER, 0});
    say(USUALLY, "the lead is lost: %s (%s); %s the command", event->message, el_status_name(event->status),
        self->has_no_grace ? "killing" : "ending");
}

static void on_event(const el_event *event, void *user_data) {
    turn *self = user_data;
    switch (event->type) {
    case EL_EVENT_ELECTED:
        self->term = event->token;
        say(IN_DETAIL, "elected, token %" PRIu64, event->token);
        break;
    case EL_EVENT_UNELECTED:
        self->term = 0;
        if (self->stage == WORKING)
            lose(self, event);
        else if (event->status != EL_STOPPED)
            say(IN_DETAIL, "not elected any more: %s", event->message);
        break;
    case EL_EVENT_LEADER:
        self->leader_token = event->token;
        snprintf(self->leader, sizeof self->leader, "%s", event->name);
        say(IN_DETAIL, "%s leads", or_unknown(self));
        break;
    case EL_EVENT_RETRYING:
        snprintf(self->trouble, sizeof self->trouble, "%s", event->status == EL_OK ? "" : event->message);
        if (event->status == EL_OK)
            say(USUALLY, "all is well again");
        else
            say(USUALLY, "retrying: %s (%s)", event->message, el_status_name(event->status));
        break;
    case EL_EVENT_ERROR:
        say(ALWAYS, "the election cannot go on: %s (%s)", event->message, el_status_name(event->status));
        break;
    }
}

/* Lets the command go on after a stop, with the terminal if that is ours to give. */
static void let_go_on(turn *self) {
    if (have_terminal() && self->command > 0 && is_terminal_ours()) {
        self->has_terminal = true;
        give_terminal(self->command);
    }
    tell(self->socket, (word){SIGNAL, SIGCONT, 0, 0});
}

static void on_child(turn *self) {
    /* Nobody else once the keeper is gone: what was its own is ours then, and is killed before it is waited for, as
       until then its numbers are nobody else's. */
    while (!self->is_keeper_gone) {
        siginfo_t child;
        child.si_pid = 0;
        self->is_keeper_gone = waitpid(self->keeper, NULL, WNOHANG) > 0;
        if (self->is_keeper_gone || waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) != 0 || child.si_pid == 0)
            return;
        if (child.si_pid != self->keeper && child.si_pid != self->command)
            waitpid(child.si_pid, NULL, WNOHANG);
    }
}

static void on_signal(turn *self, int number) {
    bool works = self->stage == WORKING || self->stage == LOSING || self->stage == OVER;
    bool is_for_good = number == SIGINT || number == SIGTERM || number == SIGQUIT;
    if (number == SIGCHLD) {
        on_child(self);
    } else if (number == SIGCONT) {
        self->is_to_stop = false;
        if (works)
            let_go_on(self);
    } else if (number == SIGTSTP) {
        self->is_to_stop = works;
        if (works)
            tell(self->socket, (word){SIGNAL, number, 0, 0});
        else
            stop_here();
    } else if (self->stage == LEAVING && self->signal != 0) {
        _exit(128 + number); /* Asked twice, we do not wait for etcd: the place runs out with the lease. */
    } else {
        if (works)
            tell(self->socket, (word){SIGNAL, number, 0, 0});
        if (!works || is_for_good)
            self->signal = number;
        if (self->stage == WORKING && is_for_good)
            self->kill_by = earlier(self->kill_by, now_ms() + ANSWER_MS);
    }
}

/* The command was stopped: on a terminal we stop with it, so that the shell can go on. */
static void on_stop(turn *self, int number) {
    bool follows = self->is_to_stop || (have_terminal() && number != SIGSTOP);
    bool wants_terminal = number == SIGTTIN || number == SIGTTOU;
    self->is_to_stop = false;
    if (follows) {
        take_terminal_back(self->command);
        if (stop_here() || is_terminal_ours()) {
            let_go_on(self);
            return;
        }
    }
    say(USUALLY, "the command was stopped by signal %d (%s)%s", number, strsignal(number),
        wants_terminal ? ": it gets the terminal only where that is its input and output, and lead's" : "");
}

static void on_word(turn *self, const word *news) {
    switch (news->kind) {
    case RUNS:
        self->command = news->value;
        say(IN_DETAIL, "the command runs, process %d", (int)news->value);
        break;
    case HEARD:
        if (self->stage == WORKING)
            self->kill_by = NEVER;
        break;
    case STOPS:
        on_stop(self, news->value);
        break;
    case KILLS:
        self->kill_by = NEVER;
        if (news->value != 0)
            say_unkillable(news->value);
        break;
    case ENDED:
        self->end = *news;
        self->stage = OVER;
        break;
    }
}

/* Tells the keeper of renewals. */
static void extend(turn *self) {
    int64_t now = now_ms(), left = el_time_left_ms(self->election);
    /* Less than that is the rounding of the two clocks. */
    bool is_longer = left > 0 && el_token(self->election) == self->works_for && now + left > self->told + 10;
    if (is_longer && tell(self->socket, (word){EXTEND, 0, now + left, 0}))
        self->told = now + left;
}

static int64_t next_time(const turn *self) {
    enum { MOMENT_MS = 10 };
    int64_t now = now_ms(), wait;
    switch (self->stage) {
    case WAITING:
        /* Elected and yet not leading, while the library makes sure of it after a jump of the wall clock: ask again. */
        return self->term != 0 ? now + MOMENT_MS : self->give_up_at;
    case WORKING:
        /* Soon after a renewal, and in time before the end that the keeper knows of. */
        wait = earlier((self->told - now) / 2, self->given->renew_ms / 4);
        return earlier(now + (wait > MOMENT_MS ? wait : MOMENT_MS), self->kill_by);
    case LOSING:
        return self->kill_by;
    default:
        return NEVER;
    }
}

/* Waits for something to happen, and takes it in. */
static void look(turn *self) {
    int news = self->election != NULL && !self->is_ended ? el_fd(self->election) : -1;
    set_timer(self->timer, next_time(self));
    int keeper = self->is_keeper_gone ? -1 : self->socket;
    struct pollfd sources[] = {
        {self->signals, POLLIN, 0}, {self->timer, POLLIN, 0}, {keeper, POLLIN, 0}, {news, POLLIN, 0}};
    poll(sources, 4, -1);
    word said;
    while (hear(self->socket, &said))
        on_word(self, &said);
    for (int number; (number = next_signal(self->signals)) != 0;)
        on_signal(self, number);
    if (self->election != NULL && !self->is_ended) {
        int32_t polled = el_poll(self->election, 0);
        if (polled < 0 && polled != EL_STOPPED)
            say(ALWAYS, "%s", el_last_error());
        self->is_ended = polled < 0;
    }
    if (self->stage == WORKING)
        extend(self);
    if ((self->stage == WORKING || self->stage == LOSING) && now_ms() >= self->kill_by) {
        say(ALWAYS, "the keeper process does not answer: killing it and the command");
        kill_group_of(self->command, self->keeper); /* The keeper may take a while to die. */
        kill(self->keeper, SIGKILL);
        self->kill_by = NEVER;
    }
}

static void wait_for_the_turn(turn *self) {
    int64_t wait = self->given->wait_ms;
    if (wait == 0) /* Not to wait in line is one thing, not to wait for etcd another. */
        wait = (int64_t)self->given->config.ttl_s * 1000;
    self->stage = WAITING;
    self->give_up_at = wait == NEVER ? NEVER : now_ms() + wait;
}

static void begin(turn *self) {
    int64_t now = now_ms(), left = el_time_left_ms(self->election);
    if (left <= 0 || el_token(self->election) != self->term)
        return; /* It is over already, and we are about to hear so. */
    self->works_for = self->term;
    self->told = now + left;
    self->command = 0;
    self->kill_by = NEVER;
    self->has_said_why = self->has_no_grace = false;
    self->has_terminal = have_terminal() && is_terminal_ours();
    self->stage = WORKING;
    tell(self->socket, (word){RUN, self->has_terminal, self->told, self->term});
}

static int cannot_start(const turn *self) {
    const char *command = self->given->command[0];
    int error = self->end.value;
    if (error < 0) {
        say(ALWAYS, "no process for the command: %s", strerror(-error));
        return FAILED;
    }
    say(ALWAYS, "\"%s\" cannot be run: %s", command, strerror(error));
    return error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

/* The command has ended, and all that it started. */
static int after_the_end(turn *self) {
    int status = self->end.value;
    uint64_t how = self->end.token;
    bool is_lost = (how & BY_LOSS) != 0;
    take_terminal_back(self->command);
    if ((how & NOT_STARTED) != 0)
        return cannot_start(self);
    if (is_lost && !self->has_said_why)
        say(USUALLY, "the lead is lost: no renewal was confirmed in time, or lead was stopped; the command was ended");
    if ((how & BY_FORCE) != 0 && !self->has_no_grace)
        say(USUALLY, "%s did not end on SIGTERM in time, and had to be killed",
            (how & LEFT_OTHERS) != 0 ? "what the command left behind" : "the command, or what it had started,");
    else if ((how & LEFT_OTHERS) != 0)
        say(USUALLY, "the command left processes behind, which were ended");
    int result = is_lost ? LOST : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    say(IN_DETAIL, is_lost ? "the command has ended with the lead" : "the command has ended, status %d", result);
    /* Ctrl-C is not sent to us while the command has the terminal. */
    int ended_by = !is_lost && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    bool was_interrupted = self->has_terminal && (ended_by == SIGINT || ended_by == SIGQUIT);
    if (!self->given->restarts || self->signal != 0 || was_interrupted)
        return result;
    if (!is_lost || self->is_ended || self->term == self->works_for)
        return AGAIN;
    wait_for_the_turn(self);
    return GO_ON;
}

/* Whether waiting has lasted long enough. With --wait 0 that is so as soon as another is known to lead. */
static bool gives_up(const turn *self) {
    bool has_waited = now_ms() >= self->give_up_at;
    bool is_taken = self->given->wait_ms == 0 && self->leader_token != 0;
    if (!has_waited && !is_taken)
        return false;
    const char *key = self->given->config.key;
    if (self->leader_token != 0)
        say(ALWAYS, "%s leads %s, and the turn did not come in the time that --wait gives", self->leader, key);
    else
        say(ALWAYS, "the turn for %s did not come in the time that --wait gives%s%s", key,
            self->trouble[0] != '\0' ? ": " : "", self->trouble);
    return true;
}

/* What to do next: go on, begin again with another election, or exit. */
static int decide(turn *self) {
    if (self->is_keeper_gone) {
        bool works = self->stage == WORKING || self->stage == LOSING;
        say(ALWAYS, "the keeper process is dead%s", works ? ": killing the command" : "");
        kill_children(self->command); /* What it kept has come to us. */
        take_terminal_back(self->command);
        return self->stage == LOSING ? LOST : FAILED;
    }
    if (self->stage == OVER)
        return after_the_end(self);
    if (self->stage != WAITING)
        return GO_ON;
    if (self->signal != 0)
        return 128 + self->signal;
    if (self->is_ended)
        return FAILED;
    if (self->term != 0)
        begin(self);
    else if (gives_up(self))
        return self->leader_token != 0 ? NO_TURN : NO_ETCD;
    return GO_ON;
}

/* Gives the place up. At the very end we wait for etcd only once: what it does not confirm runs out with the lease. */
static void leave(turn *self, bool is_last) {
    int64_t begun = now_ms();
    el_stop(self->election);
    self->stage = LEAVING;
    while (!self->is_ended)
        look(self);
    if (is_last && now_ms() - begun >= self->given->stop_timeout_ms)
        return;
    if (is_last)
        let_signals_end_us();
    el_free(self->election);
    self->election = NULL;
}

/* Takes part in the election until there is nothing more to do in it. */
static int campaign(turn *self) {
    options *given = self->given;
    given->config.on_event = on_event;
    given->config.user_data = self;
    int32_t started = EL_INVALID;
    if (load_password(given)) {
        started = el_start(&given->config, sizeof given->config, &self->election);
        forget_password(given);
        if (started != EL_OK)
            say(ALWAYS, "%s", in_words_of_options(el_last_error()));
    }
    if (started != EL_OK) /* Files that were good before may be so again. */
        return self->has_campaigned ? AGAIN : started == EL_INVALID ? USAGE : FAILED;
    self->has_campaigned = true;
    self->is_ended = false;
    self->term = self->leader_token = 0;
    self->trouble[0] = '\0';
    wait_for_the_turn(self);
    int result;
    do
        look(self);
    while ((result = decide(self)) == GO_ON);
    leave(self, result != AGAIN);
    return result;
}

static int take_all_turns(turn *self) {
    int result;
    while ((result = campaign(self)) == AGAIN) {
        /* A command that fails at once is not to keep etcd busy. After a loss we have been away for long enough. */
        bool is_lost = (self->end.token & BY_LOSS) != 0;
        self->end.token = 0;
        self->stage = WAITING;
        self->give_up_at = is_lost ? 0 : now_ms() + self->given->pause_ms;
        while (self->signal == 0 && !self->is_keeper_gone && now_ms() < self->give_up_at)
            look(self);
        if (self->signal != 0)
            return 128 + self->signal;
    }
    return result;
}

int take_turns(options *given, pid_t keeper, int socket) {
    turn self = {.given = given, .keeper = keeper, .socket = socket, .kill_by = NEVER};
    self.signals = hear_signals();
    self.timer = new_timer();
    if (self.signals < 0 || self.timer < 0) {
        say(ALWAYS, "no descriptor: %s", strerror(errno));
        return FAILED;
    }
    int result = take_all_turns(&self);
    if (!self.is_keeper_gone) {
        kill(keeper, SIGKILL); /* It has nothing to do any more. */
        waitpid(keeper, NULL, 0);
    }
    close(self.signals);
    close(self.timer);
    close(socket);
    if (self.election != NULL)
        _exit(result); /* Without a wait for its thread. */
    return result;
}
