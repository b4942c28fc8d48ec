// A program of two parts, in C++17 and in C++20: codes, exceptions, elections and terms mean the same in both.

#include "test.hpp"

#include "part.hpp"

int main(int, char **argv) {
    begin(argv);
    CHECK(&part_category() == &etcd_leader::category());
    REFUSES(errc::nested, part_throws());

    told mine;
    auto me = part_starts(config_of("/parts", "one"), mine.handlers());
    poll_until(me, mine, "leader one");
    const auto token = mine.token;
    CHECK(part_leads(std::move(me), [](const etcd_leader::term &now) { return now.stop_requested(); }) == token);
    CHECK(mine.ends({"unelected EL_STOPPED", "ended EL_OK"}));

    REFUSES(errc::key_lost, part_leads(election(config_of("/parts", "one")), [](const etcd_leader::term &now) {
        etcdctl("del --prefix /parts");
        return now.wait();
    }));
    nothing_is_left();

    // What is thrown where nothing may be thrown ends the program.
    auto on = mine.handlers();
    on.on_elected = [](std::uint64_t) { throw 7; };
    auto config = long_config_of("/parts", "one");
    config.stop_timeout = 1ms;
    static auto *last = new election(config, on);
    std::set_terminate([] {
        last->stop();
        told other;
        election next(long_config_of("/parts", "two"), other.handlers());
        poll_until(next, other, "elected");
        next = election();
        std::_Exit(0);
    });
    std::error_code code;
    while (last->poll(1s, code)) {
    }
    return 1;
}
