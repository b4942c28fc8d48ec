/* A candidate inside libuv's loop, which Node.js has, too. At the top of the repository, with libuv1-dev:
 *
 *     make lib
 *     cc -Iinclude examples/c/hosts/libuv.c $(pkg-config --cflags --libs libuv) -Ltarget/release -letcd_leader \
 *         -Wl,-rpath,$PWD/target/release -o libuv
 *     ./libuv http://127.0.0.1:2379 /jobs/nightly host-1 10
 *
 * The last argument is the ttl in seconds. SIGTERM and Ctrl-C give the place up and end the program. */

#include <etcd_leader.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static el_election *election;
static int32_t polled;

static void on_event(const el_event *event, void *user_data) {
    const char *name = user_data;
    if (event->type == EL_EVENT_ELECTED)
        printf("%s: elected, token %" PRIu64 "\n", name, event->token);
    else if (event->type == EL_EVENT_UNELECTED)
        printf("%s: unelected: %s\n", name, event->message);
    else if (event->type == EL_EVENT_LEADER)
        printf("%s: the leader is %s\n", name, event->token != 0 ? event->name : "not known");
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    /* The call after the one that told of the end says: our work has ended. */
    while ((polled = el_poll(election, 0)) > 0) {
    }
    if (polled < 0)
        uv_stop(poll->loop);
}

static void on_signal(uv_signal_t *signal, int number) {
    (void)signal, (void)number;
    el_stop(election);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s endpoint key name ttl\n", argv[0]);
        return 2;
    }
    const char *endpoints[] = {argv[1]};
    el_config config = {0};
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    config.key = argv[2];
    config.name = argv[3];
    config.ttl_s = (uint32_t)atoi(argv[4]);
    config.on_event = on_event;
    config.user_data = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (el_start(&config, sizeof config, &election) != EL_OK) {
        fprintf(stderr, "%s: %s\n", argv[0], el_last_error());
        return 2;
    }
    uv_loop_t *loop = uv_default_loop();
    uv_signal_t terminate, interrupt;
    uv_poll_t readable;
    uv_signal_init(loop, &terminate);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    uv_signal_init(loop, &interrupt);
    uv_signal_start(&interrupt, on_signal, SIGINT);
    uv_poll_init(loop, &readable, el_fd(election));
    uv_poll_start(&readable, UV_READABLE, on_readable);
    uv_run(loop, UV_RUN_DEFAULT);
    /* The descriptor closes with the election: nothing may wait for it then. */
    uv_poll_stop(&readable);
    return el_free(election) == EL_OK && polled == EL_STOPPED ? 0 : 1;
}
