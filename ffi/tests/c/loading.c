/* The library is not linked but loaded, used and let go, again and again, by several threads, and while an election runs.
 * The second argument is its path. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <etcd_leader.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 20, THREADS = 4 };

#define CHECK(condition) check(__LINE__, (condition), #condition)

static void check(int line, int holds, const char *condition) {
    if (!holds) {
        const char *why = dlerror();
        fprintf(stderr, "line %d: not so: %s (%s)\n", line, condition, why != NULL ? why : "");
        _exit(1);
    }
}

static const char *endpoint, *path;

typedef struct library {
    void *handle;
    __typeof__(&el_start) start;
    __typeof__(&el_poll) poll;
    __typeof__(&el_stop) stop;
    __typeof__(&el_free) free;
    __typeof__(&el_is_leader) is_leader;
    __typeof__(&el_version) version;
} library;

#define FIND(library, name) *(void **)&(library)->name = dlsym((library)->handle, "el_" #name)

static library load(void) {
    library library = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    CHECK(library.handle != NULL);
    FIND(&library, start);
    FIND(&library, poll);
    FIND(&library, stop);
    FIND(&library, free);
    FIND(&library, is_leader);
    FIND(&library, version);
    CHECK(library.start && library.poll && library.stop && library.free && library.is_leader && library.version);
    return library;
}

static void on_event(const el_event *event, void *user_data) {
    if (event->type == EL_EVENT_ELECTED)
        *(int *)user_data = 1;
}

static el_election *start(const library *library, const char *key, int *elected) {
    el_config config;
    memset(&config, 0, sizeof config);
    config.endpoints = &endpoint;
    config.endpoint_count = 1;
    config.key = key;
    config.name = "loaded";
    config.on_event = on_event;
    config.user_data = elected;
    el_election *election = NULL;
    CHECK(library->start(&config, sizeof config, &election) == EL_OK);
    return election;
}

static void poll_until(const library *library, el_election *election, const int *elected) {
    while (!*elected)
        CHECK(library->poll(election, 60000) > 0);
    CHECK(library->is_leader(election));
}

static void *again_and_again(void *key) {
    for (int round = 0; round < ROUNDS; round++) {
        library library = load();
        int elected = 0;
        el_election *election = start(&library, key, &elected);
        if (round % 2 == 0)
            poll_until(&library, election, &elected);
        CHECK(library.free(election) == EL_OK && dlclose(library.handle) == 0);
    }
    return NULL;
}

/* How many threads there are, and descriptors; the one that looks is none. */
static int entries(const char *path) {
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    int count = strcmp(path, "/proc/self/fd") == 0 ? -1 : 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    endpoint = argv[1];
    path = argv[2];
    alarm(240);
    int threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");

    again_and_again("/loading");

    /* Let go while it runs: the election goes on, and so do the functions. */
    library first = load();
    int elected = 0;
    el_election *election = start(&first, "/loading/on", &elected);
    CHECK(dlclose(first.handle) == 0);
    poll_until(&first, election, &elected);
    library second = load();
    CHECK(second.start == first.start && second.is_leader(election));
    CHECK(dlclose(second.handle) == 0);

    pthread_t workers[THREADS];
    static char keys[THREADS][32];
    for (int at = 0; at < THREADS; at++) {
        snprintf(keys[at], sizeof keys[at], "/loading/by/%d", at);
        CHECK(pthread_create(&workers[at], NULL, again_and_again, keys[at]) == 0);
    }
    for (int at = 0; at < THREADS; at++)
        CHECK(pthread_join(workers[at], NULL) == 0);

    CHECK(first.is_leader(election));
    first.stop(election);
    while (first.poll(election, 60000) > 0) {
    }
    CHECK(first.free(election) == EL_OK);
    /* The kernel may list a thread that has ended for a moment. */
    for (int tries = 0; entries("/proc/self/task") != threads || entries("/proc/self/fd") != descriptors; tries++) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
        CHECK(tries < 5000);
    }
    return 0;
}
