// A candidate that says what happens to it, until Ctrl-C: campaign.c as one writes it in C++17. At the top of the repository:
//
//     make examples
//     target/release/campaign-cpp http://127.0.0.1:2379 /jobs/nightly host-1
//
// Start it three times with different names: one leads. End that one with Ctrl-C or kill -9: the next one leads.
// A fourth argument is the ttl in seconds; give several members of etcd with commas between them. `--v2` before the first
// argument takes etcd's API v2 (etcd --enable-v2=true); all candidates must take the same API.

#include <etcd_leader.hpp>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace {

// What is called when something happens, by run(). No leading work in here: it starts threads, or sets flags.
etcd_leader::handlers handlers(const std::string &me) {
    const auto say = [me]() -> std::ostream & { return std::cout << me << ": "; };
    etcd_leader::handlers on;
    on.on_elected = [say](std::uint64_t token) { // Start the leading work here.
        say() << "elected, token " << token << std::endl;
    };
    on.on_unelected = [say](const etcd_leader::error &reason) { // End it here: so long the place is kept after a stop.
        say() << "unelected (" << reason.code().message() << "): " << reason.what() << std::endl;
    };
    on.on_leader = [say](const std::string &name, std::uint64_t) { say() << "the leader is " << name << std::endl; };
    on.on_leaderless = [say] { say() << "the leader is not known" << std::endl; };
    on.on_retrying = [say](const etcd_leader::error &reason, const std::string &) {
        say() << "retrying (" << reason.code().message() << "): " << reason.what() << std::endl;
    };
    on.on_retried = [say] { say() << "all is well again" << std::endl; };
    on.on_ended = [say](const etcd_leader::ended &how) { // EL_OK: nobody else led before the work had ended.
        say() << "the end (" << how.why.message() << ')' << (how.message.empty() ? "" : ": ") << how.message << std::endl;
    };
    return on;
}

// Lets Ctrl-C and SIGTERM ask an election to stop, and lets go of it before it is destroyed.
class StopOnSignal {
public:
    explicit StopOnSignal(etcd_leader::election &election) {
        election_ = &election;
        install([](int) { election_->stop(); });
    }
    ~StopOnSignal() { install(SIG_DFL); }
    StopOnSignal(const StopOnSignal &) = delete;
    StopOnSignal &operator=(const StopOnSignal &) = delete;

private:
    static void install(void (*handler)(int)) {
        std::signal(SIGINT, handler);
        std::signal(SIGTERM, handler);
    }

    static inline etcd_leader::election *election_ = nullptr;
};

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts;
    for (std::size_t comma = 0; comma != std::string_view::npos;) {
        comma = text.find(',');
        parts.emplace_back(text.substr(0, comma));
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
    return parts;
}

} // namespace

int main(int argc, char **argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    etcd_leader::config config;
    if (!words.empty() && words.front() == "--v2") {
        config.api = etcd_leader::api::v2;
        words.erase(words.begin());
    }
    if (words.size() < 3 || words.size() > 4) {
        std::cerr << "usage: " << argv[0] << " [--v2] endpoint[,endpoint...] key name [ttl in seconds]\n";
        return 2;
    }
    config.endpoints = split(words[0]);
    config.key = words[1];
    config.name = words[2];
    if (words.size() == 4)
        config.ttl = std::chrono::seconds(std::strtol(words[3].c_str(), nullptr, 10));

    try {
        etcd_leader::election election(config, handlers(config.name));
        const StopOnSignal signals(election);
        election.run();
        return 0;
    } catch (const etcd_leader::error &error) {
        std::cerr << argv[0] << ": " << error.what() << '\n';
        return error.code() == etcd_leader::errc::invalid ? 2 : 1;
    }
}
