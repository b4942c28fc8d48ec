/* etcd_leader.hpp - leader election on etcd, for C++17 and later. Header-only; link with -letcd_leader -pthread.

Many processes want one of them to lead. The whole of it, for work that must have ended before the next one begins:

    #include <etcd_leader.hpp>
    #include <iostream>

    int main() {
        etcd_leader::config config;
        config.endpoints = {"http://127.0.0.1:2379"};
        config.key = "/jobs/nightly";
        config.name = "host-1";
        try {
            const int steps = etcd_leader::election(config).lead([](const etcd_leader::term &term) {
                int step = 0; // Only one of all hosts is in here at a time. Send the token along with each write.
                while (step < 3 && !term.wait_for(std::chrono::milliseconds(10)))
                    std::cout << "step " << ++step << ", token " << term.token() << std::endl;
                return step; // The next one leads when this has returned.
            });
            std::cout << steps << " steps\n";
        } catch (const etcd_leader::error &error) { // Such as error.code() == etcd_leader::errc::key_lost.
            std::cerr << error.what() << '\n';
            return 1;
        }
    }

For all else: an election with handlers for what happens, and `run()`, or `poll()` from a loop of your own. This is a
thin face of etcd_leader.h, the manual: what that says of truth and tokens, signals and fork holds here. Beside it:

LIFE     The constructor begins to campaign and touches no network. The destructor ends that: it gives up the place and
         blocks until etcd has confirmed it, at most `stop_timeout`. It tells no handler, and is itself the word that
         the leading work has ended; what the handlers hold is destroyed before the place is given up.
         An election may be moved at any time, also in a handler and during run() and lead(). One that was moved from
         stands for none: is_leader() is false, token() and time_left() are 0, stop() and release() do nothing, all
         else throws errc::invalid.

THREADS  Handlers are called by poll(), run() and lead(), on the thread that called these. One thread at a time may be
         in there, else errc::busy; so for a handler that calls them. Every thread may call stop(), release(),
         is_leader(), token(), time_left(), leader() and fd() while the object is not being moved, assigned to or
         destroyed; a signal handler stop(), is_leader(), token() and time_left().
         A handler, or the work of lead(), may destroy the election: no handler is called any more, and the election
         ends as LIFE says when the poll(), run() or lead() is left. The same holds for a destructor on another thread,
         which does not wait for that: stop the election and join the thread first if handlers use what goes.

ERRORS   What fails throws `error`, or sets a std::error_code where one is given. What a handler throws comes out of the
         poll(), run() or lead() that called it, and nothing is lost: the next call tells what came behind it.

A program may be made of parts in C++17 and C++20; the latter have std::stop_token too. MIT License. */

#ifndef ETCD_LEADER_HPP
#define ETCD_LEADER_HPP

#if __cplusplus < 201703L
#error "etcd_leader.hpp needs C++17: compile with -std=c++17 or later, or use etcd_leader.h"
#elif !defined(__cpp_exceptions)
#error "etcd_leader.hpp needs exceptions: compile without -fno-exceptions, or use etcd_leader.h"
#else

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <etcd_leader.h>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#if __cplusplus >= 202002L && __has_include(<stop_token>)
#include <stop_token>
#endif

