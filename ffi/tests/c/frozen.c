/* Frozen past its ttl, a process hears from its first call that it does not lead. */

#include "test.h"

/* A child that wakes its parent, some time after it has stopped. */
static void wake_later(int after_ms) {
    pid_t parent = getpid();
    if (fork() != 0)
        return;
    for (;;) {
        char stat[256] = "", path[64];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)parent);
        FILE *file = fopen(path, "r");
        if (file == NULL || fgets(stat, sizeof stat, file) == NULL)
            _exit(0);
        fclose(file);
        const char *state = strrchr(stat, ')');
        if (state != NULL && state[2] == 'T')
            break;
        pause_ms(10);
    }
    pause_ms(after_ms);
    kill(parent, SIGCONT);
    _exit(0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    wake_later(2500);
    told one = {0};
    el_config config = config_of("/frozen", "one", &one);
    config.ttl_s = 2;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    poll_until(election, &one.leader, 1);
    /* A machine that stalls may have cost the first term already. */
    uint64_t token;
    while ((token = el_token(election)) == 0 || token != one.token)
        CHECK(el_poll(election, 60000) > 0);
    int before = one.unelected;
    kill(getpid(), SIGSTOP);
    CHECK(!el_is_leader(election));
    CHECK(el_token(election) == 0 && el_time_left_ms(election) == 0);
    poll_until(election, &one.unelected, before + 1);
    CHECK(one.why != EL_STOPPED);
    poll_until(election, &one.elected, before + 2);
    CHECK(one.token > token);
    CHECK(el_free(election) == EL_OK);
    nothing_is_left();
    return wait(NULL) > 0 ? 0 : 1;
}
