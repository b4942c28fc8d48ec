/* A command for `lead` to run. It leaves signs of life in a file: one line each millisecond, and for what happens.
 *
 *     job FILE LABEL [what...]
 *
 * A line is "LABEL pid event time", the time in nanoseconds of the clock that leases are counted on. What to do:
 *
 *     ignore       do not end on SIGTERM
 *     signals      note SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 and SIGTERM; the last ends it
 *     child        have a child, in the same group
 *     session      have a child in a session of its own
 *     thread       have a child in a session of its own, whose first thread ends and whose second one goes on
 *     daemon       have a grandchild in a session of its own, without a parent
 *     count        note each SIGTERM, and go on
 *     generations=N  have a child, that has a child, and so on, each in a session of its own; the last leaves signs
 *     relatives=N  the same in one group
 *     exit=N       end at once with this status; what it has started goes on
 *     until=PATH   end with status 0 once this file exists */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *path;
static int file;
static const char *label;
static const char *ending;
static volatile sig_atomic_t caught[65];

static void note(const char *event) {
    char line[256];
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    int length = snprintf(line, sizeof line, "%s %d %s %" PRId64 "\n", label, (int)getpid(), event, ns);
    if (write(file, line, (size_t)length) != length)
        _exit(99);
}

static void on_counted(int number) {
    (void)number;
    note("caught-15");
}

static void on_signal(int number) {
    caught[number] = 1;
}

/* Not for ever: whoever started the test may have killed it. */
static void live(void) {
    alarm(240);
    while (access(path, F_OK) == 0) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
        for (int number = 1; number < 65; number++) {
            if (!caught[number])
                continue;
            char event[32];
            caught[number] = 0;
            snprintf(event, sizeof event, "caught-%d", number);
            note(event);
            if (number == SIGTERM)
                exit(0);
        }
        note("lives");
        if (ending != NULL && access(ending, F_OK) == 0) {
            note("ends");
            exit(0);
        }
    }
    exit(96);
}

static void *live_on(void *nothing) {
    live();
    return nothing;
}

/* A child that lives under another label: `session` has it begin a session, `is_lost` has no parent wait for it. */
static void have(const char *what, int session, int is_lost, int more) {
    char name[128];
    int begun[2];
    char byte;
    if (pipe2(begun, O_CLOEXEC) != 0)
        exit(99);
    pid_t child = fork();
    if (child == 0) {
        if (is_lost && fork() != 0)
            _exit(0);
        if (session)
            setsid();
        snprintf(name, sizeof name, "%s.%s", label, what);
        label = name;
        ending = NULL;
        note("begins");
        close(begun[0]);
        close(begun[1]);
        if (more > 0) {
            have(what, session, is_lost, more - 1);
            alarm(240);
            for (;;)
                pause();
        }
        pthread_t other;
        if (strcmp(what, "thread") == 0 && pthread_create(&other, NULL, live_on, NULL) == 0)
            pthread_exit(NULL);
        live();
    }
    close(begun[1]);
    /* Until it is there, and in its session. */
    while (read(begun[0], &byte, 1) < 0 && errno == EINTR) {
    }
    close(begun[0]);
    if (is_lost)
        waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 98;
    path = argv[1];
    file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    label = argv[2];
    const char *token = getenv("ETCD_LEADER_TOKEN");
    char event[64];
    snprintf(event, sizeof event, "token-%s", token != NULL ? token : "none");
    note(event);
    for (int at = 3; at < argc; at++) {
        const char *what = argv[at];
        static const int all[] = {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM};
        if (strcmp(what, "ignore") == 0)
            signal(SIGTERM, SIG_IGN);
        else if (strcmp(what, "signals") == 0)
            for (size_t one = 0; one < sizeof all / sizeof *all; one++)
                signal(all[one], on_signal);
        else if (strcmp(what, "child") == 0)
            have(what, 0, 0, 0);
        else if (strcmp(what, "session") == 0)
            have(what, 1, 0, 0);
        else if (strcmp(what, "thread") == 0)
            have(what, 1, 0, 0);
        else if (strcmp(what, "daemon") == 0)
            have(what, 1, 1, 0);
        else if (strcmp(what, "count") == 0)
            signal(SIGTERM, on_counted);
        else if (strncmp(what, "generations=", 12) == 0)
            have("g", 1, 0, atoi(what + 12) - 1);
        else if (strncmp(what, "relatives=", 10) == 0)
            have("g", 0, 0, atoi(what + 10) - 1);
        else if (strncmp(what, "until=", 6) == 0)
            ending = what + 6;
        else if (strncmp(what, "exit=", 5) == 0)
            return atoi(what + 5);
        else
            return 97;
    }
    note("ready");
    live();
}
