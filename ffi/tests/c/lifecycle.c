/* From the start to the end: two candidates, one after the other. */

#include "test.h"

/* The name in C's hands: whole, cut at the end of a character, and only its length. */
static void check_leader(el_election *election, uint64_t term) {
    char name[8];
    uint64_t token = 0;
    CHECK(el_leader(election, name, sizeof name, &token) == 4 && strcmp(name, "Zo\xc3\xab") == 0 && token == term);
    CHECK(el_leader(election, name, 4, NULL) == 4 && strcmp(name, "Zo") == 0);
    CHECK(el_leader(election, name, 1, NULL) == 4 && strcmp(name, "") == 0);
    CHECK(el_leader(election, NULL, 0, &token) == 4);
}

/* Also for a program that knows fewer fields, or more, than the library. */
static void check_settings(el_election *election) {
    struct {
        el_effective known;
        uint32_t later;
    } found = {{0}, 7};
    CHECK(el_settings(election, &found.known, sizeof found) == EL_OK && found.later == 0);
    CHECK(found.known.ttl_ms == 10000 && found.known.granted_ttl_ms == 10000 && found.known.renew_ms == 5000);
    CHECK(found.known.step_down_ms == 2000 && found.known.request_timeout_ms == 1500 && found.known.stop_timeout_ms == 10000);
    uint32_t first[2] = {0, 7};
    CHECK(el_settings(election, (el_effective *)first, sizeof *first) == EL_OK && first[0] == 10000 && first[1] == 7);
    CHECK(el_settings(election, NULL, sizeof found) == EL_INVALID && strstr(el_last_error(), "effective is NULL") != NULL);
    CHECK(el_settings(election, &found.known, 0) == EL_INVALID && strstr(el_last_error(), "sizeof(el_effective)") != NULL);
    CHECK(el_settings(NULL, &found.known, sizeof found) == EL_INVALID);
}

/* What a configuration would come to: the same, but for what only etcd knows; nothing is started. */
static void check_config_settings(void) {
    el_config config = config_of("/lifecycle", "nobody", NULL);
    struct {
        el_effective known;
        uint32_t later;
    } found = {{0}, 7};
    CHECK(el_config_settings(&config, sizeof config, &found.known, sizeof found) == EL_OK && found.later == 0);
    CHECK(found.known.ttl_ms == 10000 && found.known.granted_ttl_ms == 0 && found.known.renew_ms == 5000);
    CHECK(found.known.step_down_ms == 2000 && found.known.request_timeout_ms == 1500 && found.known.stop_timeout_ms == 10000);
    config.ttl_s = 300;
    config.stop_timeout_ms = 1;
    CHECK(el_config_settings(&config, sizeof config, &found.known, sizeof found) == EL_OK);
    CHECK(found.known.renew_ms == 100000 && found.known.request_timeout_ms == 5000 && found.known.stop_timeout_ms == 1);
    config.renew_ms = 250000;
    CHECK(el_config_settings(&config, sizeof config, &found.known, sizeof found) == EL_INVALID);
    CHECK(strstr(el_last_error(), "renew_ms is 250000") != NULL && found.known.renew_ms == 100000);
    config.renew_ms = 0;
    CHECK(el_config_settings(&config, sizeof config, NULL, sizeof found) == EL_INVALID);
    CHECK(el_config_settings(&config, sizeof config, &found.known, 0) == EL_INVALID);
    CHECK(strstr(el_last_error(), "sizeof(el_effective)") != NULL);
    nothing_is_left();
}

/* Freed later than stop_timeout_ms after its end: the engine goes all the same before el_free returns. */
static void freed_late(void) {
    for (int at = 0; at < 5; at++) {
        told told = {0};
        el_config config = config_of("/lifecycle", "late", &told);
        config.stop_timeout_ms = 100;
        el_election *election = NULL;
        CHECK(el_start(&config, sizeof config, &election) == EL_OK);
        poll_until(election, &told.elected, 1);
        el_stop(election);
        poll_to_the_end(election);
        CHECK(told.verdict == EL_OK);
        pause_ms(200);
        CHECK(el_free(election) == EL_OK && descriptors() == descriptors_before);
        nothing_is_left();
    }
}

int main(int argc, char **argv) {
    begin(argc, argv);
    CHECK(el_abi_version() == EL_ABI_VERSION && strchr(el_version(), '.') != NULL);
    check_config_settings();

    told one = {0}, two = {0};
    el_election *first = start("/lifecycle", "Zo\xc3\xab", &one);
    uint64_t token = 1;
    CHECK(!el_is_leader(first) && el_leader(first, NULL, 0, &token) == 0 && token == 0);
    CHECK(el_poll(first, -1) > 0);
    poll_until(first, &one.elected, 1);
    CHECK(el_is_leader(first) == 1 && el_token(first) == one.token);
    CHECK(el_time_left_ms(first) > 0 && el_time_left_ms(first) <= 8000);
    poll_until(first, &one.leader, 1);
    check_leader(first, one.token);
    check_settings(first);
    int doorbell = el_fd(first);
    CHECK(doorbell >= 0 && el_fd(first) == doorbell && !is_readable(doorbell, 0));
    CHECK(el_poll(first, 0) == 0 && el_poll(first, 20) == 0);

    el_election *second = start("/lifecycle", "two", &two);
    poll_until(second, &two.leader, 1);
    CHECK(strcmp(two.name, "Zo\xc3\xab") == 0 && two.leader_token == one.token);
    check_leader(second, one.token);
    CHECK(!el_is_leader(second) && el_token(second) == 0 && el_time_left_ms(second) == 0);

    /* The user first, the key afterwards: the second is not elected before the first is polled again. */
    el_stop(first);
    CHECK(!el_is_leader(first) && el_token(first) == 0 && el_time_left_ms(first) == 0);
    el_stop(first);
    CHECK(one.unelected == 0 && is_readable(doorbell, 10000));
    CHECK(el_poll(first, -1) == 1 && one.unelected == 1 && one.why == EL_STOPPED);
    /* When its work has ended is for the user to say: a loop of its own does not spin meanwhile. */
    CHECK(!is_readable(doorbell, 100));
    el_poll(second, 300);
    CHECK(two.elected == 0);
    CHECK(el_poll(first, 0) <= 0);
    poll_until(second, &two.elected, 1);
    CHECK(two.token > one.token);
    poll_to_the_end(first);
    CHECK(el_poll(first, -1) == EL_STOPPED && el_poll(first, 0) == EL_STOPPED && is_readable(doorbell, 0));
    CHECK(one.elected == 1 && one.unelected == 1 && one.ended == 1 && one.verdict == EL_OK);
    CHECK(el_free(first) == EL_OK);

    CHECK(el_is_leader(second) == 1);
    el_stop(second);
    poll_to_the_end(second);
    CHECK(two.unelected == 1 && el_free(second) == EL_OK);
    nothing_is_left();

    /* And again, in the same process. */
    told again = {0};
    first = start("/lifecycle", "again", &again);
    poll_until(first, &again.elected, 1);
    CHECK(again.token > two.token && el_free(first) == EL_OK && again.unelected == 0);
    nothing_is_left();
    freed_late();
    return 0;
}