namespace etcd_leader {

/// What went wrong: the statuses of etcd_leader.h, with the same numbers. A later library may have others.
enum class errc : int {
    invalid = EL_INVALID,                   ///< An argument cannot be used; the message names it and the remedy.
    busy = EL_BUSY,                         ///< The election is polled: by another thread, or this is its handler.
    stopped = EL_STOPPED,                   ///< The election has ended, or was asked to end.
    forked = EL_FORKED,                     ///< It was started before a fork, and this is the child: start a new one.
    unreachable = EL_UNREACHABLE,           ///< The etcd member could not be reached.
    timeout = EL_TIMEOUT,                   ///< No answer came in the time that the deadlines leave for one.
    no_quorum = EL_NO_QUORUM,               ///< The member answers, but its cluster has no leader just now.
    server = EL_SERVER,                     ///< etcd refused or failed a request for a reason of its own.
    no_space = EL_NO_SPACE,                 ///< etcd is out of space (the NOSPACE alarm).
    protocol = EL_PROTOCOL,                 ///< The answer was not one that etcd gives.
    denied = EL_DENIED,                     ///< etcd does not let us use this key.
    unsupported = EL_UNSUPPORTED,           ///< The server does not know this API.
    cluster_mismatch = EL_CLUSTER_MISMATCH, ///< The endpoints belong to more than one cluster.
    deadline = EL_DEADLINE,                 ///< A renewal was not confirmed in time, so leading had to end.
    key_lost = EL_KEY_LOST,                 ///< Our key was deleted or overwritten by somebody else.
    lease_lost = EL_LEASE_LOST,             ///< Our lease is gone: it expired or was revoked.
    store_reset = EL_STORE_RESET,           ///< The store was wiped, or restored from a backup.
    nested = EL_NESTED,                     ///< Elections may be nested by mistake.
    internal = EL_INTERNAL,                 ///< A fault in the library, or no thread or descriptor is left.
    not_a_directory = EL_NOT_A_DIRECTORY,   ///< API v2: the election's key holds a value; use another key.
    untrusted = EL_UNTRUSTED,               ///< The member's certificate is not trusted, or it does not trust ours.
    clock_skew = EL_CLOCK_SKEW,             ///< API v2: the clocks of etcd's members differ too much.
    overrun = EL_OVERRUN                    ///< `stop_timeout` passed before the leading work had ended.
};

} // namespace etcd_leader
template <> struct std::is_error_code_enum<etcd_leader::errc> : std::true_type {};
namespace etcd_leader {

/// What `errc` belongs to; visible, so that all shared objects of a program mean the same one.
/// The message of a code is its name in etcd_leader.h, such as "EL_DENIED".
[[gnu::visibility("default")]] inline const std::error_category &category() noexcept {
    static const struct names final : std::error_category {
        const char *name() const noexcept override { return "etcd_leader"; }
        std::string message(int status) const override { return el_status_name(status); }
    } only;
    return only;
}

inline std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), category()}; }

/// Why something failed or ended: a code of `errc`, and what() for people, one line in English by the library.
class [[gnu::visibility("default")]] error : public std::system_error {
public:
    error(errc code, const std::string &message) : system_error(make_error_code(code)), message_(message) {}
    const char *what() const noexcept override { return message_.what(); }

private:
    std::runtime_error message_; // Its copies throw nothing.
};

/// Which of etcd's APIs. They cannot see each other: all who campaign for a key must use the same one.
enum class api : std::int32_t {
    v2 = EL_API_V2, ///< HTTP, etcd 2 to 3.5. The clocks of etcd's members must agree within the step-down margin.
    v3 = EL_API_V3  ///< gRPC, etcd 3.4 and later.
};

/// What to do when the store has gone back in time (wiped, or restored from a backup).
enum class on_store_reset : std::int32_t {
    go_on = EL_ON_STORE_RESET_CONTINUE, ///< Tell it as on_retrying, let nobody of ours lead for a ttl and the margin.
    stop = EL_ON_STORE_RESET_STOP       ///< End the election with errc::store_reset.
};

