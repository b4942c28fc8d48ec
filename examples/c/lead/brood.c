/* The processes that have this one for a parent: the command, and whatever it left behind.
 *
 * A process of which the parent dies becomes a child of the nearest "subreaper" above it, even if it has left its group
 * or its session. So whoever is one gets hold of all that a command has started, step by step: what it kills makes
 * orphans of others, which are its children next. A child that was not waited for keeps its number, so that nobody else
 * can be hit.
 *
 * To ask is to go step by step. To kill there is little time, and there may be many generations: they are killed in one
 * look, and what that look misses is a child in the next. */

#include "lead.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open /* Headers older than the kernel; the numbers are the same everywhere. */
#define SYS_pidfd_open 434
#define SYS_pidfd_send_signal 424
#endif

/* A set of processes. */
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

static void remove_from(set *these, pid_t pid) {
    for (size_t at = 0; at < these->count; at++)
        if (these->pids[at] == pid)
            these->pids[at--] = these->pids[--these->count];
}

typedef struct {
    pid_t pid, parent, group;
    bool is_alive; /* Else it is dead, and not yet waited for. */
} process;

/* Reads the number that follows, and gives where it ends; NULL if there is none. With headers of glibc 2.38 or later, sscanf
 * and atoi would need that version at run time. */
static const char *read_number(const char *text, pid_t *number) {
    while (*text == ' ')
        text++;
    if (!isdigit((unsigned char)*text))
        return NULL;
    for (*number = 0; isdigit((unsigned char)*text); text++)
        *number = *number * 10 + (*text - '0');
    return text;
}

/* Where the text goes on after so many words. */
static const char *skip(const char *text, int words) {
    while (words-- > 0) {
        text += strspn(text, " ");
        text += strcspn(text, " ");
    }
    return text;
}

/* Reads what is known of a process; false if there is none. */
static bool look_at(const char *number, process *found) {
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", number);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t length = read(file, stat, sizeof stat - 1);
    close(file);
    stat[length > 0 ? length : 0] = '\0';
    /* A name may hold anything, so the numbers begin after the last bracket. */
    const char *rest = strrchr(stat, ')');
    if (rest == NULL || rest[1] == '\0' || rest[2] == '\0')
        return false;
    /* A process whose first thread has ended looks dead and goes on with the others: proc(5) has their number, too. */
    enum { FROM_STATE_TO_THREADS = 17 };
    pid_t threads;
    bool has_threads = read_number(skip(rest + 2, FROM_STATE_TO_THREADS), &threads) != NULL && threads > 1;
    found->is_alive = (rest[2] != 'Z' && rest[2] != 'X') || has_threads;
    rest = read_number(rest + 3, &found->parent);
    return rest != NULL && read_number(rest, &found->group) != NULL && read_number(stat, &found->pid) != NULL;
}

static bool look_at_number(pid_t pid, process *found) {
    char number[16];
    snprintf(number, sizeof number, "%d", (int)pid);
    return look_at(number, found);
}

/* False: they cannot be listed. */
static bool for_each_process(void (*found)(const process *one, void *data), void *data) {
    DIR *all = opendir("/proc");
    if (all == NULL)
        return false;
    process one;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && look_at(entry->d_name, &one))
            found(&one, data);
    closedir(all);
    return true;
}

static bool is_child(const process *one) {
    return one->is_alive && one->parent == getpid();
}

/* Whether /proc shows a child that may not be traced, such as one with a privileged or an unreadable program. */
static bool can_see_the_hidden(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return true; /* Without a descriptor no keeper starts either, and that is said. */
    char byte = 0;
    process hidden;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        prctl(PR_SET_DUMPABLE, 0);
        if (write(ends[1], &byte, 1) == 1 && read(ends[1], &byte, 1) == 0)
            _exit(0); /* Our parent has looked, or is dead. */
        _exit(FAILED);
    }
    close(ends[1]);
    bool is_hidden = child > 0 && read(ends[0], &byte, 1) == 1 && !look_at_number(child, &hidden);
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return !is_hidden;
}

bool can_see_processes(void) {
    process self;
    /* There may be one that shows the numbers of another namespace. */
    if (!look_at("self", &self) || self.pid != getpid())
        say(ALWAYS, "/proc is not mounted, or is another namespace's, and without it what a command leaves behind"
            " cannot be ended; mount it");
    else if (!can_see_the_hidden())
        say(ALWAYS, "/proc hides some of this user's own processes, which then cannot be ended; mount it without hidepid,"
            " or with gid= of a group of this user (systemd: ProtectProc=default)");
    else
        return true;
    return false;
}

