/* Events of the library, signals, and words of the keeper: each changes the state of the turn. */

#include "turn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
    /* After a standstill of both of us it has not had its time yet. */
    if (at_once || self->kill_by <= now)
        self->kill_by = now + KILL_MS;
    self->has_said_why = true;
    self->has_no_grace = at_once || self->given->grace_ms == 0;
    tell(self->socket, (word){LOSE, 0, at_once ? now : NEVER, 0});
    say(USUALLY, "the lead is lost: %s (%s); %s the command", event->message, el_status_name(event->status),
        self->has_no_grace ? "killing" : "ending");
}

void on_event(const el_event *event, void *user_data) {
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
    case EL_EVENT_ENDED:
        if (self->stage != LEAVING)
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
    while (!self->is_keeper_gone) {
        siginfo_t child;
        child.si_pid = 0;
        bool has_ended = waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid != 0;
        /* Asked afterwards: once the keeper is dead, what was its own is ours. That is killed before it is waited for, as
           until then its numbers are nobody else's. What was seen while the keeper lives is none of it. */
        self->is_keeper_gone = waitpid(self->keeper, NULL, WNOHANG) > 0;
        if (!has_ended || self->is_keeper_gone)
            return;
        waitpid(child.si_pid, NULL, WNOHANG);
        no_longer_spare(child.si_pid);
    }
}

void on_signal(turn *self, int number) {
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
            stop_here(getpid());
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
    bool was_told = self->is_to_stop; /* The sender has told the rest of our group as well, or did not mean it. */
    bool follows = was_told || (have_terminal() && number != SIGSTOP);
    bool wants_terminal = number == SIGTTIN || number == SIGTTOU;
    self->is_to_stop = false;
    if (wants_terminal && is_terminal_ours()) {
        /* We have handed it on, and a slow shell gave it to us once more. */
        let_go_on(self);
        return;
    }
    if (follows) {
        take_terminal_back(self->command);
        if (stop_here(was_told ? getpid() : 0) || is_terminal_ours()) {
            let_go_on(self);
            return;
        }
    }
    say(USUALLY, "the command was stopped by signal %d (%s)%s", number, strsignal(number),
        wants_terminal ? ": it gets the terminal only where that is its input and output, and lead's" : "");
}

void on_word(turn *self, const word *news) {
    switch (news->kind) {
    case RUNS:
        self->command = news->value;
        if (self->stage == WORKING && self->signal == 0)
            self->kill_by = NEVER;
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
        take_terminal_back(self->command);
        self->command = 0; /* The number may become another's. */
        break;
    }
}
