// What happens to an election is told in order, wherever the object goes, and whatever its handlers do.

#include "test.hpp"

#include <cstring>
#include <limits>
#include <poll.h>
#include <sys/wait.h>

static_assert(!std::is_copy_constructible_v<election> && !std::is_copy_assignable_v<election>);
static_assert(std::is_nothrow_move_constructible_v<election> && std::is_nothrow_move_assignable_v<election>);
static_assert(std::is_nothrow_default_constructible_v<election> && std::is_nothrow_destructible_v<election>);
static_assert(std::is_nothrow_copy_constructible_v<etcd_leader::error>);
static_assert(std::is_base_of_v<std::system_error, etcd_leader::error> && std::is_error_code_enum_v<errc>);
static_assert(!std::is_convertible_v<etcd_leader::config, election>);

static void events_in_order() {
    told one;
    std::optional<election> me;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t token) {
        one.events.emplace_back("elected");
        CHECK(me->settings().granted_ttl == me->settings().ttl && me->settings().ttl > me->settings().renew);
        CHECK(token != 0 && me->token() == token && me->is_leader() && me->time_left() > 0ms);
    };
    on.on_leader = [&](const std::string &name, std::uint64_t token) {
        one.events.push_back("leader " + name);
        CHECK(me->leader()->name == name && me->leader()->token == token && me->token() == token);
        me->stop();
        CHECK(!me->is_leader());
    };
    on.on_unelected = [&](const etcd_leader::error &reason) {
        one.note("unelected", reason);
        CHECK(!me->is_leader() && me->token() == 0 && me->time_left() == 0ms && !me->leader());
        CHECK(reason.code() == errc::stopped);
    };
    me.emplace(long_config_of("/order", "one"), on);
    CHECK(*me && !me->is_leader() && !me->leader() && me->fd() >= 0);
    me->run();
    CHECK(one.is({"elected", "leader one", "unelected EL_STOPPED", "ended EL_OK"}) && one.is_released);
    CHECK(!me->poll() && !me->poll(0ms) && !me->poll(-1ms) && !me->poll(std::chrono::milliseconds::max()));
    CHECK(!me->poll(std::chrono::hours::max()) && !me->poll(std::chrono::hours::min()));
    me->run();
    std::error_code code = errc::invalid;
    CHECK(!me->poll(1s, code) && !code);
    CHECK(*me && one.events.size() == 4);
}

// As in C, although the library had told who leads in the same call.
static void after_a_stop_nothing_but_unelected_is_told() {
    told one;
    std::optional<election> me;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t) { me->stop(); };
    me.emplace(config_of("/stops", "one"), on);
    me->run();
    CHECK(one.is({"unelected EL_STOPPED", "ended EL_OK"}));
}

static void timeouts_and_no_handlers() {
    election one(config_of("/quiet", "one"));
    CHECK(one.poll(0ms) && one.poll(-5s) && one.poll(std::chrono::milliseconds::min()));
    // A float rounds this to more milliseconds than an int32_t holds.
    CHECK(one.is_leader() || one.poll(std::chrono::duration<float, std::deci>(21474836)));
    std::error_code code;
    while (!one.is_leader())
        CHECK(one.poll(std::chrono::hours(24 * 365 * 100), code) && !code);
    one.stop();
    one.stop();
    one.run();
}

// The name of a leader that is a longer one than any of ours.
static void a_long_name() {
    const std::string name(1024, 'n');
    told one, two;
    election first(config_of("/long", name), one.handlers());
    poll_until(first, one, "leader " + name);
    election second(config_of("/long", "two"), two.handlers());
    poll_until(second, two, "leader " + name);
    CHECK(first.leader()->name == name && second.leader()->name == name && second.leader()->token == one.token);
}

static void the_destructor_gives_the_place_up() {
    told one, two;
    std::optional<election> first(std::in_place, long_config_of("/gone", "one"), one.handlers());
    poll_until(*first, one, "leader one");
    election second(long_config_of("/gone", "two"), two.handlers());
    poll_until(second, two, "leader one");
    first.reset();
    CHECK(one.is({"elected", "leader one"}));
    poll_until(second, two, "elected");
    CHECK(two.token > one.token);
}

