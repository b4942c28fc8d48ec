/* The processes that have this one for a parent: the command, and whatever it left behind.
 *
 * A process of which the parent dies becomes a child of the nearest "subreaper" above it, even if it has left its group
 * or its session. So whoever is one gets hold of all that a command has started, step by step: what it kills makes
 * orphans of others, which are its children next. A child that was not waited for keeps its number, so that nobody else
 * can be hit. */

#include "lead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A set of processes that only grows. */
typedef struct {
    pid_t *pids;
    size_t count;
} set;

static set spared; /* Not ours. */
static set asked;  /* Were sent SIGTERM. */

static bool is_in(const set *these, pid_t pid) {
    for (size_t at = 0; at < these->count; at++)
        if (these->pids[at] == pid)
            return true;
    return false;
}

static void add(set *these, pid_t pid) {
    pid_t *more = realloc(these->pids, (these->count + 1) * sizeof *more);
    if (more == NULL)
        return; /* It is asked once more, or not spared in an emergency: better than to stand still. */
    these->pids = more;
    these->pids[these->count++] = pid;
}

/* Reads who a process is; false if it is gone, or dead and not yet waited for. */
static bool look_at(const char *pid, pid_t *parent, pid_t *group) {
    char path[64], stat[512], state;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t length = read(file, stat, sizeof stat - 1);
    close(file);
    stat[length > 0 ? length : 0] = '\0';
    /* A name may hold anything, so the numbers begin after the last bracket. */
    const char *rest = strrchr(stat, ')');
    bool is_process = rest != NULL && sscanf(rest + 1, " %c %d %d", &state, parent, group) == 3;
    return is_process && state != 'Z' && state != 'X';
}

/* Calls `found` for each living child. */
static void for_each_child(void (*found)(pid_t pid, pid_t group, void *data), void *data) {
    pid_t own = getpid();
    DIR *all = opendir("/proc");
    if (all == NULL)
        return;
    for (struct dirent *one; (one = readdir(all)) != NULL;) {
        pid_t parent, group;
        bool is_process = one->d_name[0] >= '1' && one->d_name[0] <= '9';
        if (is_process && look_at(one->d_name, &parent, &group) && parent == own)
            found((pid_t)atoi(one->d_name), group, data);
    }
    closedir(all);
}

static void spare_one(pid_t pid, pid_t group, void *data) {
    (void)group;
    add(data, pid);
}

bool can_see_processes(void) {
    pid_t parent, group;
    return look_at("self", &parent, &group);
}

void spare_those_before(void) {
    if (has_children())
        for_each_child(spare_one, &spared);
}

void spare(pid_t pid) {
    add(&spared, pid);
}

void spare_nobody(void) {
    spared.count = 0;
}

void new_brood(void) {
    asked.count = 0;
}

struct sending {
    int number;
    pid_t except;
    pid_t refused;
};

static void send_to(pid_t pid, pid_t group, void *data) {
    struct sending *what = data;
    bool is_left_out = is_in(&spared, pid) || (what->except != 0 && (pid == what->except || group == what->except));
    if (is_left_out || (what->number == SIGTERM && is_in(&asked, pid)))
        return;
    if (kill(pid, what->number) != 0 && errno == EPERM)
        what->refused = pid;
    if (what->number == SIGTERM) {
        kill(pid, SIGCONT); /* One that is stopped would not hear. */
        add(&asked, pid);
    }
}

pid_t signal_children(int number, pid_t except) {
    struct sending what = {number, except, 0};
    for_each_child(send_to, &what);
    return what.refused;
}

static void count(pid_t pid, pid_t group, void *data) {
    (void)group;
    if (!is_in(&spared, pid))
        ++*(int *)data;
}

bool has_children(void) {
    siginfo_t any;
    if (waitid(P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT) != 0)
        return false; /* None at all: the usual case, without a look at the whole machine. */
    if (spared.count == 0)
        return true;
    int others = 0;
    for_each_child(count, &others);
    return others > 0;
}

void kill_children(pid_t first) {
    const struct timespec look_again = {0, 10 * 1000 * 1000};
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    siginfo_t child;
    bool has_said = false;
    do {
        /* As long as it is our child, the number of its group is nobody else's. */
        if (first > 0 && waitid(P_PID, (id_t)first, &child, WEXITED | WNOHANG | WNOWAIT) == 0)
            kill(-first, SIGKILL);
        pid_t refused = signal_children(SIGKILL, 0);
        if (refused != 0 && !has_said)
            say_unkillable(refused);
        has_said = has_said || refused != 0;
        /* What one that has ended leaves to us is next: there may be many generations, and little time. */
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            sigtimedwait(&ends, NULL, &look_again);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    } while (has_children());
}