/// How to take part in an election. Zero and nothing stand for the default. All of it is copied.
struct config {
    std::vector<std::string> endpoints{}; ///< The members of ONE cluster, 1 to 64: `http://host[:port]` or `https://`.
    std::string key{};                    ///< The election. 1 to 1024 bytes; no slash at the end, no double slash.
    std::string name{};                   ///< What the others are told when we lead. API v2: each candidate its own.
    etcd_leader::api api = etcd_leader::api::v3;
    std::chrono::seconds ttl{};                  ///< The lease, 1 to 300 s; default 10 s. What a crash costs at most.
    std::chrono::milliseconds renew{};           ///< How often a follower renews it, up to 100 s; default half the ttl.
    std::chrono::milliseconds step_down{};       ///< How long before its certain end leading ends; default ttl / 5.
    std::chrono::milliseconds request_timeout{}; ///< Silence before another server is asked too; from 20 ms.
    std::chrono::milliseconds stop_timeout{};    ///< How long a stop waits for you, and for etcd, to 1 h; default ttl.
    etcd_leader::on_store_reset on_store_reset = etcd_leader::on_store_reset::go_on;
    std::optional<std::string> username{};        ///< A user of etcd's, if it asks for one; then `password` too.
    std::optional<std::string> password{};        ///< It appears in no message.
    std::optional<std::string> ca_file{};         ///< Whom to trust, in PEM: only these; default: the system's.
    std::optional<std::string> ca_pem{};          ///< The same as a text. Give the file or the text, here and below.
    std::optional<std::string> cert_file{};       ///< Our own certificate, if etcd asks for one; then its key too.
    std::optional<std::string> cert_pem{};        ///< The same as a text.
    std::optional<std::string> key_file{};        ///< Its private key, not encrypted. It appears in no message.
    std::optional<std::string> key_pem{};         ///< The same as a text.
    std::optional<std::string> tls_server_name{}; ///< What the certificates must hold; default: each endpoint's host.
};

/// How an election has ended.
struct ended {
    /// No error: the place was held until the leading work had ended, so that nobody else led before. errc::stopped: it
    /// was stopped before it led. errc::overrun: `stop_timeout` passed before on_unelected was told, or before the work of
    /// lead() had ended. errc::deadline, key_lost, lease_lost, store_reset: the lead was lost before the work had ended. Any other: the election cannot go on.
    std::error_code why;
    std::string message; ///< The same for people, one line in English; empty if there is no error.
    bool released;       ///< Our entry is known to be gone. Else it runs out, or the library deletes it when it can.
};

/// What is called when something happens; none is required. Do not do the leading work in one: while it runs, nobody
/// can tell you that you do not lead any more. on_elected and on_unelected alternate.
struct handlers {
    /// We lead. The token is larger than that of every leader before: send it along with each write, and let the
    /// receiver refuse one that is smaller than the largest it has seen.
    std::function<void(std::uint64_t token)> on_elected{};
    /// We do not lead any more. errc::stopped: because of stop(); the place is kept until poll() is called again, run()
    /// goes on or release() is called, or the work of lead() has ended. Any other reason: it was lost already.
    std::function<void(const error &reason)> on_unelected{};
    /// Who leads now, be it ourselves.
    std::function<void(const std::string &name, std::uint64_t token)> on_leader{};
    /// Nobody is known to lead now.
    std::function<void()> on_leaderless{};
    /// Something is wrong and is being retried; told after the first failure, then at most once per ttl; a store
    /// reset is told at once. `endpoint` is the one that is concerned, or empty.
    std::function<void(const error &reason, const std::string &endpoint)> on_retrying{};
    /// The trouble is over.
    std::function<void()> on_retried{};
    /// The last that is told. Without this handler poll() and run() throw the reason if the election cannot go on.
    std::function<void(const ended &how)> on_ended{};
};

/// The settings that took effect, with every default filled in.
struct effective {
    std::chrono::milliseconds ttl;             ///< The lease that was asked for.
    std::chrono::milliseconds granted_ttl;     ///< What etcd granted: so long a crash keeps the next one waiting; 0: not yet.
    std::chrono::milliseconds renew;           ///< How often a follower renews.
    std::chrono::milliseconds step_down;       ///< How long before the certain end of the lease leading ends.
    std::chrono::milliseconds request_timeout; ///< How long a server may be silent before another one is asked too.
    std::chrono::milliseconds stop_timeout;    ///< How long a stop waits.
};

/// Who leads.
struct leader_info {
    std::string name;
    std::uint64_t token;
};

namespace detail {

/// The library's election, alone in a queue: there the taking of events does not say that the leading work has ended.
struct candidate {
    candidate() = default;
    candidate(const candidate &) = delete;
    candidate &operator=(const candidate &) = delete;
    ~candidate() {
        el_free(handle);
        el_queue_free(queue);
    }

    void stop() noexcept {
        is_stopped = true;
        el_stop(handle);
    }

