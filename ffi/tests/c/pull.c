/* Events that are pulled: from one election, and from a queue of many. */

#include "test.h"

enum { MOST = 500 };

/* Takes the next event, into what on_event takes; 0: none in time. */
static int take(el_election *election, int timeout_ms, told *told) {
    el_event event;
    int32_t got = el_next(election, timeout_ms, &event, sizeof event);
    if (got == 1) {
        CHECK(event.election == election);
        on_event(&event, told);
    }
    CHECK(got >= 0);
    return got;
}

static el_election *start_pulled(const char *key, const char *name, el_queue *queue, uint32_t stop_timeout_ms) {
    el_config config = config_of(key, name, NULL);
    config.on_event = NULL;
    config.queue = queue;
    config.ttl_s = 60;
    config.stop_timeout_ms = stop_timeout_ms;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK && election != NULL);
    return election;
}

/* Without a queue; until it knows who leads. */
static el_election *start_in_line(const char *key, const char *name, uint32_t stop_timeout_ms, told *told) {
    el_election *election = start_pulled(key, name, NULL, stop_timeout_ms);
    while (told->leader == 0)
        take(election, 10000, told);
    return election;
}

static void one_election(void) {
    told told = {0};
    el_election *election = start_in_line("/pull/one", "one", 0, &told);
    CHECK(told.elected == 1 && el_token(election) == told.token && strcmp(told.name, "one") == 0);
    CHECK(take(election, 0, &told) == 0 && !is_readable(el_fd(election), 0));
    el_stop(election);
    CHECK(is_readable(el_fd(election), 10000));
    CHECK(take(election, 0, &told) == 1 && told.unelected == 1 && told.why == EL_STOPPED);
    CHECK(!is_readable(el_fd(election), 100)); /* When the work has ended is for us to say. */
    el_release(election);
    CHECK(is_readable(el_fd(election), 10000));
    CHECK(take(election, 0, &told) == 1 && told.ended == 1 && told.verdict == EL_OK && told.released == 1);
    el_event event;
    CHECK(el_next(election, -1, &event, sizeof event) == EL_STOPPED && is_readable(el_fd(election), 0));
    CHECK(el_next(election, 0, &event, sizeof event) == EL_STOPPED && el_free(election) == EL_OK);
}

/* To come again says that the work has ended, as with el_poll. */
static void coming_again_releases(void) {
    told one = {0}, two = {0};
    el_election *first = start_in_line("/pull/again", "one", 0, &one);
    el_election *second = start_in_line("/pull/again", "two", 0, &two);
    el_stop(first);
    while (one.unelected == 0)
        take(first, 10000, &one);
    CHECK(take(second, 200, &two) == 0);
    while (one.ended == 0)
        take(first, 10000, &one);
    while (two.elected == 0)
        take(second, 10000, &two);
    CHECK(one.verdict == EL_OK && el_free(first) == EL_OK && el_free(second) == EL_OK);
}

/* A structure of a later version, and one of an earlier. */
static void the_size_is_heeded(void) {
    el_election *election = start_pulled("/pull/size", "one", NULL, 0);
    struct {
        el_event known;
        uint64_t later[4];
    } event;
    memset(&event, 0xff, sizeof event);
    CHECK(el_next(election, 10000, &event.known, sizeof event) == 1 && event.known.size == sizeof event.known);
    CHECK(event.known.type == EL_EVENT_ELECTED && event.later[0] == 0 && event.later[3] == 0);
    memset(&event, 0xff, sizeof event);
    CHECK(el_next(election, 10000, &event.known, 24) == 1 && event.known.type == EL_EVENT_LEADER);
    CHECK(event.known.election == (el_election *)UINTPTR_MAX); /* It was not asked for. */
    CHECK(el_free(election) == EL_OK);
}

static told tolds[MOST];
static el_election *elections[MOST];

/* Takes events of the queue until the counter of so many elections has got there. */
static void take_until(el_queue *queue, int count, int (*is_there)(const told *)) {
    for (int64_t end = now_ms() + 120000;;) {
        int left = 0;
        for (int at = 0; at < count; at++)
            left += !is_there(&tolds[at]);
        if (left == 0)
            return;
        el_event event;
        int32_t got = el_queue_next(queue, 1000, &event, sizeof event);
        CHECK(got >= 0 && now_ms() < end);
        for (int at = 0; got == 1 && at < count; at++)
            if (elections[at] == event.election)
                on_event(&event, &tolds[at]);
    }
}

static int leads(const told *told) { return told->leader == 1; }
static int has_lost(const told *told) { return told->unelected == 1; }
static int has_ended(const told *told) { return told->ended == 1; }

