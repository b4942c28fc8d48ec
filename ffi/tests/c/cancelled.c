/* A thread that is cancelled while it waits in el_poll: it goes when the call has returned, the process goes on, and
   another thread polls and frees the election. And a callback that ends its thread, which it is not to do: the same. */

#include "test.h"

static void *poll_for_ever(void *election) {
    int32_t polled;
    do {
        polled = el_poll(election, -1);
        pthread_testcancel();
    } while (polled >= 0);
    return NULL;
}

static el_election *start_polled(const char *key, told *heard, pthread_t *thread) {
    el_config config = config_of(key, "one", heard);
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    CHECK(pthread_create(thread, NULL, poll_for_ever, election) == 0);
    return election;
}

static void leave(const el_event *event, told *told) {
    (void)told;
    if (event->type == EL_EVENT_ELECTED)
        pthread_exit(NULL);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t thread;
    void *result = NULL;

    told cancelled = {0};
    el_election *election = start_polled("/cancelled", &cancelled, &thread);
    while (!el_is_leader(election))
        pause_ms(1);
    CHECK(pthread_cancel(thread) == 0);
    /* It goes when the call has returned, and that is when there is something to tell. */
    el_stop(election);
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    poll_to_the_end(election);
    CHECK(el_free(election) == EL_OK);

    told left = {.also = leave};
    election = start_polled("/left", &left, &thread);
    CHECK(pthread_join(thread, &result) == 0 && result == NULL);
    left.also = NULL;
    el_stop(election);
    poll_to_the_end(election);
    CHECK(left.elected == 1 && left.unelected == 1);
    CHECK(el_free(election) == EL_OK);
    nothing_is_left();
    return 0;
}
