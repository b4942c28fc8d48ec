// The same from C++: what the header promises holds there too.

#include <etcd_leader.h>

#include <atomic>

static std::atomic<int> elected{0};

static void on_event(const el_event *event, void *) {
    if (event->type == EL_EVENT_ELECTED) {
        elected++;
        el_stop(event->election);
    }
}

int main(int, char **argv) {
    el_config config{};
    config.endpoints = &argv[1];
    config.endpoint_count = 1;
    config.key = "/plain";
    config.name = "C++";
    config.on_event = on_event;
    el_election *election = nullptr;
    if (el_start(&config, sizeof config, &election) != EL_OK)
        return 1;
    int32_t polled = 0;
    while (polled >= 0)
        polled = el_poll(election, 60000);
    return polled == EL_STOPPED && elected == 1 && el_free(election) == EL_OK ? 0 : 1;
}