    el_queue *queue = nullptr;
    el_election *handle = nullptr;
    std::atomic<bool> is_stopped{false};
};

struct state;

/// In milliseconds, rounded up; from 0 to `most`, also if its own unit and type hold more than milliseconds can.
template <class Rep, class Period>
std::chrono::milliseconds within(std::chrono::duration<Rep, Period> time, std::chrono::milliseconds most) {
    const std::chrono::duration<double, std::milli> wished = time;
    if (!(wished.count() > 0))
        return std::chrono::milliseconds(0);
    // A number of floating point may be rounded to more than it was.
    return wished < most ? std::min(std::chrono::ceil<std::chrono::milliseconds>(time), most) : most;
}

/// What the library says, with the fields of `config` in the place of those of C. What is quoted in it is the user's.
inline std::string in_our_words(const std::string &said) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> names{{
        {"ttl_s", "ttl"},
        {"renew_ms", "renew"},
        {"step_down_ms", "step_down"},
        {"request_timeout_ms", "request_timeout"},
        {"stop_timeout_ms", "stop_timeout"},
        {"endpoint_count is", "the number of endpoints is"},
    }};
    std::string told;
    bool is_quoted = false;
    for (std::size_t at = 0; at < said.size();) {
        const auto begins = [&](const auto &pair) { return said.compare(at, pair.first.size(), pair.first) == 0; };
        const auto found = is_quoted ? names.end() : std::find_if(names.begin(), names.end(), begins);
        if (found != names.end()) {
            told += found->second;
            at += found->first.size();
            continue;
        }
        if (is_quoted && said[at] == '\\' && at + 1 < said.size())
            told += said[at++];
        else if (said[at] == '"')
            is_quoted = !is_quoted;
        told += said[at++];
    }
    return told;
}

inline std::int32_t checked(std::int32_t status) {
    return status < 0 ? throw error(static_cast<errc>(status), in_our_words(el_last_error())) : status;
}
} // namespace detail

/// What lead() gives to the work, good until the work has returned. Any thread may ask it.
class term {
public:
    term(const term &) = delete;
    term &operator=(const term &) = delete;

    std::uint64_t token() const noexcept { return token_; } ///< See `handlers::on_elected`.

    /// Whether to end. Reads the clock as is_leader() does: a process that was frozen hears the truth at once.
    bool stop_requested() const noexcept { return is_over_ || el_token(candidate_.handle) != token_; }

    /// Why, else no error: errc::deadline where only the clock has said so yet. errc::stopped: the election was
    /// asked to stop, and the place is kept until the work has ended, or `stop_timeout` has passed. If the place
    /// was lost before, or is lost meanwhile, the reason changes to that, or lead() throws it. Any other: it was lost already.
    std::error_code reason() const noexcept {
        if (is_over_)
            return reason_;
        if (!stop_requested())
            return std::error_code();
        return make_error_code(candidate_.is_stopped ? errc::stopped : errc::deadline);
    }

    /// For how long from now leading is certain even if nothing more is heard of etcd; 0 if we do not lead.
    std::chrono::milliseconds time_left() const noexcept {
        // In this order: what is left may be of the next term already.
        const std::chrono::milliseconds left(el_time_left_ms(candidate_.handle));
        return stop_requested() ? std::chrono::milliseconds(0) : left;
    }

    /// Sleeps until the work is to end. Gives stop_requested(): true.
    bool wait() const {
        std::unique_lock<std::mutex> lock(mutex_);
        news_.wait(lock, [this] { return is_over_.load(); });
        return true;
    }

    /// The same, for at most `timeout` (at most a day): false if that has passed and the work may go on.
    template <class Rep, class Period> bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
        std::unique_lock<std::mutex> lock(mutex_);
        const auto limit = detail::within(timeout, std::chrono::hours(24));
        return news_.wait_for(lock, limit, [this] { return is_over_.load(); }) || stop_requested();
    }

#if defined(__cpp_lib_jthread)
    /// The same for whatever takes one. Its callbacks are called on the thread that called lead().
    std::stop_token get_stop_token() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!source_) {
            source_ = std::make_shared<std::stop_source>();
            request_stop_ = [](void *source) { static_cast<std::stop_source *>(source)->request_stop(); };
            if (is_over_)
                request_stop_(source_.get());
        }
        return static_cast<std::stop_source *>(source_.get())->get_token();
    }
