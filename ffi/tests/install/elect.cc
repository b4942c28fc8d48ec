// The same in C++; with all the headers that are installed.

#include <etcd_leader.h>
#if __has_include(<etcd_leader.hpp>)
#include <etcd_leader.hpp>
#endif

#include <iostream>
#include <string>

static void on_event(const el_event *event, void *user_data) {
    if (event->type == EL_EVENT_ELECTED) {
        ++*static_cast<int *>(user_data);
        el_stop(event->election);
    }
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    int elected = 0;
    el_config config{};
    config.endpoints = &argv[1];
    config.endpoint_count = 1;
    config.key = "/installed";
    config.name = "in C++";
    config.on_event = on_event;
    config.user_data = &elected;
    el_election *election = nullptr;
    if (el_start(&config, sizeof config, &election) != EL_OK) {
        std::cerr << el_last_error() << "\n";
        return 1;
    }
    while (el_poll(election, 60000) > 0) {
    }
    el_free(election);
    std::cout << "elected " << elected << ", version " << std::string(el_version()) << "\n";
    return elected == 1 ? 0 : 1;
}
