/* What the C tests share. Each gets an endpoint as its first argument, says nothing if all is well, and ends with 0. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <etcd_leader.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) check(__LINE__, (condition), #condition)
#define UNUSED __attribute__((unused))

static void check(int line, int holds, const char *condition) {
    if (!holds) {
        fprintf(stderr, "line %d: not so: %s (last error: %s)\n", line, condition, el_last_error());
        fflush(stderr);
        _exit(1);
    }
}

/* What an election has told so far. */
typedef struct told {
    int elected, unelected, leader, retrying, well, ended;
    uint64_t token, leader_token;
    int32_t why, verdict;
    uint32_t released;
    char name[64], endpoint[128], message[512];
    /* Does more with each event. */
    void (*also)(const el_event *event, struct told *told);
} told;

static void on_event(const el_event *event, void *user_data) {
    told *told = user_data;
    CHECK(event->size == sizeof *event && event->election != NULL);
    CHECK(event->name != NULL && event->endpoint != NULL && event->message != NULL);
    CHECK(told->ended == 0);
    if (event->type == EL_EVENT_ELECTED) {
        told->elected++;
        told->token = event->token;
        CHECK(event->token != 0 && event->status == EL_OK && told->elected == told->unelected + 1);
    } else if (event->type == EL_EVENT_UNELECTED) {
        told->unelected++;
        told->why = event->status;
        CHECK(event->status < 0 && *event->message && told->elected == told->unelected && !el_is_leader(event->election));
    } else if (event->type == EL_EVENT_LEADER) {
        told->leader++;
        told->leader_token = event->token;
        snprintf(told->name, sizeof told->name, "%s", event->name);
    } else if (event->type == EL_EVENT_RETRYING && event->status == EL_OK) {
        told->well++;
    } else if (event->type == EL_EVENT_RETRYING) {
        told->retrying++;
        told->why = event->status;
        snprintf(told->endpoint, sizeof told->endpoint, "%s", event->endpoint);
        snprintf(told->message, sizeof told->message, "%s", event->message);
    } else {
        CHECK(event->type == EL_EVENT_ENDED && (event->status == EL_OK) == (*event->message == '\0'));
        told->ended++;
        told->verdict = event->status;
        told->released = event->released;
    }
    if (told->also != NULL)
        told->also(event, told);
}

static const char *endpoints[1];
static int threads_before, descriptors_before;

/* The entries of a directory of /proc/self; with `prefix` only the links to such. */
static int entries(const char *path, const char *prefix) {
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    int count = prefix == NULL && strcmp(path, "/proc/self/fd") == 0 ? -1 : 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char link[512] = "", target[512] = "";
        snprintf(link, sizeof link, "%s/%s", path, entry->d_name);
        if (prefix != NULL && readlink(link, target, sizeof target - 1) < 0)
            continue;
        count += entry->d_name[0] != '.' && strncmp(target, prefix ? prefix : "", prefix ? strlen(prefix) : 0) == 0;
    }
    closedir(directory);
    return count;
}

static UNUSED int threads(void) { return entries("/proc/self/task", NULL); }
static UNUSED int descriptors(void) { return entries("/proc/self/fd", NULL); }
static UNUSED int sockets(void) { return entries("/proc/self/fd", "socket:"); }

static UNUSED int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static UNUSED void pause_ms(int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

static UNUSED void begin(int argc, char **argv) {
    CHECK(argc >= 2);
    endpoints[0] = argv[1];
    threads_before = threads();
    descriptors_before = descriptors();
    alarm(240);
}

/* After the last el_free. The kernel may list a thread that has ended for a moment. */
static UNUSED void nothing_is_left(void) {
    for (int64_t begun = now_ms(); threads() != threads_before || descriptors() != descriptors_before; pause_ms(1)) {
        if (now_ms() > begun + 5000) {
            fprintf(stderr, "threads: %d, were %d; descriptors: %d, were %d\n", threads(), threads_before, descriptors(),
                    descriptors_before);
            _exit(1);
        }
    }
}

static UNUSED el_config config_of(const char *key, const char *name, told *told) {
    el_config config;
    memset(&config, 0, sizeof config);
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    config.key = key;
    config.name = name;
    config.on_event = on_event;
    config.user_data = told;
    return config;
}

static UNUSED el_election *start(const char *key, const char *name, told *told) {
    el_config config = config_of(key, name, told);
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK && election != NULL);
    return election;
}

/* Polls until the counter has got there. */
static UNUSED void poll_until(el_election *election, const int *counter, int wanted) {
    for (int64_t end = now_ms() + 60000; *counter < wanted;) {
        CHECK(now_ms() < end);
        CHECK(el_poll(election, 1000) >= 0);
    }
}

/* Polls a stopped election to its end. */
static UNUSED void poll_to_the_end(el_election *election) {
    int32_t polled = 0;
    for (int64_t end = now_ms() + 60000; polled >= 0; polled = el_poll(election, 1000))
        CHECK(now_ms() < end);
    CHECK(polled == EL_STOPPED);
}

static UNUSED int is_readable(int descriptor, int timeout_ms) {
    struct pollfd asked = {descriptor, POLLIN, 0};
    return poll(&asked, 1, timeout_ms) == 1;
}
