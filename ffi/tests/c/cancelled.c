/* A thread that is cancelled while it waits in el_poll: it goes when the call has returned, the process goes on, and
   another thread polls and frees the election. */

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
    nothing_is_left();
    return 0;
}
