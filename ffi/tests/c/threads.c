/* Many threads ask one election everything, while others start and end their own; the second argument says how often. */

#include "test.h"

enum { ASKERS = 3, WORKERS = 3 };

static el_election *shared;
static told everything;
static uint64_t token_of_shared;
static int rounds = 30;

static int has_ended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_over(void) {
    pthread_mutex_lock(&lock);
    int is_over = has_ended;
    pthread_mutex_unlock(&lock);
    return is_over;
}

/* The library calls it on one thread at a time; Helgrind does not know that. */
static void on_shared(const el_event *event, void *told) {
    pthread_mutex_lock(&lock);
    on_event(event, told);
    pthread_mutex_unlock(&lock);
}

/* A name and its token are never of two leaders; a status on one thread is not told on another. */
static void *ask(void *none) {
    for (int at = 0; at < 200 * rounds; at++) {
        char name[8] = "";
        uint64_t token = 7;
        CHECK(el_is_leader(shared) == 1 && el_token(shared) == token_of_shared && el_time_left_ms(shared) > 0);
        CHECK(el_leader(shared, name, sizeof name, &token) == 6 && strcmp(name, "shared") == 0);
        CHECK(token == token_of_shared && el_fd(shared) >= 0);
        CHECK(el_poll(shared, -5) == EL_INVALID && strstr(el_last_error(), "timeout_ms is -5") != NULL);
        int32_t polled = el_poll(shared, 0);
        CHECK(polled >= 0 || polled == EL_BUSY);
    }
    return none;
}

static void *poll_shared(void *none) {
    while (!is_over()) {
        int32_t polled = el_poll(shared, 5);
        CHECK(polled >= 0 || polled == EL_BUSY);
    }
    return none;
}

/* From the start to the end, in turns with and without a word on the way. */
static void *live(void *number) {
    for (int round = 0; round < rounds; round++) {
        told told = {0};
        char key[32];
        snprintf(key, sizeof key, "/threads/%d", *(int *)number);
        el_election *election = start(key, "one", &told);
        if (round % 3 != 0)
            poll_until(election, &told.elected, 1);
        if (round % 3 == 1) {
            el_stop(election);
            poll_to_the_end(election);
        }
        CHECK(el_free(election) == EL_OK);
    }
    return number;
}

/* One is stopped and asked by many at once; whoever polls is told once. */
static void *stop(void *none) {
    el_stop(shared);
    CHECK(!el_is_leader(shared) && el_token(shared) == 0 && el_time_left_ms(shared) == 0);
    int32_t polled;
    while ((polled = el_poll(shared, 100)) != EL_STOPPED)
        CHECK(polled >= 0 || polled == EL_BUSY);
    return none;
}

static void all(void *(*work)(void *), int count, pthread_t *threads) {
    static int numbers[16];
    for (int at = 0; at < count; at++) {
        numbers[at] = at;
        CHECK(pthread_create(&threads[at], NULL, work, &numbers[at]) == 0);
    }
}

static void join(int count, const pthread_t *threads) {
    for (int at = 0; at < count; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    if (argc > 2)
        rounds = atoi(argv[2]);
    pthread_t askers[ASKERS], poller, workers[WORKERS];
    el_config config = config_of("/shared", "shared", &everything);
    config.ttl_s = 60; /* Under Valgrind one thread runs at a time, and the library has one among many. */
    config.on_event = on_shared;
    CHECK(el_start(&config, sizeof config, &shared) == EL_OK);
    poll_until(shared, &everything.elected, 1);
    token_of_shared = everything.token;
    all(ask, ASKERS, askers);
    all(poll_shared, 1, &poller);
    all(live, WORKERS, workers);
    join(WORKERS, workers);
    pthread_mutex_lock(&lock);
    has_ended = 1;
    pthread_mutex_unlock(&lock);
    join(ASKERS, askers);
    join(1, &poller);
    CHECK(everything.elected == 1 && everything.unelected == 0);
    all(stop, ASKERS, askers);
    join(ASKERS, askers);
    CHECK(everything.elected == 1 && everything.unelected == 1 && everything.why == EL_STOPPED);
    CHECK(el_free(shared) == EL_OK);
    nothing_is_left();

    /* Nothing else keeps the library's thread alive now: it ends and begins while others start and free. */
    all(live, WORKERS, workers);
    join(WORKERS, workers);
    nothing_is_left();
    return 0;
}
