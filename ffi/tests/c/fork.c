/* A child has its parent's elections in memory only; the parent goes on. */

#include "test.h"

static void child(el_election *inherited, int doorbell) {
    CHECK(!el_is_leader(inherited) && el_token(inherited) == 0 && el_time_left_ms(inherited) == 0);
    CHECK(el_poll(inherited, -1) == EL_FORKED && strstr(el_last_error(), "start a new one") != NULL);
    CHECK(el_leader(inherited, NULL, 0, NULL) == EL_FORKED && el_fd(inherited) == EL_FORKED);
    el_stop(inherited);
    CHECK(el_free(inherited) == EL_FORKED);
    CHECK(is_readable(doorbell, 0) == 0);

    told own = {0};
    el_election *election = start("/fork/child", "child", &own);
    poll_until(election, &own.elected, 1);
    el_stop(election);
    poll_to_the_end(election);
    CHECK(own.unelected == 1 && el_free(election) == EL_OK);
    /* Not exit: what was inherited stays in memory, which is right, but nothing that Valgrind could know. */
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    told one = {0};
    el_config config = config_of("/fork/parent", "parent", &one);
    /* Under Valgrind on a busy machine the engine may stand still for seconds. */
    config.ttl_s = 15;
    el_election *election = NULL;
    CHECK(el_start(&config, sizeof config, &election) == EL_OK);
    poll_until(election, &one.leader, 1);
    int doorbell = el_fd(election);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(election, doorbell);

    /* The parent leads all the while, and longer than its lease lasts without a renewal. */
    int status = -1, has_ended = 0;
    for (int64_t end = now_ms() + 17000; now_ms() < end || !has_ended;) {
        CHECK(el_poll(election, 100) >= 0 && el_is_leader(election) && now_ms() < end + 60000);
        has_ended = has_ended || waitpid(pid, &status, WNOHANG) == pid;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(one.unelected == 0 && el_free(election) == EL_OK);
    nothing_is_left();
    return 0;
}
