// The comparison's program for ZeroC Ice 3.7, in its C++11 mapping.
//
//     slice2cpp --output-dir OUT bench.ice
//     g++ -O2 -std=c++17 -DICE_CPP11_MAPPING -IOUT main.cpp OUT/bench.cpp -o bench-ice -lIce++11 -lpthread

#include "../contract.hpp"

#include <bench.h>

#include <Ice/Ice.h>

#include <future>
#include <memory>
#include <utility>

using contract::Clock;
using contract::Options;
using contract::Row;
using contract::Tally;
using contract::Work;

namespace {

Ice::CommunicatorHolder start_ice() {
    Ice::InitializationData data;
    data.properties = Ice::createProperties();
    data.properties->setProperty("Ice.MessageSizeMax", "0"); // no limit: 16 MiB are more than the usual one
    return Ice::CommunicatorHolder(data);
}

// The server. No dispatch waits for anything, so that the pool of one thread, which is the default, is
// all it takes; a second one costs each call a wake-up.

class CellI final : public Bench::Cell {
public:
    explicit CellI(long long value) : value_(value) {}

    long long get(const Ice::Current&) override { return value_; }

    void destroy(const Ice::Current& current) override { current.adapter->remove(current.id); }

private:
    const long long value_;
};

class TargetI final : public Bench::Target {
public:
    long long add(long long a, long long b, const Ice::Current&) override { return a + b; }

    EchoMarshaledResult echo(std::pair<const Ice::Byte*, const Ice::Byte*> data, const Ice::Current& current) override {
        return {data, current};
    }

    Bench::Entities echoEntities(Bench::Entities entities, const Ice::Current&) override { return entities; }

    std::shared_ptr<Bench::CellPrx> make(long long value, const Ice::Current& current) override {
        // A number is shorter than a UUID, at both sides and on the way.
        const auto cell = current.adapter->add(std::make_shared<CellI>(value), {std::to_string(++cells_), ""});
        return Ice::uncheckedCast<Bench::CellPrx>(cell);
    }

    Bench::Cells makeMany(int count, const Ice::Current& current) override {
        Bench::Cells cells;
        cells.reserve(static_cast<std::size_t>(count));
        for (int value = 0; value < count; ++value) {
            cells.push_back(make(value, current));
        }
        return cells;
    }

    void callBackAsync(std::string callback, long long n, std::function<void(long long)> response,
                       std::function<void(std::exception_ptr)> exception, const Ice::Current& current) override {
        const auto client = current.con->createProxy({std::move(callback), ""});
        Ice::uncheckedCast<Bench::CallbackPrx>(client)->nextAsync(n, std::move(response), std::move(exception));
    }

private:
    std::uint64_t cells_ = 0; // one thread dispatches
};

void serve(const Options&) {
    const auto ice = start_ice();
    const auto adapter = ice->createObjectAdapterWithEndpoints("bench", "tcp -h 127.0.0.1");
    adapter->add(std::make_shared<TargetI>(), {"target", ""});
    adapter->activate();
    const auto info = std::dynamic_pointer_cast<Ice::IPEndpointInfo>(adapter->getEndpoints().at(0)->getInfo());
    contract::serve_until_eof(info->host + ":" + std::to_string(info->port));
}

// The client.

/// One caller. Its next call starts where the answer to the last one arrives, in the thread that read
/// it: no thread waits, and none has to be woken. A blocking caller takes half as much CPU time again.
class Caller {
public:
    virtual ~Caller() = default;

    /// Calls until then.
    std::future<Tally> start(Clock::time_point end, std::uint64_t timed_every) {
        end_ = end;
        timed_every_ = timed_every;
        tally_ = {};
        auto finished = finished_.get_future();
        call_timed();
        return finished;
    }

protected:
    /// Starts a call that ends in `done` or in `failed_`.
    virtual void call() = 0;

    void done(bool right) {
        if (!right) {
            return failed_(std::make_exception_ptr(std::runtime_error("a wrong answer came back")));
        }
        ++tally_.calls;
        if (calls_left_ == timed_every_) {
            tally_.nanos.push_back(std::chrono::nanoseconds(Clock::now() - call_start_).count());
        }
        --calls_left_ > 0 ? call() : call_timed();
    }

    const std::function<void(std::exception_ptr)> failed_ = [this](std::exception_ptr why) {
        std::exchange(finished_, {}).set_exception(why);
    };

private:
    void call_timed() {
        call_start_ = Clock::now();
        if (call_start_ >= end_) {
            // Whoever waits may start this caller anew before `set_value` returns.
            return std::exchange(finished_, {}).set_value(std::move(tally_));
        }
        calls_left_ = timed_every_;
        call();
    }

    Clock::time_point end_;
    Clock::time_point call_start_;
    std::uint64_t timed_every_ = 1;
    std::uint64_t calls_left_ = 0;
    Tally tally_;
    std::promise<Tally> finished_;
};

using Target = std::shared_ptr<Bench::TargetPrx>;

class Adds final : public Caller {
public:
    Adds(Target target, long long number) : target_(std::move(target)), b_(number) {}

private:
    void call() override {
        target_->addAsync(a_, b_, [this](long long sum) { done(sum == a_++ + b_); }, failed_);
    }