// So a member that joins a thread in its destructor ends the leading work in time.
static void what_handlers_hold_goes_before_the_place() {
    told one, two;
    auto on = one.handlers();
    std::optional<election> second;
    bool is_gone = false;
    const auto held = [&](int *number) {
        delete number;
        CHECK(second->poll(200ms) && !two.has("elected"));
        is_gone = true;
    };
    on.on_leaderless = [number = std::shared_ptr<int>(new int, held)] {};
    std::optional<election> first(std::in_place, long_config_of("/holds", "one"), std::move(on));
    poll_until(*first, one, "leader one");
    second.emplace(long_config_of("/holds", "two"), two.handlers());
    poll_until(*second, two, "leader one");
    first.reset();
    CHECK(is_gone);
    poll_until(*second, two, "elected");
}

static void a_handler_throws() {
    told one;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t) {
        one.events.emplace_back("elected");
        throw std::logic_error("a mishap");
    };
    on.on_leader = [&](const std::string &, std::uint64_t) {
        one.events.emplace_back("leader");
        throw 7;
    };
    election me(config_of("/throws", "one"), on);
    std::string caught;
    try {
        me.run();
    } catch (const std::logic_error &error) {
        caught = error.what();
    }
    CHECK(caught == "a mishap" && one.is({"elected"}) && me.is_leader());
    // What came behind it is told by the next call, without waiting for anything new.
    int number = 0;
    try {
        me.poll();
    } catch (int thrown) {
        number = thrown;
    }
    CHECK(number == 7 && one.is({"elected", "leader"}) && me.is_leader());
    CHECK(me.poll(0ms));
    me.stop();
    me.run();
    CHECK(one.is({"elected", "leader", "unelected EL_STOPPED", "ended EL_OK"}));
}

// Loses its place and gets it again, so that unelected is followed by elected, and throws.
// Whether the second is told is decided when its turn comes.
static void what_came_behind_an_exception(bool is_stopped_meanwhile) {
    const std::string key = is_stopped_meanwhile ? "/behind/stopped" : "/behind/leading";
    told one;
    bool throws = true;
    auto on = one.handlers();
    on.on_unelected = [&](const etcd_leader::error &reason) {
        one.note("unelected", reason);
        if (std::exchange(throws, false))
            throw std::system_error(std::make_error_code(std::errc::io_error));
    };
    election me(config_of(key, "one"), on);
    poll_until(me, one, "leader one");
    const auto before = one.token;
    one.events.clear();
    lose(key);
    std::error_code code;
    CHECK(!me.poll(60s, code) && code == std::errc::io_error && one.is({"unelected EL_KEY_LOST"}));
    if (is_stopped_meanwhile) {
        me.stop();
        me.run();
        CHECK(one.is({"unelected EL_KEY_LOST", "ended EL_KEY_LOST"}));
    } else {
        poll_until(me, one, "leader one");
        // The engine may not have known of its entry before.
        one.events.erase(std::remove(one.events.begin(), one.events.end(), "leaderless"), one.events.end());
        CHECK(one.is({"unelected EL_KEY_LOST", "elected", "leader one"}) && one.token > before);
        me.stop();
        me.run();
        CHECK(one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    }
}

// A handler that takes long: the one behind it is told only what is still so.
static void elected_is_told_to_one_who_leads() {
    told one;
    std::optional<election> me;
    auto on = one.handlers();
    on.on_unelected = [&](const etcd_leader::error &reason) {
        one.note("unelected", reason);
        me->stop();
    };
    me.emplace(config_of("/late", "one"), on);
    poll_until(*me, one, "leader one");
    lose("/late");
    me->run();
    CHECK(one.is({"elected", "leader one", "unelected EL_KEY_LOST", "ended EL_KEY_LOST"}));
}

// The same, when the term that came behind is lost as well: neither its begin nor its end is told.
static void a_term_that_is_over_already_is_not_told() {
    std::vector<std::uint64_t> tokens;
    told one;
    std::optional<election> me;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t token) { tokens.push_back(token); };
    on.on_unelected = [&](const etcd_leader::error &reason) {
        one.note("unelected", reason);
        if (reason.code() != errc::stopped)
            lose("/over");
    };
    me.emplace(config_of("/over", "one"), on);
    poll_until(*me, one, "leader one");
    one.events.clear();
    lose("/over");
    poll_until(*me, one, "leader one");
    CHECK(one.has("unelected EL_KEY_LOST") && tokens.size() == 2 && tokens.back() == me->token());
    me->stop();
    me->run();
    CHECK(std::count(one.events.begin(), one.events.end(), "unelected EL_KEY_LOST") == 1);
}

