/* The state of a turn: events.c changes it by what is heard, turn.c by what is decided. */

#ifndef TURN_H
#define TURN_H

#include "lead.h"

/* How long the keeper has where there is no end of a lease to be in time for: to kill, and to pass a signal on. */
enum { KILL_MS = 1000, ANSWER_MS = 5000 };

enum stage { WAITING, WORKING, LOSING, OVER, LEAVING };

typedef struct {
    options *given;
    const inherited *before;
    pid_t keeper;
    int socket; /* To the keeper. */
    int signals;
    int timer;
    el_election *election;
    bool is_ended;       /* The election has. */
    bool has_campaigned; /* At least once. */
    bool has_led;        /* At least once. */
    bool has_failed;     /* The election, the keeper or the command could not start, or was refused, since we last led. */
    bool is_keeper_gone;
    enum stage stage;
    uint64_t term;       /* The token, while we are elected. */
    uint64_t works_for;  /* The token that the command was started with. */
    pid_t command;       /* 0: not known yet, or ended. */
    int64_t told;        /* The keeper knows that leading is certain until then. */
    int64_t give_up_at;  /* If the stage is WAITING; if it is LEAVING, when we do not wait for etcd any more. */
    int64_t kill_by;     /* Then the keeper must have killed if the stage is LOSING, or have answered if it is WORKING. */
    bool has_said_why;   /* Why the command must end. */
    bool has_no_grace;   /* It gets no SIGTERM. */
    bool has_terminal;   /* The command. */
    bool is_to_stop;     /* Somebody stops us as Ctrl-Z does. */
    int signal;          /* The one that asks for the end; 0: none. */
    int typed;           /* The same, of one that the terminal has sent to the command and not to us: Ctrl-C. */
    word end;            /* How the command ended, if the stage is OVER. */
    uint64_t leader_token;
    char leader[256];
    char trouble[512];   /* The trouble with etcd, in words; empty: none. */
} turn;

/* events.c */
void on_event(const el_event *event, void *user_data); /* Of the library. */
void on_signal(turn *self, int number);
void on_word(turn *self, const word *news); /* Of the keeper. */

#endif
