/* The election, and what follows from it for the command: one thread, which waits in poll(2) for signals, for the
 * library, for the keeper and for the time. */

#include "turn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GO_ON = -1, AGAIN = -2 }; /* Beside exit statuses. */
/* A wake-up that is so late means that we stood still. */
enum { STANDSTILL_MS = 300 };
/* How long the end waits for an etcd that is out of reach: the place runs out with its lease. */
enum { LAST_TRY_MS = 1000 };
/* The least pause after something that could not start, or was refused. */
enum { RETRY_MS = 1000 };

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
        wait = earlier((self->told - now) / 2, self->given->settings.renew_ms / 4);
        return earlier(now + (wait > MOMENT_MS ? wait : MOMENT_MS), self->kill_by);
    case LOSING:
        return self->kill_by;
    case LEAVING:
        return self->give_up_at;
    default:
        return NEVER;
    }
}

/* Waits for something to happen, and takes it in. */
static void look(turn *self) {
    int news = self->election != NULL && !self->is_ended ? el_fd(self->election) : -1;
    int64_t due = next_time(self);
    set_timer(self->timer, due);
    int keeper = self->is_keeper_gone ? -1 : self->socket;
    struct pollfd sources[] = {
        {self->signals, POLLIN, 0}, {self->timer, POLLIN, 0}, {keeper, POLLIN, 0}, {news, POLLIN, 0}};
    poll(sources, 4, -1);
    int64_t now = now_ms();
    if (due != NEVER && now > due + STANDSTILL_MS && self->kill_by != NEVER)
        self->kill_by = now + KILL_MS;
    word said;
    while (hear(self->socket, &said))
        on_word(self, &said);
    for (int number; (number = next_signal(self->signals)) != 0;)
        on_signal(self, number);
    if (self->election != NULL && !self->is_ended) {
        int32_t polled;
        do /* The last call says, after a stop: the command has ended. */
            polled = el_poll(self->election, 0);
        while (polled > 0);
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
        wait = self->given->settings.ttl_ms;
    self->stage = WAITING;
    self->give_up_at = wait == NEVER ? NEVER : now_ms() + wait;
}

static void begin(turn *self) {
    int64_t now = now_ms(), left = el_time_left_ms(self->election);
    if (left <= 0 || el_token(self->election) != self->term)
        return; /* It is over already, and we are about to hear so. */
    self->works_for = self->term;
    self->has_led = true;
    self->told = now + left;
    self->command = 0;
    self->kill_by = self->told; /* The keeper does not start the command later than that. */
    self->has_said_why = self->has_no_grace = false;
    self->has_terminal = have_terminal() && is_terminal_ours();
    self->stage = WORKING;
    tell(self->socket, (word){RUN, self->has_terminal, self->told, self->term});
}

/* Of a machine that has none left just now, or of a program that is being replaced. */
static bool is_passing(int error) {
    static const int passing[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, ETXTBSY, EINTR};
    for (size_t at = 0; at < sizeof passing / sizeof *passing; at++)
        if (error == passing[at])
            return true;
    return false;
}

static int cannot_start(turn *self) {
    const char *command = self->given->command[0];
    int value = self->end.value, error = value < 0 ? -value : value;
    if (value < 0)
        say(ALWAYS, "no process for the command: %s", strerror(error));
    else
        say(ALWAYS, "\"%s\" cannot be run: %s", command, strerror(error));
    if (self->given->restarts && self->signal == 0 && is_passing(error)) {
        self->has_failed = true;
        return AGAIN;
    }
    return value < 0 ? FAILED : error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

static bool is_typed(int number) {
    return number == SIGINT || number == SIGQUIT;
}

/* The command has ended, and all that it started. */
static int after_the_end(turn *self) {
    int status = self->end.value;
    uint64_t how = self->end.token;
    bool is_lost = (how & BY_LOSS) != 0;
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
    /* Ctrl-C is not sent to us while the command has the terminal, so we go by the command's end: by the signal, or with
       the status that shells give to that. */
    bool may_be_typed = self->has_terminal && self->signal == 0 && !is_lost;
    if (may_be_typed && WIFSIGNALED(status) && is_typed(WTERMSIG(status)))
        self->typed = WTERMSIG(status);
    bool was_interrupted = may_be_typed && is_typed(result - 128);
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
        if (self->given->restarts && self->signal == 0)
            return AGAIN;
        return self->stage == LOSING ? LOST : FAILED;
    }
    if (self->stage == OVER)
        return after_the_end(self);
    if (self->stage != WAITING)
        return GO_ON;
    if (self->signal != 0)
        return 128 + self->signal;
    if (self->is_ended) /* What was refused may be allowed again, as files may be good again. */
        return (self->has_failed = self->given->restarts && self->has_led) ? AGAIN : FAILED;
    if (self->term != 0)
        begin(self);
    else if (gives_up(self))
        return self->leader_token != 0 ? NO_TURN : NO_ETCD;
    return GO_ON;
}

/* Gives the place up. At the very end we wait for etcd only once: what it does not confirm runs out with the lease. */
static void leave(turn *self, bool is_last) {
    int64_t begun = now_ms(), patience = self->given->settings.stop_timeout_ms;
    if (self->trouble[0] != '\0')
        patience = earlier(patience, LAST_TRY_MS);
    el_stop(self->election);
    self->stage = LEAVING;
    self->give_up_at = is_last ? begun + patience : NEVER;
    while (!self->is_ended && now_ms() < self->give_up_at)
        look(self);
    if (is_last && now_ms() - begun >= patience)
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
    self->has_failed = started != EL_OK;
    if (self->has_failed) /* Files that were good before may be so again. */
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

/* A new one in the place of one that is dead. The election has ended, so there is one thread again and no connection. */
static bool replace_keeper(turn *self) {
    close(self->socket);
    self->socket = -1;
    self->keeper = start_keeper(self->given, self->before, &self->socket);
    if (self->keeper < 0) {
        say(ALWAYS, "the keeper process cannot be started: %s", strerror(errno));
        return false;
    }
    spare(self->keeper);
    self->is_keeper_gone = false;
    self->kill_by = NEVER;
    return true;
}

/* Between two elections. A command that fails at once is not to keep etcd busy. After a loss we have been away for long
   enough. */
static void pause_before_the_next(turn *self) {
    bool is_lost = (self->end.token & BY_LOSS) != 0;
    int64_t pause = is_lost ? 0 : self->given->pause_ms;
    if (self->is_keeper_gone && !replace_keeper(self))
        self->has_failed = true;
    if (self->has_failed && pause < RETRY_MS)
        pause = RETRY_MS;
    self->end.token = 0;
    self->stage = WAITING;
    self->give_up_at = now_ms() + pause;
    do /* Signals are heard here alone. */
        look(self);
    while (self->signal == 0 && now_ms() < self->give_up_at);
}

static int take_all_turns(turn *self) {
    int result;
    while ((result = campaign(self)) == AGAIN) {
        do
            pause_before_the_next(self);
        while (self->signal == 0 && self->is_keeper_gone);
        if (self->signal != 0)
            return 128 + self->signal;
    }
    return result;
}

int take_turns(options *given, const inherited *before, pid_t keeper, int socket) {
    turn self = {.given = given, .before = before, .keeper = keeper, .socket = socket, .kill_by = NEVER};
    self.signals = hear_signals();
    self.timer = new_timer();
    if (self.signals < 0 || self.timer < 0) {
        say(ALWAYS, "no descriptor: %s", strerror(errno));
        return FAILED;
    }
    int result = take_all_turns(&self);
    if (!self.is_keeper_gone) {
        kill(self.keeper, SIGKILL); /* It has nothing to do any more. */
        waitpid(self.keeper, NULL, 0);
    }
    close(self.signals);
    close(self.timer);
    close(self.socket);
    if (self.typed != 0)
        end_by(self.typed);
    if (self.election != NULL)
        _exit(result); /* Without a wait for its thread. */
    return result;
}