#endif

private:
    friend class election;
    friend struct detail::state;

    explicit term(detail::candidate &candidate) noexcept : candidate_(candidate) {}

    void end(std::error_code why) {
        if (token_ == 0 || is_over_)
            return;
        candidate_.stop(); // One term is all there is.
        std::unique_lock<std::mutex> lock(mutex_);
        reason_ = why;
        is_over_ = true;
        news_.notify_all();
        const auto source = source_;
        lock.unlock();
        if (source)
            request_stop_(source.get());
    }

    void end_work() noexcept {
        std::unique_lock<std::mutex> lock(mutex_);
        source_.reset(); // Nothing that has ended is asked to.
        lock.unlock();
        candidate_.stop();
        el_release(candidate_.handle);
    }

    detail::candidate &candidate_;
    std::uint64_t token_ = 0;
    std::atomic<bool> is_over_{false}; // It was told that we do not lead any more.
    std::error_code reason_{};
    mutable std::mutex mutex_{};
    mutable std::condition_variable news_{};
    mutable std::shared_ptr<void> source_{}; // Of std::stop_token: nothing here looks different in C++17.
    mutable void (*request_stop_)(void *) = nullptr;
};

namespace detail {

/// poll(), run() and lead() hold it: it outlives them, whatever handlers do.
struct state : candidate {
    /// One thread at a time; all below that is not atomic belongs to that one.
    auto enter() {
        checked(el_queue_fd(queue)); // In a fork's child errc::forked, also if a thread of the parent was in here.
        if (is_entered.exchange(true))
            throw error(errc::busy, "the election is polled by another thread, or this is its handler; return first");
        const auto leave = [](state *self) { self->is_entered = false; };
        return std::unique_ptr<state, decltype(leave)>(this, leave);
    }

    /// To come again after the end of a term says that the leading work has ended.
    void come_again() {
        if (std::exchange(awaits_work, false))
            el_release(handle);
    }

    /// Takes the next event and tells it. `taken` becomes what el_queue_next gives.
    void tell_next(std::int32_t timeout_ms, std::int32_t &taken) {
        el_event next{};
        taken = el_queue_next(queue, timeout_ms, &next, sizeof next);
        if (checked(taken) > 0)
            tell(next);
    }

    void tell(const el_event &told) {
        const auto said = in_our_words(told.message);
        const error reason(static_cast<errc>(told.status), said);
        if (told.type == EL_EVENT_ELECTED) {
            token = told.token;
            call(on.on_elected, token);
        } else if (told.type == EL_EVENT_UNELECTED) {
            token = 0;
            awaits_work = is_stopped;
            if (lead != nullptr)
                lead->end(reason.code());
            else if (is_stopped)
                el_hold(handle); // The work that handlers end takes as long as it needs.
            call(on.on_unelected, reason);
        } else if (told.type == EL_EVENT_LEADER) {
            told.token != 0 ? call(on.on_leader, told.name, told.token) : call(on.on_leaderless);
        } else if (told.type == EL_EVENT_RETRYING) {
            told.status != EL_OK ? call(on.on_retrying, reason, told.endpoint) : call(on.on_retried);
        } else if (told.type == EL_EVENT_ENDED) {
            outcome = ended{reason.code(), said, told.released != 0};
            if (!is_stopped && !on.on_ended)
                throw reason;
            call(on.on_ended, *outcome);
        }
    }

    template <class Handler, class... Arguments> void call(const Handler &handler, const Arguments &...arguments) {
        if (handler && !is_orphaned)
            handler(arguments...);
    }

    bool poll(std::int32_t timeout_ms) {
        const auto inside = enter();
        come_again();
        // Also after a stop, until nothing is left: so fd() becomes readable again only when the election has ended.
        for (std::int32_t taken = 1; taken > 0 && !outcome && !is_orphaned; timeout_ms = 0)
            tell_next(timeout_ms, taken);
        return !outcome && !is_orphaned;
    }