    const Target target_;
    long long a_ = 0;
    const long long b_;
};

class EchoesBytes final : public Caller {
public:
    EchoesBytes(Target target, std::size_t len) : target_(std::move(target)), body_(len) {
        for (std::size_t at = 0; at < len; ++at) {
            body_[at] = static_cast<Ice::Byte>(at * 7 + at / 251);
        }
    }

private:
    using View = std::pair<const Ice::Byte*, const Ice::Byte*>;

    void call() override {
        target_->echoAsync({body_.data(), body_.data() + body_.size()}, [this](View body) {
            done(static_cast<std::size_t>(body.second - body.first) == body_.size());
        }, failed_);
    }

    const Target target_;
    Bench::Bytes body_;
};

class EchoesEntities final : public Caller {
public:
    explicit EchoesEntities(Target target) : target_(std::move(target)) {
        for (std::size_t at = 0; at < contract::entities_len; ++at) {
            const auto number = static_cast<int>(at);
            entities_.push_back({number, number * 3, -number, "name" + std::to_string(1000 + number)});
        }
    }

private:
    void call() override {
        target_->echoEntitiesAsync(entities_, [this](Bench::Entities entities) {
            entities_ = std::move(entities);
            done(entities_.size() == contract::entities_len && entities_.back().name.size() == 8);
        }, failed_);
    }

    const Target target_;
    Bench::Entities entities_;
};

/// Makes an object, calls it and has it destroyed, again and again.
class MakesObjects final : public Caller {
public:
    explicit MakesObjects(Target target) : target_(std::move(target)) {}

private:
    void call() override {
        target_->makeAsync(++value_, [this](std::shared_ptr<Bench::CellPrx> cell) {
            cell->getAsync([this, cell](long long value) {
                // Nothing comes back from a drop; the next call on this connection is behind it.
                cell->ice_oneway()->destroyAsync(nullptr, failed_);
                done(value == value_);
            }, failed_);
        }, failed_);
    }

    const Target target_;
    long long value_ = 0;
};

class CallbackI final : public Bench::Callback {
public:
    long long next(long long n, const Ice::Current&) override { return n + 1; }
};

/// Is called back within each call, on the connection that it calls on.
class IsCalledBack final : public Caller {
public:
    explicit IsCalledBack(Target target) : target_(std::move(target)) {
        const auto adapter = target_->ice_getCommunicator()->createObjectAdapter("");
        callback_ = adapter->addWithUUID(std::make_shared<CallbackI>())->ice_getIdentity().name;
        target_->ice_getConnection()->setAdapter(adapter);
    }

private:
    void call() override {
        target_->callBackAsync(callback_, n_, [this](long long n) { done(n == ++n_); }, failed_);
    }

    const Target target_;
    std::string callback_;
    long long n_ = 0;
};

std::unique_ptr<Caller> caller(const Row& row, const Target& target, std::size_t number) {
    switch (row.work) {
    case Work::Add: return std::make_unique<Adds>(target, static_cast<long long>(number));
    case Work::EchoBytes: return std::make_unique<EchoesBytes>(target, row.len);
    case Work::EchoEntities: return std::make_unique<EchoesEntities>(target);
    case Work::Objects: return std::make_unique<MakesObjects>(target);
    case Work::Callbacks: return std::make_unique<IsCalledBack>(target);
    case Work::HeldObjects: break;
    }
    throw contract::Unsupported(std::string(row.name));
}

Bench::Cells make_many(Bench::TargetPrx& target, std::size_t count) {
    Bench::Cells held;
    while (held.size() < count) {
        for (auto& cell : target.makeMany(static_cast<int>(std::min<std::size_t>(1000, count - held.size())))) {
            held.push_back(std::move(cell));
        }
    }
    return held;
}

void call(const Options& options) {
    std::vector<std::unique_ptr<Caller>> callers; // are there until Ice is not
    const auto ice = start_ice();
    const auto colon = options.url.find(':');
    const auto endpoint = "tcp -h " + options.url.substr(0, colon) + " -p " + options.url.substr(colon + 1);
    const auto proxy = Ice::uncheckedCast<Bench::TargetPrx>(ice->stringToProxy("target:" + endpoint));
    std::vector<Target> targets;
    for (std::size_t connection = 0; connection < options.row.connections; ++connection) {
        targets.push_back(proxy->ice_connectionId(std::to_string(connection)));
        targets.back()->ice_ping(); // connects
    }
    if (options.row.work == Work::HeldObjects) {
        return contract::hold([&] { return make_many(*targets.front(), options.count); });
    }
    for (std::size_t number = 0; number < options.row.callers; ++number) {
        callers.push_back(caller(options.row, targets[number % targets.size()], number));
    }
    contract::measure(options, [&](Clock::time_point end) {
        std::vector<std::future<Tally>> running;
        for (const auto& caller : callers) {
            running.push_back(caller->start(end, options.row.timed_every));
        }
        std::vector<Tally> tallies;
        for (auto& tally : running) {
            tallies.push_back(tally.get());
        }
        return tallies;
    });
}

} // namespace

int main(int argc, char** argv) {
    return contract::run(argc, argv, serve, call);
}
