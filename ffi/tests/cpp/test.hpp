// What the C++ tests share. Each gets an endpoint and the path of etcdctl; if all is well it says nothing and gives 0.

#include <etcd_leader.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>
#include <unistd.h>

using namespace std::chrono_literals;
using etcd_leader::election;
using etcd_leader::errc;

#define CHECK(...) check(__LINE__, static_cast<bool>(__VA_ARGS__), #__VA_ARGS__)

inline void check(int line, bool holds, const char *condition) {
    if (holds)
        return;
    std::cerr << "line " << line << ": not so: " << condition << " (last: " << el_last_error() << ")" << std::endl;
    std::_Exit(1);
}

// Throws an error with this code.
template <class Action> void refuses(int line, errc code, Action action) {
    try {
        action();
    } catch (const etcd_leader::error &error) {
        if (error.code() != code)
            std::cerr << error.code() << ": " << error.what() << std::endl;
        check(line, error.code() == code, "the right error");
        check(line, *error.what() != '\0', "it says why");
        return;
    }
    check(line, false, "it throws");
}
#define REFUSES(code, ...) refuses(__LINE__, code, [&] { __VA_ARGS__; })

inline std::string endpoint, etcdctl_path;
inline long threads_before, descriptors_before;

inline long entries(const char *path) {
    const std::filesystem::directory_iterator directory(path);
    return std::distance(begin(directory), end(directory));
}

inline void begin(char **argv) {
    endpoint = argv[1];
    etcdctl_path = argv[2];
    // With its first thread a sanitizer starts one of its own. The kernel may list ours for a moment after its end.
    pid_t first = 0;
    std::thread([&first] { first = ::gettid(); }).join();
    while (std::filesystem::exists("/proc/self/task/" + std::to_string(first)))
        std::this_thread::sleep_for(1ms);
    threads_before = entries("/proc/self/task");
    descriptors_before = entries("/proc/self/fd");
    ::alarm(120);
}

// After the last election. The kernel may list a thread that has ended for a moment.
inline void nothing_is_left() {
    int tries = 0;
    while (entries("/proc/self/task") != threads_before || entries("/proc/self/fd") != descriptors_before) {
        CHECK(++tries < 5000);
        std::this_thread::sleep_for(1ms);
    }
}

inline void etcdctl(const std::string &arguments) {
    const auto command = "ETCDCTL_API=3 " + etcdctl_path + " --endpoints=" + endpoint + " " + arguments;
    CHECK(std::system((command + " >/dev/null 2>&1").c_str()) == 0);
}

// Deletes the entry of this key's only candidate, and waits until it has joined again.
inline void lose(const std::string &key) {
    etcdctl("del --prefix " + key);
    const auto get = "ETCDCTL_API=3 " + etcdctl_path + " --endpoints=" + endpoint + " get --prefix --keys-only " + key;
    CHECK(std::system(("until " + get + " 2>/dev/null | grep -q .; do sleep 0.01; done").c_str()) == 0);
}

inline etcd_leader::config config_of(const std::string &key, const std::string &name) {
    etcd_leader::config config;
    config.endpoints = {endpoint};
    config.key = key;
    config.name = name;
    return config;
}

// Long enough that no place runs out by itself while a test lasts.
inline etcd_leader::config long_config_of(const std::string &key, const std::string &name) {
    auto config = config_of(key, name);
    config.ttl = 300s;
    return config;
}

// What an election has told so far, and in which order.
struct told {
    std::vector<std::string> events;
    std::uint64_t token = 0;
    std::string reason;
    bool is_released = false;

    etcd_leader::handlers handlers() {
        etcd_leader::handlers on;
        on.on_elected = [this](std::uint64_t given) {
            events.emplace_back("elected");
            token = given;
        };
        on.on_unelected = [this](const etcd_leader::error &why) { note("unelected", why); };
        on.on_leader = [this](const std::string &name, std::uint64_t) { events.push_back("leader " + name); };
        on.on_leaderless = [this] { events.emplace_back("leaderless"); };
        on.on_retrying = [this](const etcd_leader::error &why, const std::string &at) {
            note("retrying", why);
            events.back() += " " + at;
        };
        on.on_retried = [this] { events.emplace_back("retried"); };
        on.on_ended = [this](const etcd_leader::ended &how) {
            events.push_back("ended " + how.why.message());
            reason = how.message;
            CHECK(how.why.category() == etcd_leader::category() && reason.empty() == !how.why);
            is_released = how.released;
        };
        return on;
    }

    void note(const std::string &what, const etcd_leader::error &why) {
        events.push_back(what + " " + why.code().message());
        reason = why.what();
    }

    bool has(const std::string &event) const { return std::find(events.begin(), events.end(), event) != events.end(); }
    bool is(const std::vector<std::string> &expected) const { return but_for_trouble() == expected; }
    bool ends(const std::vector<std::string> &expected) const {
        const auto all = but_for_trouble();
        return all.size() >= expected.size() && std::equal(expected.rbegin(), expected.rend(), all.rbegin());
    }

    // A busy machine has some.
    std::vector<std::string> but_for_trouble() const {
        std::vector<std::string> others;
        for (const auto &event : events)
            if (event.compare(0, 4, "retr") != 0)
                others.push_back(event);
        return others;
    }
};

// Polls until it has told this.
inline void poll_until(election &polled, const told &told, const std::string &event) {
    for (int tries = 0; !told.has(event); ++tries) {
        if (tries < 600 && polled.poll(100ms))
            continue;
        for (const auto &one : told.events)
            std::cerr << one << std::endl;
        check(__LINE__, false, event.c_str());
    }
}
