// A candidate that says what happens to it, until Ctrl-C: campaign.c as one writes it in C++17.
//
//     campaign-cpp [--v2] http://127.0.0.1:2379[,http://...] /jobs/nightly host-1 [ttl in seconds]
//
// Start it three times with different names: one leads. End that one with Ctrl-C or kill -9: the next one leads.
// --v2 takes etcd's API v2 (etcd --enable-v2=true); all candidates must take the same one.

#include <etcd_leader.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Options {
    std::int32_t api = EL_API_V3;
    std::vector<std::string> endpoints;
    std::string key;
    std::string name;
    std::uint32_t ttl_s = 0;
};

class Campaign {
public:
    explicit Campaign(const Options &options) : me_(options.name) {
        std::vector<const char *> endpoints;
        for (const auto &endpoint : options.endpoints)
            endpoints.push_back(endpoint.c_str());

        el_config config{};
        config.api = options.api;
        config.endpoints = endpoints.data();
        config.endpoint_count = static_cast<std::uint32_t>(endpoints.size());
        config.key = options.key.c_str();
        config.name = options.name.c_str();
        config.ttl_s = options.ttl_s;
        config.on_event = [](const el_event *event, void *self) { static_cast<Campaign *>(self)->on_event(*event); };
        config.user_data = this;
        el_election *election = nullptr;
        if (el_start(&config, sizeof config, &election) != EL_OK)
            throw std::invalid_argument(el_last_error());
        election_.reset(election);
    }

    // The library holds the address of this object.
    Campaign(const Campaign &) = delete;
    Campaign &operator=(const Campaign &) = delete;

    // Delivers events until the election has ended.
    void run() {
        std::int32_t polled = EL_OK;
        while (polled >= 0)
            polled = el_poll(election_.get(), -1);
        if (polled != EL_STOPPED)
            throw std::runtime_error(el_last_error());
    }

    el_election *get() const noexcept { return election_.get(); }

private:
    struct Free {
        void operator()(el_election *election) const noexcept { el_free(election); }
    };

    // Called inside el_poll, from C: no exception may leave it.
    void on_event(const el_event &event) noexcept {
        auto &out = std::cout << me_ << ": ";
        switch (event.type) {
        case EL_EVENT_ELECTED: // Start the leading work here: on a thread, as a child process, as a flag for the loop.
            out << "elected, token " << event.token;
            break;
        case EL_EVENT_UNELECTED: // End it here. The place is kept until this has returned and el_poll is called again.
            out << "unelected (" << el_status_name(event.status) << "): " << event.message;
            break;
        case EL_EVENT_LEADER:
            out << "the leader is " << (event.token != 0 ? event.name : "not known");
            break;
        case EL_EVENT_RETRYING:
            if (event.status == EL_OK)
                out << "all is well again";
            else
                out << "retrying (" << el_status_name(event.status) << "): " << event.message;
            break;
        case EL_EVENT_ERROR:
            out << "the end (" << el_status_name(event.status) << "): " << event.message;
            break;
        }
        out << std::endl;
    }

    std::string me_;
    std::unique_ptr<el_election, Free> election_;
};

// Lets Ctrl-C and SIGTERM ask an election to stop, and lets go of it before it is freed.
class StopOnSignal {
public:
    explicit StopOnSignal(el_election *election) {
        election_ = election;
        install([](int) { el_stop(election_); });
    }
    ~StopOnSignal() { install(SIG_DFL); }
    StopOnSignal(const StopOnSignal &) = delete;
    StopOnSignal &operator=(const StopOnSignal &) = delete;

private:
    static void install(void (*handler)(int)) {
        std::signal(SIGINT, handler);
        std::signal(SIGTERM, handler);
    }

    static inline el_election *election_ = nullptr;
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
    Options options;
    if (!words.empty() && words.front() == "--v2") {
        options.api = EL_API_V2;
        words.erase(words.begin());
    }
    if (words.size() < 3 || words.size() > 4) {
        std::cerr << "usage: " << argv[0] << " [--v2] endpoint[,endpoint...] key name [ttl in seconds]\n";
        return 2;
    }
    options.endpoints = split(words[0]);
    options.key = words[1];
    options.name = words[2];
    if (words.size() == 4)
        options.ttl_s = static_cast<std::uint32_t>(std::strtoul(words[3].c_str(), nullptr, 10));

    try {
        Campaign campaign(options);
        const StopOnSignal handlers(campaign.get());
        campaign.run();
        return 0;
    } catch (const std::invalid_argument &refusal) {
        std::cerr << argv[0] << ": " << refusal.what() << '\n';
        return 2;
    } catch (const std::exception &failure) {
        std::cerr << argv[0] << ": " << failure.what() << '\n';
        return 1;
    }
}
