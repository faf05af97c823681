// What a measured C++ program says and answers, in lines over its standard streams.
//
//     PROGRAM serve --row=ROW
//     PROGRAM call --row=ROW --url=URL --warm-up=MS --measured=MS [--count=N]
//
// A server says `ready URL`, and then answers questions until there are no more. A client says
// `warm` when it is, waits for `go`, and says `done` with its figures.

#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

namespace contract {

using Clock = std::chrono::steady_clock;

enum class Work { Add, EchoBytes, EchoEntities, Objects, Callbacks, HeldObjects };

struct Row {
    std::string_view name;
    Work work;
    std::size_t connections;
    /// On all connections together.
    std::size_t callers;
    /// Of how many calls of a caller one is timed: reading the clock costs, too.
    std::uint64_t timed_every;
    /// Bytes, of an echo.
    std::size_t len;
};

inline constexpr Row rows[] = {
    {"one-caller", Work::Add, 1, 1, 1, 0},
    {"callers-64", Work::Add, 1, 64, 16, 0},
    {"callers-256", Work::Add, 1, 256, 16, 0},
    {"connections-100", Work::Add, 100, 400, 16, 0},
    {"echo-64kib", Work::EchoBytes, 1, 1, 1, 64 << 10},
    {"echo-1mib", Work::EchoBytes, 1, 1, 1, 1 << 20},
    {"echo-16mib", Work::EchoBytes, 1, 1, 1, 16 << 20},
    {"echo-structs", Work::EchoEntities, 1, 1, 1, 0},
    {"objects", Work::Objects, 1, 1, 1, 0},
    {"callbacks", Work::Callbacks, 1, 1, 1, 0},
    {"held-objects", Work::HeldObjects, 1, 1, 1, 0},
};

/// How many structs go there and back in one echo.
inline constexpr std::size_t entities_len = 1000;

struct Options {
    bool serves = false;
    Row row{};
    std::string url;
    std::chrono::milliseconds warm_up{0};
    std::chrono::milliseconds measured{0};
    std::uint64_t count = 1'000'000;
};

/// What one caller did.
struct Tally {
    std::uint64_t calls = 0;
    std::vector<std::int64_t> nanos;
};

/// CPU time that this process has used, in nanoseconds.
inline std::int64_t cpu_time() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

/// Bytes of memory that are resident.
inline std::uint64_t memory() {
    std::uint64_t size = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> size >> resident;
    return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

template <class... Words>
void say(const Words&... words) {
    const char* space = "";
    ((std::cout << space << words, space = " "), ...);
    std::cout << std::endl;
}

inline void ensure(bool holds, const char* otherwise) {
    if (!holds) {
        throw std::runtime_error(otherwise);
    }
}

inline void wait_for_go() {
    std::string line;
    std::getline(std::cin, line);
    ensure(line == "go", "was not told to go");
}

/// Says where the server is, answers questions until there are no more, and ends the process: the
/// system frees what a million objects hold faster than they do.
[[noreturn]] inline void serve_until_eof(std::string_view url) {
    say("ready", url);
    for (std::string question; std::getline(std::cin, question);) {
        if (question == "cpu") {
            say("cpu", cpu_time());
        } else if (question == "memory") {
            say("memory", memory());
        } else {
            say("unknown");
        }
    }
    std::_Exit(0);
}

/// Has `run(end)` call until then, once to warm up and once measured. It returns the callers' tallies.
template <class Run>
void measure(const Options& options, Run run) {
    run(Clock::now() + options.warm_up);
    say("warm");
    wait_for_go();

    const auto start = Clock::now();
    const auto cpu_start = cpu_time();
    const std::vector<Tally> tallies = run(start + options.measured);
    const std::chrono::nanoseconds took = Clock::now() - start;
    const auto cpu = cpu_time() - cpu_start;

    std::uint64_t calls = 0;
    std::vector<std::int64_t> nanos;
    for (const Tally& tally : tallies) {
        calls += tally.calls;
        nanos.insert(nanos.end(), tally.nanos.begin(), tally.nanos.end());
    }
    std::sort(nanos.begin(), nanos.end());
    const auto per_mille = [&](std::size_t part) {
        return nanos.empty() ? 0 : nanos[(nanos.size() - 1) * part / 1000];
    };
    say("done", calls, took.count(), per_mille(500), per_mille(990), per_mille(999), cpu);
}

/// Tells what it takes to hold what `acquire()` returns.
template <class Acquire>
void hold(Acquire acquire) {
    const auto before = memory();
    const auto held = acquire();
    const auto after = memory();
    say("warm");
    wait_for_go();
    say("done", held.size(), before, after, 0, 0, 0);
}

struct Usage : std::runtime_error {
    using runtime_error::runtime_error;
};

struct Unsupported : std::runtime_error {
    using runtime_error::runtime_error;
};

inline std::uint64_t parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw Usage("not a number: `" + std::string(text) + "`");
    }
    return number;
}

inline Options parse(const std::vector<std::string_view>& args) {
    if (args.empty() || (args[0] != "serve" && args[0] != "call")) {
        throw Usage("neither `serve` nor `call`");
    }
    Options options;
    options.serves = args[0] == "serve";
    std::string_view row;
    for (std::size_t at = 1; at < args.size(); ++at) {
        const auto equals = std::min(args[at].find('='), args[at].size());
        const auto name = args[at].substr(0, equals);
        const auto value = args[at].substr(std::min(equals + 1, args[at].size()));
        if (name == "--row") {
            row = value;
        } else if (name == "--url" && !options.serves) {
            options.url = value;
        } else if (name == "--warm-up" && !options.serves) {
            options.warm_up = std::chrono::milliseconds(parse_number(value));
        } else if (name == "--measured" && !options.serves) {
            options.measured = std::chrono::milliseconds(parse_number(value));
        } else if (name == "--count" && !options.serves) {
            options.count = parse_number(value);
        } else {
            throw Usage("unexpected `" + std::string(args[at]) + "`");
        }
    }
    if (row.empty() || (options.url.empty() && !options.serves)) {
        throw Usage("a row, and to call a url, are needed");
    }
    const auto is_meant = [&](const Row& known) { return known.name == row; };
    const auto found = std::find_if(std::begin(rows), std::end(rows), is_meant);
    if (found == std::end(rows)) {
        throw Unsupported(std::string(row));
    }
    options.row = *found;
    return options;
}

/// The whole of `main`: `serve` and `call` take the options.
template <class Serve, class Call>
int run(int argc, char** argv, Serve serve, Call call) {
    try {
        const Options options = parse({argv + 1, argv + argc});
        options.serves ? serve(options) : call(options);
        return 0;
    } catch (const Usage& wrong) {
        std::cerr << wrong.what() << "\n\nusage: " << argv[0] << " serve --row=ROW\n       " << argv[0]
                  << " call --row=ROW --url=URL --warm-up=MS --measured=MS [--count=N]\n";
        return 2;
    } catch (const Unsupported& row) {
        say("unsupported", row.what());
        return 3;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}

} // namespace contract