    /// Polls to the end, for lead(); `begin` begins the work. Gives what was thrown first.
    std::exception_ptr follow(term &now, const std::function<bool()> &is_asked, const std::function<void()> &begin) {
        const auto inside = enter();
        if (outcome)
            throw error(errc::stopped, "the election has ended");
        lead = &now;
        bool has_begun = false;
        std::exception_ptr failure;
        for (std::int32_t taken = 0; taken >= 0 && !outcome;) {
            try {
                const bool asks = is_asked && !is_stopped;
                if (asks && is_asked())
                    stop();
                if (!has_begun && token != 0 && el_token(handle) == token) {
                    now.token_ = token;
                    begin();
                    has_begun = true;
                }
                if (!has_begun)
                    come_again();
                // Between "elected" and the work the clock may be in doubt for a while, of which no event tells.
                tell_next(asks || (!has_begun && token != 0) ? 50 : -1, taken);
            } catch (...) {
                stop();
                failure = failure ? failure : std::current_exception();
            }
        }
        lead = nullptr;
        now.end(make_error_code(errc::stopped)); // If the library failed, nothing has told it.
        return failure;
    }

    /// Throws why lead() gives nothing.
    void judge(const std::exception_ptr &failure, bool has_worked) const {
        if (failure)
            std::rethrow_exception(failure);
        if (!has_worked && is_stopped)
            throw error(errc::stopped, "the election was stopped before we led");
        if (outcome->why)
            throw error(static_cast<errc>(outcome->why.value()), outcome->message);
    }

    handlers on{};
    std::atomic<bool> is_entered{false}, is_orphaned{false};
    std::uint64_t token = 0;  // Of the term that was told.
    term *lead = nullptr;     // Of the lead() that is under way.
    bool awaits_work = false; // The end of a term was told after a stop, and not yet that the work has ended.
    std::optional<ended> outcome{};
};

inline const char *text(const char *field, const std::string &value) {
    if (const auto at = value.find('\0'); at != std::string::npos)
        throw error(errc::invalid, field + (" has a NUL byte at " + std::to_string(at)) + "; leave it out");
    return value.c_str();
}

inline const char *text(const char *field, const std::optional<std::string> &value) {
    return value ? text(field, *value) : nullptr;
}

inline std::uint32_t count(const char *field, std::int64_t value) {
    if (value < 0 || value > UINT32_MAX)
        throw error(errc::invalid, field + (" is " + std::to_string(value)) + "; give a time, or 0 for the default");
    return static_cast<std::uint32_t>(value);
}

} // namespace detail

/// A candidate in an election on etcd; see the top of this file.
class election {
public:
    /// Stands for none, as one that was moved from.
    election() noexcept = default;

    /// Campaigns, for as long as it takes. Throws errc::invalid if something in the configuration cannot be used, or if
    /// its key and that of another election of this process, not destroyed yet, lie one inside the other; errc::internal
    /// if the system gives no thread or descriptor.
    explicit election(const config &given, handlers on = {}) : state_(std::make_shared<detail::state>()) {
        using detail::count, detail::text;
        std::vector<const char *> endpoints;
        for (const auto &endpoint : given.endpoints)
            endpoints.push_back(text("endpoints", endpoint));
        el_config c{};
        c.endpoints = endpoints.data();
        c.endpoint_count = static_cast<std::uint32_t>(std::min<std::size_t>(endpoints.size(), UINT32_MAX));
        c.key = text("key", given.key);
        c.name = text("name", given.name);
        c.api = static_cast<std::int32_t>(given.api);
        c.ttl_s = count("ttl", given.ttl.count());
        c.renew_ms = count("renew", given.renew.count());
        c.step_down_ms = count("step_down", given.step_down.count());
        c.request_timeout_ms = count("request_timeout", given.request_timeout.count());
        c.stop_timeout_ms = count("stop_timeout", given.stop_timeout.count());
        c.on_store_reset = static_cast<std::int32_t>(given.on_store_reset);
        c.username = text("username", given.username);
        c.password = text("password", given.password);
        c.ca_file = text("ca_file", given.ca_file);
        c.ca_pem = text("ca_pem", given.ca_pem);
        c.cert_file = text("cert_file", given.cert_file);
        c.cert_pem = text("cert_pem", given.cert_pem);
        c.key_file = text("key_file", given.key_file);
        c.key_pem = text("key_pem", given.key_pem);
        c.tls_server_name = text("tls_server_name", given.tls_server_name);
        detail::checked(el_queue_new(&state_->queue));
        c.queue = state_->queue;
        state_->on = std::move(on);
        detail::checked(el_start(&c, sizeof c, &state_->handle));
    }

