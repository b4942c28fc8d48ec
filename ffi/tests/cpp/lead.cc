// lead(): the work of one term, what comes of it, and when the place goes.

#include "test.hpp"

#include <cstring>
#include <sys/wait.h>

using etcd_leader::term;

static_assert(!std::is_copy_constructible_v<term> && !std::is_move_constructible_v<term>);

// One type for most: each one of its own costs the compiler a fifth of a second.
using work = std::function<void(const term &)>;
using answer = std::function<int(const term &)>;
static const work never = [](const term &) { check(__LINE__, false, "it must not lead"); };
static const work nothing = [](const term &) {};

// The place is free: another one leads at once.
static void is_free(const std::string &key) {
    told two;
    election other(long_config_of(key, "other"), two.handlers());
    poll_until(other, two, "elected");
}

static int number = 7;
static int &named(const term &) { return number; }

static void gives_what_the_work_gave() {
    std::uint64_t before = 0;
    const auto grows = [&before](const term &now) {
        CHECK(now.token() > before && !now.stop_requested() && !now.reason() && now.time_left() > 0ms);
        CHECK(!now.wait_for(0ms) && !now.wait_for(std::chrono::milliseconds::min()) && !now.wait_for(1us));
        CHECK(!now.wait_for(std::chrono::hours::min()) && !now.wait_for(std::chrono::duration<double>(0.001)));
        before = now.token();
    };
    const auto again = [] { return election(long_config_of("/gives", "one")); };
    CHECK(again().lead(answer([&](const term &now) { return grows(now), 42; })) == 42);
    again().lead(grows);
    int &reference = again().lead(named);
    CHECK(&reference == &number);
    again().lead([](auto &now) { CHECK(!now.wait_for(1ms)); });
    // Work that can be called once.
    CHECK(*again().lead([owned = std::make_unique<int>(44)](const term &) mutable { return std::move(owned); }) == 44);
}

static void handlers_are_told_as_ever() {
    told one;
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> has_begun{false};
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t token) {
        CHECK(!has_begun && std::this_thread::get_id() == caller);
        one.events.emplace_back("elected");
        one.token = token;
    };
    election me(long_config_of("/told", "one"), on);
    me.lead(work([&](const term &now) {
        has_begun = true;
        CHECK(std::this_thread::get_id() != caller);
        CHECK(me.is_leader() && me.token() == now.token() && me.time_left() > 0ms && me.leader()->name == "one");
        while (now.token() != me.token())
            std::this_thread::yield();
    }));
    CHECK(one.events.front() == "elected" && one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    // That was its only term.
    CHECK(!me.is_leader() && !me.poll());
    REFUSES(errc::stopped, me.lead(never));
}

static void who_leads_already_begins_at_once() {
    told one;
    election me(long_config_of("/already", "one"), one.handlers());
    poll_until(me, one, "leader one");
    me.lead(work([&](const term &now) { CHECK(now.token() == one.token); }));
    is_free("/already");

    // Who has lost it since, and was not told, waits for the next term.
    told two;
    election other(long_config_of("/already", "two"), two.handlers());
    poll_until(other, two, "leader two");
    etcdctl("del --prefix /already");
    while (other.token() == two.token)
        std::this_thread::yield();
    const auto before = two.token;
    other.lead(work([&](const term &now) { CHECK(now.token() > before && now.token() == two.token); }));
    CHECK(two.has("unelected EL_KEY_LOST"));
}

