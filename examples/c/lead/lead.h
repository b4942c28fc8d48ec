/* What the parts of `lead` know of each other. See main.c for how they work together. */

#ifndef LEAD_H
#define LEAD_H

#include <etcd_leader.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit statuses of our own; all others are the command's. */
enum { USAGE = 2, NO_ETCD = 69, NO_TURN = 75, LOST = 76, FAILED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

/* clock.c: milliseconds on the clock that the library uses too. It goes on while the machine sleeps. */
#define NEVER INT64_MAX
int64_t now_ms(void);
int64_t earlier(int64_t one, int64_t other);
int new_timer(void);                  /* A descriptor that is readable once the time has come; -1. */
void set_timer(int timer, int64_t at); /* NEVER: stops it. */

/* say.c: lines on standard error. Never blocks, and lets no control character through. */
enum { ALWAYS, USUALLY, IN_DETAIL };
extern int most_said; /* What is beyond this is not said. */
void say(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_unkillable(pid_t pid);

/* options.c: the command line. */
typedef struct {
    el_config config; /* Without the callback and the password. */
    const char *password_file;
    const char *etcdctl_password; /* From etcdctl's variables; NULL: they have none. */
    int64_t wait_ms; /* How long to wait for the turn; NEVER: for ever. */
    int64_t grace_ms;
    int64_t reserve_ms; /* What remains of the margin after the grace. */
    el_effective settings; /* What the library makes of `config`, but for the margin, which is set there. */
    int64_t pause_ms;
    bool restarts;
    char **command;
} options;
void read_options(int argc, char **argv, options *given); /* Does not return if there is nothing to run. */
const char *in_words_of_options(const char *message);      /* A refusal of the library's, in our own terms. */

/* password.c */
#define PASSWORD_VARIABLE "ETCD_LEADER_PASSWORD"
void forget_password_variable(void);
void forget_all_passwords(void); /* In a process that never needs one. */
bool load_password(options *given); /* False: it was said why. */
void forget_password(options *given);

/* brood.c: the processes that have this one for a parent. */
bool can_see_processes(void);  /* In /proc, all of them. False: it was said why. */
void spare_those_before(void); /* The children that this process has now, since before its exec, are not ours to end. */
void spare(pid_t pid);
void no_longer_spare(pid_t pid);       /* It was waited for, and its number may become another's. */
void spare_nobody(void);
void new_brood(void);                  /* Those that come from now on have not been asked to end. */
void ask_children(void);               /* SIGTERM to every child, and to each only once. */
void note_group_is_asked(pid_t group); /* Who is in it now is about to get SIGTERM. */
bool has_children(void);               /* Others than those that are spared. */
/* SIGKILL to every child, and to whom they have started, as far as they can be seen in one look. False: nobody was
   alive. `refused` becomes one that we may not kill, or 0. */
bool kill_family(pid_t *refused);
void kill_children(pid_t first); /* All of them, and the group of the first; returns when they are gone. */
void kill_group_of(pid_t first, pid_t parent); /* If the first is still a child of that parent. */

/* terminal.c: who may read the terminal and hears Ctrl-C. */
void find_terminal(void);
bool have_terminal(void);      /* Whether there is one that a command of ours may have. */
bool is_terminal_ours(void);   /* Whether it is ours to give just now. */
void give_terminal(pid_t group);
void take_terminal_back(pid_t from); /* From this group, or one that is gone. */

/* signals.c: those that `lead` takes. */
int hear_signals(void);         /* A descriptor that is readable when there is one; -1. */
int next_signal(int signals);   /* 0: none. */
void let_signals_end_us(void);  /* From now on, as they end any program. */
void take_signals(void);        /* Again. */
void end_by(int number);        /* With our whole group, as Ctrl-C does: also the script that we are a line of. Returns if
                                   the signal is ignored. */
bool stop_here(pid_t target);   /* Us (getpid()), or our whole group (0) as Ctrl-Z does. Returns when we go on; false if
                                   the kernel did not stop us: nobody is there to let us go on again. */

/* keeper.c: the process that runs the command, and ends it in time. */
enum { RUN = 1, EXTEND, SIGNAL, LOSE, /* and back: */ RUNS, HEARD, STOPS, KILLS, ENDED };
enum { BY_LOSS = 1, BY_FORCE = 2, NOT_STARTED = 4, LEFT_OTHERS = 8 }; /* How it ended. */
typedef struct {
    int32_t kind;
    int32_t value;    /* RUN: may it have the terminal? SIGNAL (to which HEARD is the answer), STOPS: which. RUNS: pid.
                         KILLS: pid of one that we may not kill. ENDED: its status as of wait; if it was not started,
                         execve's errno, or -errno. */
    int64_t until_ms; /* RUN, EXTEND: leading is certain until then. LOSE: kill at that time at the latest. */
    uint64_t token;   /* RUN: of the term. ENDED: how. */
} word;
bool tell(int socket, word what);
bool hear(int socket, word *what); /* False: nothing more now, or the other side is gone (kind 0). */
typedef struct {
    sigset_t mask;
    struct sigaction child, pipe;
} inherited; /* What the command is to find as we have found it. */
pid_t start_keeper(const options *given, const inherited *before, int *socket);

/* turn.c: the election, and what follows from it for the command. */
int take_turns(options *given, const inherited *before, pid_t keeper, int socket);

#endif
