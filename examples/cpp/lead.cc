// A job of ten steps that one of many hosts does, in C++17: only one of them is at it at a time. At the top of the
// repository:
//
//     make examples
//     target/release/lead-cpp http://127.0.0.1:2379 /jobs/report host-1
//
// Start it on as many hosts as you like: one works, the others wait. Ctrl-C lets it end its step, then the next one
// leads; after kill -9 the next one leads when the lease has run out.

#include <etcd_leader.hpp>

#include <csignal>
#include <iostream>
#include <string>

namespace {

// Anything with stop_requested() can end lead(); in C++20 take a std::stop_token.
struct Interrupt {
    bool stop_requested() const { return is_asked != 0; }
    static inline volatile std::sig_atomic_t is_asked = 0;
};

int report(const std::string &me, const etcd_leader::term &term) {
    std::cout << me << ": leading with token " << term.token() << std::endl;
    int step = 0;
    while (step < 10 && !term.stop_requested()) {
        // A process can be stopped right here for minutes. So the receiver of each write checks the token, as in
        // UPDATE report SET done = :step, fence = :token WHERE fence <= :token.
        std::cout << me << ": step " << ++step << std::endl;
        // What waits, waits with the term: it ends at once when we do not lead any more.
        term.wait_for(std::chrono::milliseconds(100));
    }
    // After a stop the place is still ours until this returns: time to tidy up.
    return step;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 4) {
        std::cerr << "usage: " << argv[0] << " endpoint key name\n";
        return 2;
    }
    etcd_leader::config config;
    config.endpoints = {argv[1]};
    config.key = argv[2];
    config.name = argv[3];
    config.ttl = std::chrono::seconds(4);
    etcd_leader::handlers on;
    on.on_retrying = [](const etcd_leader::error &reason, const std::string &) { std::cerr << reason.what() << '\n'; };
    std::signal(SIGINT, [](int) { Interrupt::is_asked = 1; });
    std::signal(SIGTERM, [](int) { Interrupt::is_asked = 1; });

    try {
        etcd_leader::election election(config, on);
        const auto work = [&](const etcd_leader::term &term) { return report(config.name, term); };
        const int steps = election.lead(work, Interrupt());
        std::cout << config.name << ": ended after step " << steps << std::endl;
        return 0;
    } catch (const etcd_leader::error &error) { // The lead was lost, or it was stopped before it led.
        std::cerr << config.name << ": " << error.what() << '\n';
        return 1;
    }
}
