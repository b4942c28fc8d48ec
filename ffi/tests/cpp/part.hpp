// What part.cc has for parts.cc.

#include <etcd_leader.hpp>

#define VISIBLE __attribute__((visibility("default")))

VISIBLE const std::error_category &part_category();
VISIBLE void part_throws();
VISIBLE etcd_leader::election part_starts(const etcd_leader::config &config, etcd_leader::handlers on);
using part_work = std::function<bool(const etcd_leader::term &)>;
VISIBLE std::uint64_t part_leads(etcd_leader::election election, const part_work &also);
