/* What cannot be reached is told at once, and named. */

#include "test.h"

/* Far below any wait of the library's for what is silent, and more than Valgrind takes on a busy machine. */
enum { SOON_MS = 20000 };

static void is_told(const char *endpoint) {
    endpoints[0] = endpoint;
    told told = {0};
    int64_t begun = now_ms();
    el_election *election = start("/trouble", "one", &told);
    poll_until(election, &told.retrying, 1);
    CHECK(now_ms() < begun + SOON_MS);
    /* On a busy machine it is told first that a step is slow, and the rest a ttl later. */
    for (int64_t end = now_ms() + 60000; told.why == EL_TIMEOUT && now_ms() < end;)
        CHECK(el_poll(election, 1000) >= 0);
    CHECK(told.why == EL_UNREACHABLE && strcmp(told.endpoint, endpoint) == 0);
    CHECK(strstr(told.message, endpoint) != NULL);
    CHECK(!el_is_leader(election) && told.elected == 0 && told.ended == 0);
    begun = now_ms();
    el_stop(election);
    poll_to_the_end(election);
    CHECK(el_free(election) == EL_OK && now_ms() < begun + SOON_MS);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    is_told(argv[1]); /* Nobody listens there. */
    is_told("http://no.such.host.invalid:2379");
    nothing_is_left();
    return 0;
}