static void moved_while_it_runs() {
    told one;
    election first, second;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t token) {
        one.events.emplace_back("elected");
        second = std::move(first);
        CHECK(second.token() == token && !first.is_leader());
        first.stop();
        CHECK(second.is_leader());
    };
    on.on_leader = [&](const std::string &name, std::uint64_t) {
        one.events.push_back("leader " + name);
        second.stop();
    };
    first = election(config_of("/moved", "one"), on);
    first.run();
    CHECK(one.is({"elected", "leader one", "unelected EL_STOPPED", "ended EL_OK"}) && second && !second.poll());

    CHECK(!first && first.token() == 0 && first.time_left() == 0ms);
    first.stop();
    REFUSES(errc::invalid, first.poll());
    REFUSES(errc::invalid, first.run());
    REFUSES(errc::invalid, first.fd());
    REFUSES(errc::invalid, first.leader());
    REFUSES(errc::invalid, first.lead([](const etcd_leader::term &) {}));
    std::error_code code;
    CHECK(!first.poll(1s, code) && code == errc::invalid);
    election third(std::move(first));
    CHECK(!third);
    std::swap(second, third);
    CHECK(!second && third && !third.poll());
    auto &same = third;
    third = std::move(same);
    CHECK(third);
}

static void assigned_over() {
    told one, two;
    election me(long_config_of("/over", "one"), one.handlers());
    poll_until(me, one, "elected");
    election other(long_config_of("/over", "two"), two.handlers());
    poll_until(other, two, "leader one");
    me = std::move(other);
    poll_until(me, two, "elected");
    CHECK(!one.has("unelected EL_STOPPED"));
}

static void destroyed_in_its_own_handler(bool throws) {
    told one, two;
    std::optional<election> me;
    auto on = one.handlers();
    // What the handler holds outlives it.
    on.on_elected = [&, text = std::string("longer than what fits into a std::string")](std::uint64_t) {
        me.reset();
        CHECK(text.size() == 40);
        one.events.emplace_back("elected");
        if (throws)
            throw std::logic_error("and throws");
    };
    me.emplace(long_config_of("/suicide", "one"), on);
    try {
        me->run();
        CHECK(!throws);
    } catch (const std::logic_error &) {
        CHECK(throws);
    }
    CHECK(!me && one.is({"elected"}));
    election other(long_config_of("/suicide", "two"), two.handlers());
    poll_until(other, two, "elected");
}

static void destroyed_while_another_thread_runs_it() {
    told one;
    std::atomic<bool> is_elected{false};
    auto on = one.handlers();
    on.on_leader = [&](const std::string &, std::uint64_t) { is_elected = true; };
    auto me = std::make_unique<election>(long_config_of("/pulled", "one"), on);
    std::thread thread([&running = *me] { running.run(); });
    while (!is_elected)
        std::this_thread::yield();
    me.reset();
    thread.join();
    CHECK(one.is({"elected"}));
    told two;
    election other(long_config_of("/pulled", "two"), two.handlers());
    poll_until(other, two, "elected");
}

