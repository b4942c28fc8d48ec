/* A candidate that says what happens to it, until Ctrl-C. At the top of the repository:
 *
 *     make examples
 *     target/release/campaign http://127.0.0.1:2379 /jobs/nightly host-1
 *
 * Start it three times with different names: one leads. End that one with Ctrl-C or kill -9: the next one leads.
 * A fourth argument is the ttl in seconds; give several members of etcd with commas between them. `--v2` before the first
 * argument takes etcd's API v2 (etcd --enable-v2=true); all candidates must take the same API. */

#include <etcd_leader.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static el_election *election;

static void on_signal(int number) {
    (void)number;
    el_stop(election);
}

static void on_event(const el_event *event, void *user_data) {
    const char *me = user_data;
    switch (event->type) {
    case EL_EVENT_ELECTED: /* Start the leading work here: on a thread, as a child process, as a flag for the loop. */
        printf("%s: elected, token %" PRIu64 "\n", me, event->token);
        break;
    case EL_EVENT_UNELECTED: /* End it here. Our entry is kept until this has returned and el_poll is called again. */
        printf("%s: unelected (%s): %s\n", me, el_status_name(event->status), event->message);
        break;
    case EL_EVENT_LEADER:
        printf("%s: the leader is %s\n", me, event->token != 0 ? event->name : "not known");
        break;
    case EL_EVENT_RETRYING:
        if (event->status == EL_OK)
            printf("%s: all is well again\n", me);
        else
            printf("%s: retrying (%s): %s\n", me, el_status_name(event->status), event->message);
        break;
    case EL_EVENT_ENDED: /* EL_OK: nobody else led before the work had ended. */
        printf("%s: the end (%s)%s%s\n", me, el_status_name(event->status), *event->message ? ": " : "", event->message);
        break;
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *program = argv[0];
    int wants_v2 = argc > 1 && strcmp(argv[1], "--v2") == 0;
    argc -= wants_v2;
    argv += wants_v2;
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s [--v2] endpoint[,endpoint...] key name [ttl in seconds]\n", program);
        return 2;
    }
    const char *endpoints[64];
    uint32_t count = 0;
    for (char *one = strtok(argv[1], ","); one != NULL && count < 64; one = strtok(NULL, ","))
        endpoints[count++] = one;

    el_config config = {0};
    config.api = wants_v2 ? EL_API_V2 : EL_API_V3;
    config.endpoints = endpoints;
    config.endpoint_count = count;
    config.key = argv[2];
    config.name = argv[3];
    config.ttl_s = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0;
    config.on_event = on_event;
    config.user_data = argv[3];
    if (el_start(&config, sizeof config, &election) != EL_OK) {
        fprintf(stderr, "%s: %s\n", program, el_last_error());
        return 2;
    }

    struct sigaction action = {0};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    int32_t polled;
    while ((polled = el_poll(election, -1)) >= 0) {
    }
    if (polled != EL_STOPPED)
        fprintf(stderr, "%s: %s\n", program, el_last_error());
    /* The handler uses the election: from here on a signal ends the process. */
    action.sa_handler = SIG_DFL;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    el_free(election);
    return polled == EL_STOPPED ? 0 : 1;
}