    /// The same without exceptions: stands for none if it sets `code`.
    election(const config &given, handlers on, std::error_code &code) noexcept {
        code.clear();
        try {
            *this = election(given, std::move(on));
        } catch (const std::system_error &failure) {
            code = failure.code();
        } catch (const std::bad_alloc &) {
            code = std::make_error_code(std::errc::not_enough_memory);
        }
    }

    election(election &&) noexcept = default;

    /// Ends the one that it stood for, as the destructor does.
    election &operator=(election &&other) noexcept {
        if (this != &other) {
            leave();
            state_ = std::move(other.state_);
        }
        return *this;
    }

    ~election() { leave(); }

    /// Whether it stands for an election, be it one that has ended.
    explicit operator bool() const noexcept { return state_ != nullptr; }

    /// Tells what is due by calling handlers on this thread, and waits for it if there is nothing; a signal that is
    /// caught ends the wait. False: the election has ended, and all was told.
    ///
    /// After a stop, calling it AGAIN says "I have ended the leading work" and gives the place up: call it until it
    /// gives false. Polling late costs freshness, never safety: on_elected is told only to one who leads then.
    ///
    /// Throws what a handler threw; why the election cannot go on if there is no on_ended; errc::busy, forked, internal
    /// and invalid.
    bool poll() { return state(known())->poll(-1); }

    /// The same, but waits for at most `timeout` (at most 24 days); zero and less do not wait.
    template <class Rep, class Period> bool poll(std::chrono::duration<Rep, Period> timeout) {
        const auto limit = detail::within(timeout, std::chrono::milliseconds(INT32_MAX));
        return state(known())->poll(static_cast<std::int32_t>(limit.count()));
    }

    /// The same without exceptions: gives false and sets `code`, also to that of a std::system_error that a handler
    /// throws. What else a handler throws ends the program.
    template <class Rep, class Period>
    bool poll(std::chrono::duration<Rep, Period> timeout, std::error_code &code) noexcept {
        code.clear();
        try {
            return poll(timeout);
        } catch (const std::system_error &failure) {
            code = failure.code();
            return false;
        }
    }

    /// Polls until the election has ended. Throws what poll() does; it may be called again then.
    void run() {
        for (const state self = known(); self->poll(-1);) {
        }
    }

    /// Asks for the end of the election; is_leader() is false from its return on. Never blocks, may be repeated, and
    /// may be called by any thread, in a handler and in a signal handler. What is left to do is told by poll().
    void stop() noexcept {
        if (state_)
            state_->stop();
    }

    /// Says that your leading work has ended: after a stop the place is given up. Before a stop it does nothing.
    void release() noexcept { el_release(handle()); }

    /// Leads once: waits until we lead (or begins at once if we do), runs `work(const term &)` on a thread of its own,
    /// polls meanwhile, and stops the election. The place is given up only when that thread has ended, or when
    /// `stop_timeout` has passed after a stop from elsewhere. When both are over, gives what the work gave: nobody else
    /// has led before. Another term takes another election.
    ///
    /// Throws what the work threw; else what a handler threw, which stops the work; else why the place was not held
    /// until the work had ended: errc::overrun if it took longer than `stop_timeout`, errc::deadline, key_lost,
    /// lease_lost, store_reset. errc::stopped if the election was stopped before we led; the reason if it cannot go on;
    /// errc::busy, forked, internal, invalid.
    template <class Work> std::invoke_result_t<Work, const term &> lead(Work &&work) {
        return lead_unless({}, std::forward<Work>(work));
    }