static void one_at_a_time() {
    told one;
    std::optional<election> me;
    std::atomic<bool> is_inside{false}, may_leave{false};
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t) {
        REFUSES(errc::busy, me->poll());
        REFUSES(errc::busy, me->run());
        REFUSES(errc::busy, me->lead([](const etcd_leader::term &) {}));
        is_inside = true;
        while (!may_leave)
            std::this_thread::yield();
    };
    me.emplace(config_of("/busy", "one"), on);
    std::thread thread([&] { me->run(); });
    while (!is_inside)
        std::this_thread::yield();
    std::error_code code;
    CHECK(!me->poll(0ms, code) && code == errc::busy && code != errc::stopped);
    REFUSES(errc::busy, me->run());
    CHECK(me->is_leader() && me->leader()->name == "one");
    may_leave = true;
    me->stop();
    thread.join();
    CHECK(one.is({"unelected EL_STOPPED", "ended EL_OK"}));
}

static void stopped_by_another_thread() {
    std::atomic<bool> is_leading{false};
    told one;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t) { is_leading = true; };
    election me(long_config_of("/stopped", "one"), on);
    std::thread thread([&] {
        while (!is_leading)
            std::this_thread::yield();
        me.stop();
        CHECK(!me.is_leader());
    });
    me.run();
    thread.join();
    CHECK(one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
}

static election *interrupted;

static void stopped_by_a_signal() {
    told one;
    std::atomic<bool> is_leading{false};
    auto on = one.handlers();
    on.on_leader = [&](const std::string &, std::uint64_t) { is_leading = true; };
    election me(long_config_of("/signal", "one"), on);
    interrupted = &me;
    std::signal(SIGINT, [](int) {
        const auto left = interrupted->time_left();
        if (interrupted->is_leader() && interrupted->token() != 0 && left > 0ms)
            interrupted->stop();
    });
    std::thread thread([&, runs = ::pthread_self()] {
        while (!is_leading)
            std::this_thread::yield();
        CHECK(::pthread_kill(runs, SIGINT) == 0);
    });
    me.run();
    thread.join();
    std::signal(SIGINT, SIG_DFL);
    CHECK(one.is({"elected", "unelected EL_STOPPED", "ended EL_OK"}));
}

// A child has its parent's elections, but they run in the parent only.
static void forked() {
    told one;
    std::optional<election> me(std::in_place, long_config_of("/forked", "one"), one.handlers());
    poll_until(*me, one, "leader one");
    const auto child = ::fork();
    if (child == 0) {
        CHECK(!me->is_leader() && me->token() == 0 && me->time_left() == 0ms);
        REFUSES(errc::forked, me->poll());
        REFUSES(errc::forked, me->run());
        REFUSES(errc::forked, me->lead([](const etcd_leader::term &) {}));
        REFUSES(errc::forked, me->leader());
        REFUSES(errc::forked, me->fd());
        me->stop();
        me.reset();
        ::_exit(one.is({"elected", "leader one"}) ? 0 : 1);
    }
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child && status == 0);
    CHECK(me->is_leader() && me->poll(0ms));
    me->stop();
    me->run();
    CHECK(one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
}

// In the child the entrance stays held, by a thread that only the parent has.
static void forked_while_another_thread_polls() {
    told one;
    election me(long_config_of("/forked", "one"), one.handlers());
    poll_until(me, one, "leader one");
    std::thread thread([&me] { me.run(); });
    for (bool is_inside = false; !is_inside; std::this_thread::yield()) {
        std::error_code code;
        me.poll(0ms, code);
        is_inside = code == errc::busy;
    }
    const auto child = ::fork();
    if (child == 0) {
        REFUSES(errc::forked, me.poll());
        REFUSES(errc::forked, me.run());
        REFUSES(errc::forked, me.lead([](const etcd_leader::term &) {}));
        ::_exit(0);
    }
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child && status == 0);
    me.stop();
    thread.join();
}

#if __cplusplus >= 202002L
static void as_one_writes_it_in_cpp_20() {
    std::uint64_t token = 0;
    election me({.endpoints = {endpoint}, .key = "/twenty", .name = "one", .ttl = 5s},
                {.on_elected = [&](auto given) { token = given; }});
    while (token == 0)
        CHECK(me.poll());
    CHECK(me.token() == token);
}
#endif

