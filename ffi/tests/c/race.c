/* A wrong program, to see that Helgrind would see one: two threads poll two elections and count in one place. */

#include "test.h"

static int events;

static void count(const el_event *event, void *user_data) {
    (void)user_data;
    events++;
    if (event->type == EL_EVENT_ELECTED)
        el_stop(event->election);
}

static void *campaign(void *key) {
    el_config config = config_of(key, "one", NULL);
    config.on_event = count;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    poll_to_the_end(election);
    CHECK(el_free(election) == EL_OK);
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t threads[2];
    static char keys[][8] = {"/race/1", "/race/2"};
    for (int at = 0; at < 2; at++)
        CHECK(pthread_create(&threads[at], NULL, campaign, keys[at]) == 0);
    for (int at = 0; at < 2; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    return events > 0 ? 0 : 1;
}
