/* One thread at a time is inside an election; another election is another matter. */

#include "test.h"

static el_election *other;

static void try_everything(const el_event *event, told *told) {
    (void)told;
    CHECK(el_poll(event->election, 0) == EL_BUSY && strstr(el_last_error(), "polled") != NULL);
    CHECK(el_free(event->election) == EL_BUSY);
    CHECK(el_leader(event->election, NULL, 0, NULL) >= 0 && el_fd(event->election) >= 0);
    CHECK(el_poll(other, 0) >= 0);
}

/* To its end, also if another thread is inside just then to see whether we are. */
static void *poll_for_ever(void *election) {
    while (el_poll(election, -1) != EL_STOPPED) {
    }
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    told one = {0}, two = {0};
    one.also = try_everything;
    el_election *election = start("/busy/one", "one", &one);
    /* Under Helgrind on a busy machine the engine may stand still for seconds. */
    el_config config = config_of("/busy/two", "two", &two);
    config.ttl_s = 60;
    CHECK(el_start(&config, sizeof config, &other) == EL_OK);
    poll_until(election, &one.leader, 1);
    poll_until(other, &two.leader, 1);
    CHECK(el_is_leader(election) && el_is_leader(other) && el_token(election) != el_token(other));

    one.also = NULL;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, poll_for_ever, election) == 0);
    while (el_poll(election, 0) != EL_BUSY)
        pause_ms(1);
    CHECK(el_free(election) == EL_BUSY && el_is_leader(election));
    el_stop(election);
    pthread_join(thread, NULL);
    CHECK(el_poll(election, 0) == EL_STOPPED && one.unelected == 1);
    CHECK(el_is_leader(other) && el_free(election) == EL_OK && el_is_leader(other));
    CHECK(el_free(other) == EL_OK);
    nothing_is_left();
    return 0;
}
