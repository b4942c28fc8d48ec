/* A program of somebody who has installed the library: elects, says so, and ends. */

#include <etcd_leader.h>
#include <stdio.h>

static void on_event(const el_event *event, void *user_data) {
    if (event->type == EL_EVENT_ELECTED) {
        *(int *)user_data += 1;
        el_stop(event->election);
    }
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    int elected = 0;
    const char *endpoints[] = {argv[1]};
    el_config config = {0};
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    config.key = "/installed";
    config.name = "in C";
    config.on_event = on_event;
    config.user_data = &elected;
    el_election *election = NULL;
    if (el_start(&config, sizeof config, &election) != EL_OK) {
        fprintf(stderr, "%s\n", el_last_error());
        return 1;
    }
    while (el_poll(election, 60000) > 0) {
    }
    el_free(election);
    printf("elected %d, version %s\n", elected, el_version());
    return elected == 1 ? 0 : 1;
}