static void throws_what_the_work_threw() {
    told one, two;
    election first(long_config_of("/threw", "one"), one.handlers());
    election second;
    std::string caught;
    try {
        first.lead(work([&](const term &) {
            second = election(long_config_of("/threw", "two"), two.handlers());
            poll_until(second, two, "leader one");
            throw std::runtime_error("a mishap");
        }));
    } catch (const std::runtime_error &error) {
        caught = error.what();
    }
    CHECK(caught == "a mishap" && one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    poll_until(second, two, "elected");
}

static void is_lost_while_the_work_is_done(bool throws) {
    told one;
    bool has_ended = false;
    election me(config_of("/lost", "one"), one.handlers());
    try {
        me.lead(work([&](const term &now) {
            CHECK(!now.stop_requested());
            etcdctl("del --prefix /lost");
            CHECK(now.wait() && now.stop_requested() && !me.is_leader() && now.time_left() == 0ms);
            CHECK(now.wait_for(1h) && now.wait_for(std::chrono::hours::max()) && now.wait_for(std::chrono::milliseconds::min()) && now.reason() == errc::key_lost);
            has_ended = true;
            if (throws)
                throw std::logic_error("because of that");
        }));
        check(__LINE__, false, "it was lost");
    } catch (const etcd_leader::error &error) {
        CHECK(!throws && error.code() == errc::key_lost && std::strstr(error.what(), "deleted") != nullptr);
    } catch (const std::logic_error &) {
        CHECK(throws);
    }
    CHECK(has_ended && one.ends({"unelected EL_KEY_LOST", "ended EL_KEY_LOST"}) && !me.poll());
    is_free("/lost");
}

// The same after a stop, which the work hears of first.
static void is_lost_while_the_work_ends() {
    told one;
    bool has_ended = false;
    election me(long_config_of("/ends", "one"), one.handlers());
    REFUSES(errc::key_lost, me.lead(answer([&](const term &now) {
        me.stop();
        CHECK(now.wait() && now.reason() == errc::stopped);
        etcdctl("del --prefix /ends");
        // What another candidate hears of etcd after that, the library has heard of it too.
        is_free("/ends");
        has_ended = true;
        return 8;
    })));
    CHECK(has_ended && one.ends({"unelected EL_STOPPED", "ended EL_KEY_LOST"}));
}

// Frozen past its ttl, the work hears the truth from its first question on, though nobody was told yet.
static void is_frozen_past_its_ttl() {
    auto config = config_of("/frozen", "one");
    config.ttl = 1s;
    const auto parent = ::getpid();
    try {
        election(config).lead(work([&](const term &now) {
            const auto child = ::fork();
            if (child == 0) {
                ::kill(parent, SIGSTOP);
                // Longer than etcd keeps a lease of one second: it raises it to two, and looks for such that ran out twice a
                // second. While the entry lives, the candidate may lead again with the same token.
                ::usleep(3500 * 1000);
                ::kill(parent, SIGCONT);
                ::_exit(0);
            }
            // The wait for the child's end is the one for our waking.
            ::waitpid(child, nullptr, 0);
            CHECK(now.stop_requested() && now.time_left() == 0ms && now.reason() && now.reason().message() != "Success");
            CHECK(now.wait() && now.reason() && now.reason() != errc::stopped);
        }));
        check(__LINE__, false, "it was lost");
    } catch (const etcd_leader::error &error) {
        CHECK(error.code() != errc::stopped);
    }
}

static void the_successor_leads_when_the_work_has_ended() {
    told one, two;
    election first(config_of("/slow", "one"), one.handlers()), second;
    const auto given = first.lead(answer([&](const term &now) {
        second = election(config_of("/slow", "two"), two.handlers());
        poll_until(second, two, "leader one");
        first.stop();
        CHECK(now.stop_requested() && now.wait() && now.reason() == errc::stopped);
        // Cleaning up takes a while, and etcd has time to tell of a successor.
        for (int times = 0; times < 10; ++times)
            CHECK(second.poll(50ms) && !two.has("elected"));
        return 6;
    }));
    CHECK(given == 6 && one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    poll_until(second, two, "elected");
}

struct slow_to_go {
    ~slow_to_go() {
        std::this_thread::sleep_for(200ms);
        has_gone = true;
    }
    static inline std::atomic<bool> has_gone{false};
};

static void what_is_local_to_the_thread_of_the_work_ends_before_the_place_goes() {
    told one, two;
    election second;
    election first(config_of("/local", "one"), one.handlers());
    std::thread follower;
    std::atomic<bool> was_gone{false};
    first.lead(work([&](const term &) {
        static thread_local slow_to_go local;
        (void)&local;
        second = election(config_of("/local", "two"), two.handlers());
        poll_until(second, two, "leader one");
        follower = std::thread([&] {
            poll_until(second, two, "elected");
            was_gone = slow_to_go::has_gone.load();
        });
    }));
    follower.join();
    CHECK(was_gone);
}

// The place goes when the work has ended, although nobody hears of that yet.
static void a_handler_takes_longer_than_the_work() {
    told one, two;
    election second;
    std::atomic<bool> waits{false};
    auto on = one.handlers();
    on.on_leader = [&](const std::string &, std::uint64_t) {
        while (!waits)
            std::this_thread::yield();
        poll_until(second, two, "elected");
    };
    const auto given = election(config_of("/handler", "one"), on).lead(answer([&](const term &) {
        second = election(config_of("/handler", "two"), two.handlers());
        poll_until(second, two, "leader one");
        waits = true;
        return 9;
    }));
    CHECK(given == 9 && one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
}

static void the_work_is_waited_for_no_longer_than_stop_timeout() {
    told two;
    auto config = long_config_of("/hangs", "one");
    config.stop_timeout = 100ms;
    election first(config), second;
    bool has_ended = false;
    try {
        first.lead(work([&](const term &now) {
            second = election(long_config_of("/hangs", "two"), two.handlers());
            poll_until(second, two, "leader one");
            first.stop();
            poll_until(second, two, "elected");
            CHECK(now.stop_requested() && two.token > now.token());
            has_ended = true;
        }));
        check(__LINE__, false, "it was late");
    } catch (const etcd_leader::error &error) {
        CHECK(error.code() == errc::overrun && std::strstr(error.what(), "stop_timeout") != nullptr);
    }
    CHECK(has_ended);
}

struct flag {
    bool stop_requested() const { return is_set; }
    std::atomic<bool> is_set{false};
};

static void stopped_while_it_waits() {
    told one;
    election first(long_config_of("/waits", "one"), one.handlers());
    poll_until(first, one, "leader one");

    std::optional<election> second;
    told two;
    auto on = two.handlers();
    on.on_leader = [&](const std::string &, std::uint64_t) { second->stop(); };
    second.emplace(long_config_of("/waits", "two"), on);
    REFUSES(errc::stopped, second->lead(never));

    flag stop;
    on.on_leader = [&](const std::string &, std::uint64_t) { stop.is_set = true; };
    second.emplace(long_config_of("/waits", "two"), on);
    REFUSES(errc::stopped, second->lead(never, stop));
    second.emplace(long_config_of("/waits", "two"));
    REFUSES(errc::stopped, second->lead(never, stop)); // It was asked before.
#if defined(__cpp_lib_jthread)
    std::stop_source source;
    on.on_leader = [&](const std::string &, std::uint64_t) { source.request_stop(); };
    second.emplace(long_config_of("/waits", "two"), on);
    REFUSES(errc::stopped, second->lead(never, source.get_token()));
    second.emplace(long_config_of("/waits", "two"));
    REFUSES(errc::stopped, second->lead(never, source.get_token()));
    second.emplace(long_config_of("/waits", "two"));
    REFUSES(errc::stopped, second->lead(never, std::as_const(source))); // Anything with stop_requested().
#endif
    second.reset();
    CHECK(first.is_leader());

    // It led once, and was stopped before there was any work.
    first.stop();
    poll_until(first, one, "unelected EL_STOPPED");
    REFUSES(errc::stopped, first.lead(never));
    CHECK(one.ends({"unelected EL_STOPPED", "ended EL_OK"}));
    is_free("/waits");
}

static void stopped_while_it_leads() {
    flag stop;
    const auto given = election(long_config_of("/leads", "one")).lead(answer([&](const term &now) {
        stop.is_set = true;
        CHECK(now.wait() && now.reason() == errc::stopped);
        return 1;
    }), stop);
    CHECK(given == 1);
    // What a question throws is thrown in the end.
    struct broken {
        bool stop_requested() const { throw std::domain_error("no answer"); }
    };
    bool is_thrown = false;
    try {
        election(long_config_of("/leads", "one")).lead(nothing, broken());
    } catch (const std::domain_error &) {
        is_thrown = true;
    }
    CHECK(is_thrown);
    // A term of one election can stop another.
    election outer(long_config_of("/outer", "one")), inner(long_config_of("/inner", "one"));
    CHECK(outer.lead(answer([&](const term &now) {
        return inner.lead(answer([&](const term &also) {
            outer.stop();
            return also.wait();
        }), now);
    })));
#if defined(__cpp_lib_jthread)
    std::stop_source source;
    std::condition_variable_any condition;
    std::mutex mutex;
    std::atomic<int> calls{0};
    std::stop_token kept;
    election(long_config_of("/leads", "one")).lead(work([&](const term &now) {
        const std::stop_callback callback(now.get_stop_token(), [&] { ++calls; });
        CHECK(!now.get_stop_token().stop_requested() && now.get_stop_token().stop_possible());
        source.request_stop();
        std::unique_lock<std::mutex> lock(mutex);
        CHECK(!condition.wait(lock, now.get_stop_token(), [] { return false; }));
        while (calls == 0)
            std::this_thread::yield();
        CHECK(now.wait() && now.get_stop_token().stop_requested());
        kept = now.get_stop_token();
    }), source.get_token());
    CHECK(calls == 1 && kept.stop_requested());
    // Of work that ended by itself nothing more is stopped.
    election(long_config_of("/leads", "one")).lead(work([&](const term &now) { kept = now.get_stop_token(); }));
    CHECK(!kept.stop_requested());
    // One that is asked for late has been stopped.
    election late(long_config_of("/leads", "one"));
    CHECK(late.lead(answer([&](const term &now) {
        late.stop();
        return now.wait() && now.get_stop_token().stop_requested();
    })));
#endif
}

static void a_handler_throws() {
    told one;
    auto on = one.handlers();
    on.on_elected = [&](std::uint64_t) { throw std::logic_error("elected"); };
    std::string caught;
    try {
        election(long_config_of("/mishap", "one"), on).lead(never);
    } catch (const std::logic_error &error) {
        caught = error.what();
    }
    CHECK(caught == "elected" && one.ends({"unelected EL_STOPPED", "ended EL_OK"}));

    // When the work has ended.
    on = one.handlers();
    on.on_unelected = [](const etcd_leader::error &) { throw std::logic_error("unelected"); };
    try {
        election(long_config_of("/mishap", "one"), on).lead(nothing);
    } catch (const std::logic_error &error) {
        caught = error.what();
    }
    CHECK(caught == "unelected");
    is_free("/mishap");

    // While the work is done: it is stopped, and waited for. What it throws comes out, else what a handler throws.
    std::atomic<bool> may_throw{false};
    on.on_unelected = [&](const etcd_leader::error &reason) {
        while (!may_throw)
            std::this_thread::yield();
        throw std::logic_error(reason.code().message());
    };
    for (const bool throws : {false, true}) {
        bool has_ended = false;
        may_throw = false;
        try {
            election(long_config_of("/mishap", "one"), on).lead(work([&](const term &now) {
                etcdctl("del --prefix /mishap");
                CHECK(now.wait());
                may_throw = true;
                has_ended = true;
                if (throws)
                    throw std::logic_error("the work");
            }));
        } catch (const std::logic_error &error) {
            caught = error.what();
        }
        CHECK(caught == (throws ? "the work" : "EL_KEY_LOST") && has_ended);
    }
    on = one.handlers();
    on.on_ended = [](const etcd_leader::ended &) { throw std::logic_error("ended"); };
    try {
        election(long_config_of("/mishap", "one"), on).lead(nothing);
    } catch (const std::logic_error &error) {
        caught = error.what();
    }
    CHECK(caught == "ended");
}

static void it_cannot_go_on() {
    auto config = config_of("/v2", "one");
    config.api = etcd_leader::api::v2; // Which this etcd has not.
    told one;
    REFUSES(errc::unsupported, election(config, one.handlers()).lead(never));
    CHECK(one.is({"ended EL_UNSUPPORTED"}));
    REFUSES(errc::unsupported, election(config).lead(never));
}

static void one_at_a_time() {
    election me(long_config_of("/one", "one"));
    me.lead(work([&](const term &) {
        REFUSES(errc::busy, me.poll());
        REFUSES(errc::busy, me.lead(nothing));
    }));
}

// Another thread destroys or moves what leads.
static void goes_while_the_work_is_done() {
    std::optional<election> me(std::in_place, long_config_of("/goes", "one"));
    const auto given = me->lead(answer([&](const term &now) {
        me.reset();
        CHECK(now.stop_requested() && now.wait());
        return 5;
    }));
    CHECK(given == 5);
    is_free("/goes");
    election from(long_config_of("/goes", "one")), to;
    from.lead(work([&](const term &now) {
        to = std::move(from);
        CHECK(!now.stop_requested() && to.is_leader());
        to.stop();
        CHECK(now.wait());
    }));
    CHECK(to && !to.poll());
    // One that nobody names.
    is_free("/goes");
}

// Many candidates, one after the other: never two at once.
static void each_has_its_turn() {
    std::atomic<int> inside{0}, turns{0};
    std::uint64_t before = 0; // Guarded by nothing but the election.
    std::vector<std::thread> threads;
    for (int at = 0; at < 8; ++at)
        threads.emplace_back([&, name = "candidate " + std::to_string(at)] {
            for (int times = 0; times < 3; ++times)
                election(config_of("/turns", name)).lead(work([&](const term &now) {
                    CHECK(++inside == 1 && now.token() > before);
                    before = now.token();
                    ++turns;
                    CHECK(!now.wait_for(1ms));
                    --inside;
                }));
        });
    for (auto &thread : threads)
        thread.join();
    CHECK(turns == 24);
}

static election *interrupted;

static void stopped_by_a_signal() {
    election me(long_config_of("/signal", "one"));
    interrupted = &me;
    std::signal(SIGTERM, [](int) { interrupted->stop(); });
    CHECK(me.lead(answer([&](const term &now) {
        ::kill(::getpid(), SIGTERM);
        return now.wait();
    })));
    std::signal(SIGTERM, SIG_DFL);
}

int main(int, char **argv) {
    begin(argv);
    gives_what_the_work_gave();
    handlers_are_told_as_ever();
    who_leads_already_begins_at_once();
    throws_what_the_work_threw();
    is_lost_while_the_work_is_done(false);
    is_lost_while_the_work_is_done(true);
    is_lost_while_the_work_ends();
    the_successor_leads_when_the_work_has_ended();
    what_is_local_to_the_thread_of_the_work_ends_before_the_place_goes();
    a_handler_takes_longer_than_the_work();
    the_work_is_waited_for_no_longer_than_stop_timeout();
    stopped_while_it_waits();
    stopped_while_it_leads();
    a_handler_throws();
    it_cannot_go_on();
    one_at_a_time();
    goes_while_the_work_is_done();
    each_has_its_turn();
    stopped_by_a_signal();
    is_frozen_past_its_ttl();
    nothing_is_left();
    return 0;
}