/* One descriptor, one thread, one call. */
static void a_queue(int count) {
    el_queue *queue = NULL;
    int before = descriptors();
    CHECK(el_queue_new(&queue) == EL_OK && descriptors() == before + 1);
    for (int at = 0; at < count; at++) {
        char key[32];
        snprintf(key, sizeof key, "/pull/queue/%d", at);
        elections[at] = start_pulled(key, "one of many", queue, 60000);
    }
    take_until(queue, count, leads);
    CHECK(threads() == threads_before + 1 && !is_readable(el_queue_fd(queue), 0));
    el_event event;
    CHECK(el_queue_next(queue, 0, &event, sizeof event) == 0);
    for (int at = 0; at < count; at++)
        el_stop(elections[at]);
    CHECK(is_readable(el_queue_fd(queue), 10000));
    take_until(queue, count, has_lost);
    /* To take the events of the others says nothing of the work of one. */
    CHECK(el_queue_next(queue, 200, &event, sizeof event) == 0);
    for (int at = 0; at < count; at++)
        el_release(elections[at]);
    take_until(queue, count, has_ended);
    CHECK(el_queue_next(queue, 0, &event, sizeof event) == 0 && !is_readable(el_queue_fd(queue), 0));
    for (int at = 0; at < count; at++) {
        CHECK(tolds[at].elected == 1 && tolds[at].verdict == EL_OK && tolds[at].released == 1);
        CHECK(el_free(elections[at]) == EL_OK);
    }
    CHECK(el_queue_free(queue) == EL_OK);
}

/* An el_release that is forgotten keeps nobody waiting for longer than was asked. */
static void a_forgotten_release(void) {
    el_queue *queue = NULL;
    CHECK(el_queue_new(&queue) == EL_OK);
    memset(tolds, 0, sizeof tolds);
    elections[0] = start_pulled("/pull/forgotten", "one", queue, 300);
    take_until(queue, 1, leads);
    int64_t stopped = now_ms();
    el_stop(elections[0]);
    take_until(queue, 1, has_ended);
    CHECK(tolds[0].why == EL_STOPPED && tolds[0].verdict == EL_OVERRUN && now_ms() >= stopped + 300);
    CHECK(el_free(elections[0]) == EL_OK && el_queue_free(queue) == EL_OK);
}

/* Work that takes longer than the stop's time, and says so. */
static void held_from_a_queue(void) {
    el_queue *queue = NULL;
    CHECK(el_queue_new(&queue) == EL_OK);
    memset(tolds, 0, sizeof tolds);
    elections[0] = start_pulled("/pull/held", "one", queue, 300);
    take_until(queue, 1, leads);
    el_hold(elections[0]);
    CHECK(el_is_leader(elections[0])); /* Before a stop it means nothing. */
    el_stop(elections[0]);
    take_until(queue, 1, has_lost);
    el_hold(elections[0]);
    pause_ms(600);
    el_event event;
    CHECK(el_queue_next(queue, 0, &event, sizeof event) == 0);
    el_release(elections[0]);
    take_until(queue, 1, has_ended);
    CHECK(tolds[0].verdict == EL_OK && el_free(elections[0]) == EL_OK && el_queue_free(queue) == EL_OK);
}

/* Before and after UNELECTED was taken: to come again does not say that the work has ended then. */
static void held_without_a_queue(void) {
    told one = {0}, two = {0};
    el_election *first = start_in_line("/pull/hold", "one", 300, &one);
    el_election *second = start_in_line("/pull/hold", "two", 0, &two);
    el_stop(first);
    el_hold(first);
    CHECK(take(first, 10000, &one) == 1 && one.unelected == 1 && one.why == EL_STOPPED);
    CHECK(take(first, 100, &one) == 0 && take(second, 600, &two) == 0);
    el_release(first);
    while (one.ended == 0)
        take(first, 10000, &one);
    while (two.elected == 0)
        take(second, 10000, &two);
    CHECK(one.verdict == EL_OK && el_free(first) == EL_OK && el_free(second) == EL_OK);
}

/* Frees elections while another thread takes their events. */
static void *free_all(void *unused) {
    (void)unused;
    for (int at = 0; at < 100; at++)
        CHECK(el_free(elections[at]) == EL_OK);
    return NULL;
}

static void freed_under_way(void) {
    el_queue *queue = NULL;
    CHECK(el_queue_new(&queue) == EL_OK);
    for (int at = 0; at < 100; at++) {
        char key[32];
        snprintf(key, sizeof key, "/pull/freed/%d", at);
        elections[at] = start_pulled(key, "one of many", queue, 60000);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_all, NULL) == 0);
    el_event event;
    for (int32_t status = EL_BUSY; status != EL_OK; status = el_queue_free(queue)) {
        CHECK(status == EL_BUSY);
        CHECK(el_queue_next(queue, 1, &event, sizeof event) >= 0);
    }
    pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    one_election();
    coming_again_releases();
    the_size_is_heeded();
    a_queue(argc > 2 ? atoi(argv[2]) : MOST);
    a_forgotten_release();
    held_from_a_queue();
    held_without_a_queue();
    freed_under_way();
    nothing_is_left();
    return 0;
}