// An election that leads, and another one that waits.
struct pair {
    explicit pair(const std::string &key, std::chrono::milliseconds stop_timeout = 0ms) {
        auto config = long_config_of(key, "one");
        config.stop_timeout = stop_timeout;
        first.emplace(config, one.handlers());
        poll_until(*first, one, "leader one");
        second.emplace(long_config_of(key, "two"), two.handlers());
        poll_until(*second, two, "leader one");
    }

    told one, two;
    std::optional<election> first, second;
};

static void the_place_is_kept_until_the_next_poll() {
    pair of("/kept");
    of.first->stop();
    CHECK(of.first->poll() && of.one.is({"elected", "leader one", "unelected EL_STOPPED"}));
    CHECK(of.second->poll(300ms) && !of.two.has("elected"));
    of.first->run();
    CHECK(of.one.ends({"unelected EL_STOPPED", "ended EL_OK"}) && of.one.is_released);
    poll_until(*of.second, of.two, "elected");
}

// The same, when on_unelected throws.
static void the_place_is_kept_until_the_poll_after_an_exception() {
    told one;
    auto on = one.handlers();
    std::optional<election> second;
    on.on_unelected = [](const etcd_leader::error &) { throw 7; };
    election first(long_config_of("/kept", "one"), on);
    poll_until(first, one, "leader one");
    told two;
    second.emplace(long_config_of("/kept", "two"), two.handlers());
    poll_until(*second, two, "leader one");
    first.stop();
    try {
        first.poll();
        check(__LINE__, false, "it throws");
    } catch (int) {
    }
    CHECK(second->poll(300ms) && !two.has("elected"));
    first.run();
    CHECK(one.events.back() == "ended EL_OK");
    poll_until(*second, two, "elected");
}

static bool is_readable(const election &one, std::chrono::milliseconds timeout) {
    pollfd asked = {one.fd(), POLLIN, 0};
    const int found = ::poll(&asked, 1, static_cast<int>(timeout.count()));
    CHECK(found >= 0 || errno == EINTR);
    return found > 0;
}