static void spare_one(const process *one, void *data) {
    (void)data;
    if (is_child(one))
        spare(one->pid);
}

void spare_those_before(void) {
    if (has_children())
        for_each_process(spare_one, NULL);
}

void spare(pid_t pid) {
    add(&spared, pid);
}

void no_longer_spare(pid_t pid) {
    remove_from(&spared, pid);
}

void spare_nobody(void) {
    spared.count = 0;
}

void new_brood(void) {
    asked.count = 0;
}

static void note_one(const process *one, void *data) {
    if (one->group == *(pid_t *)data && one->is_alive)
        add(&asked, one->pid);
}

void note_group_is_asked(pid_t group) {
    for_each_process(note_one, &group);
}

static void ask_one(const process *one, void *data) {
    (void)data;
    if (!is_child(one) || is_in(&spared, one->pid) || is_in(&asked, one->pid))
        return;
    kill(one->pid, SIGTERM);
    kill(one->pid, SIGCONT); /* One that is stopped would not hear. */
    add(&asked, one->pid);
}

void ask_children(void) {
    for_each_process(ask_one, NULL);
}

static void count(const process *one, void *data) {
    if (is_child(one) && !is_in(&spared, one->pid))
        ++*(int *)data;
}

bool has_children(void) {
    siginfo_t any;
    if (waitid(P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT) != 0)
        return false; /* None at all: the usual case, without a look at the whole machine. */
    if (spared.count == 0)
        return true;
    int others = 0;
    return !for_each_process(count, &others) || others > 0; /* Unseen is not gone. */
}

struct family {
    set members;
    pid_t refused;
    bool is_alive; /* Somebody was. */
};

/* Who is no child of ours may be waited for, and its number be another's, while we look: so we take hold of it first,
   and look once more. Kernels before 5.3 cannot; there it is killed as a child, once its parent is dead. */
static int kill_descendant(pid_t pid, const set *members) {
    int hold = (int)syscall(SYS_pidfd_open, pid, 0);
    if (hold < 0)
        return 0;
    process same;
    int result = 0;
    if (look_at_number(pid, &same) && (same.parent == getpid() || is_in(members, same.parent)))
        result = (int)syscall(SYS_pidfd_send_signal, hold, SIGKILL, NULL, 0);
    int error = errno;
    close(hold);
    errno = error;
    return result;
}

static void kill_one(const process *one, void *data) {
    struct family *family = data;
    bool is_ours = is_child(one) && !is_in(&spared, one->pid);
    bool is_theirs = one->is_alive && is_in(&family->members, one->parent);
    if (!is_ours && !is_theirs)
        return;
    int result = is_ours ? kill(one->pid, SIGKILL) : kill_descendant(one->pid, &family->members);
    if (result != 0 && errno == EPERM)
        family->refused = one->pid;
    family->is_alive = true;
    add(&family->members, one->pid);
}

bool kill_family(pid_t *refused) {
    struct family family = {{NULL, 0}, 0, false};
    for_each_process(kill_one, &family);
    free(family.members.pids);
    *refused = family.refused;
    return family.is_alive;
}

void kill_group_of(pid_t first, pid_t parent) {
    process one;
    if (first > 0 && look_at_number(first, &one) && one.parent == parent)
        kill(-first, SIGKILL);
}

void kill_children(pid_t first) {
    const struct timespec look_again = {0, 10 * 1000 * 1000};
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGCHLD);
    siginfo_t child;
    bool has_said = false, are_alive;
    do {
        /* As long as it is our child, the number of its group is nobody else's. */
        if (first > 0 && waitid(P_PID, (id_t)first, &child, WEXITED | WNOHANG | WNOWAIT) == 0)
            kill(-first, SIGKILL);
        pid_t refused;
        are_alive = kill_family(&refused);
        if (refused != 0 && !has_said)
            say_unkillable(refused);
        has_said = has_said || refused != 0;
        /* Whoever was in the middle of a fork has left us one more, and there is little time. */
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            sigtimedwait(&ends, NULL, &look_again);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    } while (are_alive || has_children());
}