    /// The same, and asks `stop.stop_requested()` on this thread, every 50 ms, whether to stop the election.
    template <class Work, class Stop> std::invoke_result_t<Work, const term &> lead(Work &&work, const Stop &stop) {
        return lead_unless([&stop] { return static_cast<bool>(stop.stop_requested()); }, std::forward<Work>(work));
    }

#if defined(__cpp_lib_jthread)
    /// The same, and hears of it at once.
    template <class Work> std::invoke_result_t<Work, const term &> lead(Work &&work, const std::stop_token &stop) {
        const std::stop_callback callback(stop, [self = known()] { self->stop(); });
        return lead(std::forward<Work>(work));
    }
#endif

    /// Whether we lead at this moment. Reads the clock: a process that was stopped or asleep hears the truth from its
    /// first call on. It may turn true before on_elected is called, and is false before on_unelected is.
    bool is_leader() const noexcept { return el_is_leader(handle()) != 0; }

    /// The token of our term if we lead at this moment, else 0. `token() == t` asks: still in that term?
    std::uint64_t token() const noexcept { return el_token(handle()); }

    /// For how long from now leading is certain even if nothing more is heard of etcd; 0 if we do not lead.
    std::chrono::milliseconds time_left() const noexcept {
        return std::chrono::milliseconds(el_time_left_ms(handle()));
    }

    /// Who leads, as far as is known: ourselves while we do. Nothing: nobody is known to lead.
    std::optional<leader_info> leader() const {
        std::string name;
        std::uint64_t leads = 0;
        for (std::size_t length = 255; length >= name.size();) {
            name.resize(length + 1);
            const auto found = el_leader(known()->handle, name.data(), name.size(), &leads);
            length = static_cast<std::size_t>(detail::checked(found));
        }
        return leads != 0 ? std::optional<leader_info>({name.c_str(), leads}) : std::nullopt;
    }

    /// The settings that took effect, and the ttl that etcd has granted.
    effective settings() const {
        el_effective found = {};
        detail::checked(el_settings(known()->handle, &found, sizeof found));
        using ms = std::chrono::milliseconds;
        return {ms(found.ttl_ms),       ms(found.granted_ttl_ms),     ms(found.renew_ms),
                ms(found.step_down_ms), ms(found.request_timeout_ms), ms(found.stop_timeout_ms)};
    }

    /// Readable while poll() has something to tell: for your own event loop, which calls `poll(0ms)` then. After a
    /// stop, once on_unelected has returned, it is readable again only when the election has ended: call release() when
    /// your leading work has ended. It stays the library's: never read from it, never close it; take it out before the
    /// election goes.
    int fd() const { return detail::checked(el_queue_fd(known()->queue)); }

private:
    using state = std::shared_ptr<detail::state>;

    el_election *handle() const noexcept { return state_ ? state_->handle : nullptr; }

    const state &known() const {
        return state_ ? state_ : throw error(errc::invalid, "this election was moved from or never started");
    }

    void leave() noexcept {
        if (!state_)
            return;
        state_->is_orphaned = true;
        state_->stop(); // Whoever is still inside comes back.
        state_.reset();
    }

    template <class Work>
    std::invoke_result_t<Work, const term &> lead_unless(const std::function<bool()> &is_asked, Work &&work) {
        using result = std::invoke_result_t<Work, const term &>;
        const state self = known();
        term now(*self);
        std::packaged_task<result()> task([&now, &work]() -> result {
            const auto end = [](term *one) { one->end_work(); };
            // The first object that is local to the thread goes last: what the work has made there is part of the work.
            thread_local const std::unique_ptr<term, decltype(end)> at_the_end(&now, end);
            return std::invoke(std::forward<Work>(work), std::as_const(now));
        });
        std::thread thread;
        const auto failure = self->follow(now, is_asked, [&] { thread = std::thread(std::ref(task)); });
        auto given = task.get_future();
        if (thread.joinable())
            thread.join();
        else
            self->judge(failure, false);
        if constexpr (std::is_void_v<result>) {
            given.get();
            self->judge(failure, true);
        } else {
            result value = given.get();
            self->judge(failure, true);
            return std::forward<result>(value);
        }
    }

    state state_{};
};

} // namespace etcd_leader

#endif
#endif