// In an event loop, with the work on a thread of its own.
static void the_place_is_kept_until_release() {
    pair of("/loop");
    of.first->release(); // Before a stop it does nothing.
    CHECK(of.first->is_leader() && !is_readable(*of.first, 0ms));
    std::thread([&] { of.first->stop(); }).join();
    while (!of.one.has("unelected EL_STOPPED"))
        CHECK(is_readable(*of.first, 60s) && of.first->poll(0ms));
    CHECK(!is_readable(*of.first, 300ms) && of.second->poll(0ms) && !of.two.has("elected"));
    std::thread([&] { of.first->release(); }).join();
    CHECK(is_readable(*of.first, 60s) && !of.first->poll(0ms));
    CHECK(of.one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    poll_until(*of.second, of.two, "elected");
}

// Until it has heard of what happened on etcd before.
static void waits_for_the_engine(const std::string &key) {
    told other;
    election me(long_config_of(key, "other"), other.handlers());
    poll_until(me, other, "elected");
}

static void lost_while_the_work_ends() {
    pair of("/ends");
    of.first->stop();
    poll_until(*of.first, of.one, "unelected EL_STOPPED");
    etcdctl("del --prefix /ends/");
    poll_until(*of.second, of.two, "elected");
    waits_for_the_engine("/other");
    of.first->run();
    CHECK(of.one.ends({"unelected EL_STOPPED", "ended EL_KEY_LOST"}));
    CHECK(of.one.reason.find("deleted") != std::string::npos);
}

// Once on_unelected was told, the work takes as long as it needs.
static void the_place_is_kept_beyond_stop_timeout() {
    pair of("/patience", 300ms);
    of.first->stop();
    poll_until(*of.first, of.one, "unelected EL_STOPPED");
    CHECK(of.second->poll(900ms) && !of.two.has("elected"));
    of.first->run();
    CHECK(of.one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    poll_until(*of.second, of.two, "elected");
}

static void not_polled_within_stop_timeout() {
    pair of("/overrun", 500ms);
    of.first->stop();
    poll_until(*of.second, of.two, "elected");
    of.first->run();
    CHECK(of.one.ends({"unelected EL_OVERRUN", "ended EL_OVERRUN"}));
}

static void stopped_before_it_led() {
    pair of("/never");
    of.second->stop();
    of.second->run();
    CHECK(of.two.is({"leader one", "ended EL_STOPPED"}) && of.two.is_released && of.first->is_leader());
}

static void the_last_handler_throws() {
    told one;
    auto on = one.handlers();
    on.on_ended = [](const etcd_leader::ended &) { throw 7; };
    election me(long_config_of("/last", "one"), on);
    me.stop();
    std::string caught;
    try {
        me.run();
    } catch (int) {
        caught = "7";
    }
    CHECK(caught == "7" && !me.poll());
}

static void destroyed_in_its_last_handler() {
    std::optional<election> me;
    etcd_leader::handlers on;
    std::error_code why;
    on.on_ended = [&](const etcd_leader::ended &how) {
        me.reset();
        why = how.why;
        CHECK(!how.message.empty());
    };
    me.emplace(long_config_of("/last", "one"), on);
    me->stop();
    me->run();
    CHECK(!me && why == errc::stopped);
}

static void what_cannot_go_on() {
    auto config = config_of("/v2", "one");
    config.api = etcd_leader::api::v2; // Which this etcd has not.
    told one;
    election heard(config, one.handlers());
    heard.run();
    CHECK(one.is({"ended EL_UNSUPPORTED"}) && one.reason.find("enable-v2") != std::string::npos);

    election unheard(config);
    REFUSES(errc::unsupported, unheard.run());
    CHECK(!unheard.poll());
    election quiet(config);
    std::error_code code;
    while (quiet.poll(60s, code)) {
    }
    CHECK(code == errc::unsupported && !quiet.poll(60s, code) && !code);
}

template <class Change> static void is_refused(int line, const char *says, Change change) {
    auto config = config_of("/refused", "one");
    change(config);
    try {
        election me(config);
        check(line, false, "it is refused");
    } catch (const etcd_leader::error &error) {
        if (std::strstr(error.what(), says) == nullptr)
            std::cerr << error.what() << std::endl;
        check(line, error.code() == errc::invalid && std::strstr(error.what(), says) != nullptr, says);
    }
    std::error_code code;
    const election me(config, {}, code);
    check(line, !me && code == errc::invalid, "without exceptions too");
}
#define IS_REFUSED(says, change) is_refused(__LINE__, says, [](etcd_leader::config &c) { change; })

static void configurations() {
    IS_REFUSED("ttl is 301", c.ttl = 301s);
    IS_REFUSED("ttl is -1", c.ttl = -1s);
    IS_REFUSED("ttl is 4294967296", c.ttl = std::chrono::seconds(4294967296));
    IS_REFUSED("renew is -1", c.renew = -1ms);
    IS_REFUSED("renew 10000 and step_down 2000 leave no room", c.renew = 10s);
    IS_REFUSED("step_down is -9223372036854775808", c.step_down = std::chrono::milliseconds::min());
    IS_REFUSED("step_down 10000", c.step_down = 10s);
    IS_REFUSED("request_timeout is 19", c.request_timeout = 19ms);
    IS_REFUSED("stop_timeout is 3600001", c.stop_timeout = 3600001ms);
    IS_REFUSED("stop_timeout is 9223372036854775807", c.stop_timeout = std::chrono::milliseconds::max());
    IS_REFUSED("endpoints is empty", c.endpoints.clear());
    IS_REFUSED("the number of endpoints is 65", c.endpoints.resize(65, "http://h"));
    IS_REFUSED("\"ttl_s\\\"ttl_s\"", c.endpoints.push_back("ttl_s\"ttl_s"));
    IS_REFUSED("ftp", c.endpoints.push_back("ftp://h"));
    IS_REFUSED("endpoints has a NUL byte at 8", c.endpoints.push_back(std::string("http://h\0.example", 17)));
    IS_REFUSED("key is empty", c.key.clear());
    IS_REFUSED("leave the slash out", c.key += "/");
    IS_REFUSED("key has a NUL byte at 0", c.key[0] = '\0');
    IS_REFUSED("name is empty", c.name.clear());
    IS_REFUSED("name is not UTF-8", c.name = "\xff");
    IS_REFUSED("name has a NUL byte at 1", c.name = std::string("a\0b", 3));
    IS_REFUSED("api is 7", c.api = static_cast<etcd_leader::api>(7));
    IS_REFUSED("on_store_reset is 9", c.on_store_reset = static_cast<etcd_leader::on_store_reset>(9));
    IS_REFUSED("password", c.username = "who");
    IS_REFUSED("username", c.password = "what");
    // What is empty is not the same as nothing: else a variable that is not set would switch TLS to other CAs.
    IS_REFUSED("ca_pem", c.ca_pem = "");
    IS_REFUSED("ca_file", c.ca_file = "");
    IS_REFUSED("username", (c.username = "", c.password = "what"));
    IS_REFUSED("password has a NUL byte at 5", (c.username = "who", c.password = std::string("sword\0fish", 10)));
    IS_REFUSED("key_pem has a NUL", c.key_pem = std::string(3, '\0'));
    IS_REFUSED("cert_file", c.cert_file = "/no/such/file");
    IS_REFUSED("tls_server_name", c.tls_server_name = "");

    auto config = config_of("/taken", "one");
    config.ttl = 20s;
    config.renew = 5s;
    config.step_down = 3s;
    config.request_timeout = 1500ms;
    config.stop_timeout = 2s;
    config.on_store_reset = etcd_leader::on_store_reset::stop;
    std::error_code code = errc::busy;
    const election me(config, {}, code);
    CHECK(me && !code);
    REFUSES(errc::invalid, election(config_of("/taken/inside", "one")));
}

static void codes() {
    const std::error_code denied = errc::denied;
    CHECK(denied == errc::denied && denied != errc::busy && denied && denied.value() == EL_DENIED);
    CHECK(denied.category() == etcd_leader::category() && denied.message() == "EL_DENIED");
    CHECK(std::strcmp(etcd_leader::category().name(), "etcd_leader") == 0 && denied != std::errc::permission_denied);
    CHECK(std::error_code(-999, etcd_leader::category()).message() == "EL_?");
    CHECK(std::error_code(0, etcd_leader::category()).message() == "EL_OK");
    const etcd_leader::error error(errc::key_lost, "it is gone");
    const auto copy = error;
    CHECK(copy.code() == errc::key_lost && std::strcmp(copy.what(), "it is gone") == 0);
    try {
        throw copy;
    } catch (const std::system_error &caught) {
        CHECK(caught.code() == errc::key_lost && std::strcmp(caught.what(), "it is gone") == 0);
    }
}

int main(int, char **argv) {
    begin(argv);
    codes();
    configurations();
    events_in_order();
    after_a_stop_nothing_but_unelected_is_told();
    timeouts_and_no_handlers();
    a_long_name();
    the_destructor_gives_the_place_up();
    what_handlers_hold_goes_before_the_place();
    a_handler_throws();
    what_came_behind_an_exception(false);
    what_came_behind_an_exception(true);
    elected_is_told_to_one_who_leads();
    a_term_that_is_over_already_is_not_told();
    moved_while_it_runs();
    assigned_over();
    destroyed_in_its_own_handler(false);
    destroyed_in_its_own_handler(true);
    destroyed_while_another_thread_runs_it();
    one_at_a_time();
    stopped_by_another_thread();
    stopped_by_a_signal();
    forked();
    forked_while_another_thread_polls();
#if __cplusplus >= 202002L
    as_one_writes_it_in_cpp_20();
#endif
    the_place_is_kept_until_the_next_poll();
    the_place_is_kept_until_the_poll_after_an_exception();
    the_place_is_kept_until_release();
    lost_while_the_work_ends();
    the_place_is_kept_beyond_stop_timeout();
    not_polled_within_stop_timeout();
    stopped_before_it_led();
    the_last_handler_throws();
    destroyed_in_its_last_handler();
    what_cannot_go_on();
    nothing_is_left();
    return 0;
}
