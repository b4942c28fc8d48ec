/* Every way to end an election. */

#include "test.h"
#include <sys/syscall.h>

static el_election *current;
static volatile sig_atomic_t signals;

static void stop_when_elected(const el_event *event, told *told) {
    (void)told;
    if (event->type == EL_EVENT_ELECTED)
        el_stop(event->election);
}

static void from_the_callback(void) {
    told told = {0};
    told.also = stop_when_elected;
    el_election *election = start("/stop/callback", "one", &told);
    poll_to_the_end(election);
    CHECK(told.elected == 1 && told.unelected == 1 && told.leader == 0 && told.why == EL_STOPPED);
    CHECK(told.ended == 1 && told.verdict == EL_OK && told.released == 1);
    CHECK(el_free(election) == EL_OK);
}

/* The thread that is to be disturbed in its wait. */
static pid_t waiting;

/* Until that thread is inside poll(2). */
static void until_it_waits(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)waiting);
    for (long call = -1; call != SYS_ppoll;) {
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        if (fscanf(file, "%ld", &call) != 1)
            call = -1; /* It is running. */
        fclose(file);
#ifdef SYS_poll
        if (call == SYS_poll)
            return;
#endif
    }
}

static void *stop_soon(void *election) {
    until_it_waits();
    el_stop(election);
    CHECK(!el_is_leader(election));
    return NULL;
}

static void from_another_thread(void) {
    told told = {0};
    el_election *election = start("/stop/thread", "one", &told);
    poll_until(election, &told.leader, 1);
    pthread_t thread;
    waiting = gettid();
    CHECK(pthread_create(&thread, NULL, stop_soon, election) == 0);
    CHECK(el_poll(election, -1) == 1 && told.unelected == 1);
    pthread_join(thread, NULL);
    poll_to_the_end(election);
    CHECK(el_free(election) == EL_OK);
}

static void on_interrupt(int number) {
    (void)number;
    signals++;
    errno = EDOM;
    if (current != NULL)
        el_stop(current);
    if (errno != EDOM)
        _exit(3);
}

static void *interrupt_soon(void *thread) {
    until_it_waits();
    CHECK(pthread_kill(*(pthread_t *)thread, SIGINT) == 0);
    return NULL;
}

/* Ctrl-C while el_poll waits for ever; `stopped`: what the handler stops. */
static void from_a_signal_handler(const char *key, int stops) {
    told told = {0};
    el_election *election = start(key, "one", &told);
    poll_until(election, &told.leader, 1);
    current = stops ? election : NULL;
    signals = 0;
    pthread_t thread, self = pthread_self();
    waiting = gettid();
    CHECK(pthread_create(&thread, NULL, interrupt_soon, &self) == 0);
    CHECK(el_poll(election, -1) == 0 && signals == 1);
    pthread_join(thread, NULL);
    CHECK(el_is_leader(election) == !stops);
    el_stop(election);
    poll_to_the_end(election);
    CHECK(told.unelected == 1 && el_free(election) == EL_OK);
}

/* Long enough that no place runs out by itself meanwhile. */
static el_election *start_slow(const char *key, const char *name, told *told, uint32_t stop_timeout_ms) {
    el_config config = config_of(key, name, told);
    config.ttl_s = 120;
    config.stop_timeout_ms = stop_timeout_ms;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    return election;
}

static void by_free_alone(void) {
    told one = {0}, two = {0};
    el_election *first = start_slow("/stop/free", "one", &one, 0), *second = NULL;
    poll_until(first, &one.elected, 1);
    second = start_slow("/stop/free", "two", &two, 0);
    poll_until(second, &two.leader, 1);
    CHECK(el_free(first) == EL_OK && one.unelected == 0);
    poll_until(second, &two.elected, 1);
    CHECK(el_free(second) == EL_OK && el_free(NULL) == EL_OK);
}

/* Stopped and never polled again: the place goes after stop_timeout_ms, and not before. */
static void never_polled_again(void) {
    told one = {0}, two = {0};
    el_election *first = start_slow("/stop/forgotten", "one", &one, 1000), *second = NULL;
    poll_until(first, &one.elected, 1);
    second = start_slow("/stop/forgotten", "two", &two, 0);
    poll_until(second, &two.leader, 1);
    int64_t begun = now_ms();
    el_stop(first);
    poll_until(second, &two.elected, 1);
    CHECK(now_ms() >= begun + 1000);
    poll_to_the_end(first);
    CHECK(one.unelected == 1 && one.why == EL_OVERRUN && one.ended == 1 && one.verdict == EL_OVERRUN);
    CHECK(el_free(first) == EL_OK && el_free(second) == EL_OK);
}

/* A callback that was entered is waited for: told, and not polled again, the place is kept until el_free. */
static void told_and_not_polled_again(void) {
    told one = {0}, two = {0};
    el_election *first = start_slow("/stop/told", "one", &one, 200), *second = NULL;
    poll_until(first, &one.leader, 1);
    second = start_slow("/stop/told", "two", &two, 0);
    poll_until(second, &two.leader, 1);
    el_stop(first);
    CHECK(el_poll(first, 10000) == 1 && one.unelected == 1);
    el_poll(second, 1000);
    CHECK(two.elected == 0);
    CHECK(el_free(first) == EL_OK);
    poll_until(second, &two.elected, 1);
    CHECK(el_free(second) == EL_OK);
}

static void *release(void *election) {
    el_release(election);
    return NULL;
}

/* The work ends on another thread, while this one takes nothing. */
static void released_by_another_thread(void) {
    told one = {0}, two = {0};
    el_election *first = start_slow("/stop/released", "one", &one, 0), *second = NULL;
    poll_until(first, &one.leader, 1);
    second = start_slow("/stop/released", "two", &two, 0);
    poll_until(second, &two.leader, 1);
    el_release(first);
    CHECK(el_is_leader(first)); /* Before a stop it means nothing. */
    el_stop(first);
    CHECK(el_poll(first, 10000) == 1 && one.unelected == 1 && one.why == EL_STOPPED);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, release, first) == 0);
    poll_until(second, &two.elected, 1);
    pthread_join(thread, NULL);
    poll_to_the_end(first);
    CHECK(one.ended == 1 && one.verdict == EL_OK && el_free(first) == EL_OK && el_free(second) == EL_OK);
}

/* Stopped in line: it never led. */
static void stopped_in_line(void) {
    told one = {0}, two = {0};
    el_election *first = start_slow("/stop/line", "one", &one, 0), *second = NULL;
    poll_until(first, &one.leader, 1);
    second = start_slow("/stop/line", "two", &two, 0);
    poll_until(second, &two.leader, 1);
    el_stop(second);
    poll_to_the_end(second);
    CHECK(two.elected == 0 && two.unelected == 0 && two.ended == 1 && two.verdict == EL_STOPPED && two.released == 1);
    CHECK(el_free(first) == EL_OK && el_free(second) == EL_OK);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    from_the_callback();
    from_another_thread();
    from_a_signal_handler("/stop/signal", 1);
    from_a_signal_handler("/stop/unheard", 0);
    by_free_alone();
    never_polled_again();
    told_and_not_polled_again();
    released_by_another_thread();
    stopped_in_line();
    nothing_is_left();
    return 0;
}
