// A shared object of its own, with everything hidden but this, in another C++ than the program that uses it.

#include <etcd_leader.hpp>
#include <etcd_leader.hpp>

#include "part.hpp"

const std::error_category &part_category() { return etcd_leader::category(); }

void part_throws() { throw etcd_leader::error(etcd_leader::errc::nested, "thrown over there"); }

etcd_leader::election part_starts(const etcd_leader::config &config, etcd_leader::handlers on) {
    return etcd_leader::election(config, std::move(on));
}

std::uint64_t part_leads(etcd_leader::election election, const part_work &also) {
    return election.lead([&also](const etcd_leader::term &now) {
        const bool is_over = also(now);
#if defined(__cpp_lib_jthread)
        if (now.get_stop_token().stop_requested() != is_over)
            return std::uint64_t{0};
#endif
        return is_over == now.stop_requested() ? now.token() : 0;
    });
}
