// The comparison's program for omniORB 4.
//
//     omniidl -bcxx -COUT bench.idl
//     g++ -O2 -std=c++17 -IOUT main.cpp OUT/benchSK.cc -o bench-omniorb -lomniORB4 -lomnithread -lpthread

#include "../contract.hpp"

#include <bench.hh>

#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using contract::Clock;
using contract::Options;
using contract::Tally;
using contract::Work;

namespace {

CORBA::ORB_var start_orb(const Options& options) {
    const std::string connections = std::to_string(options.row.connections);
    const char* alone = options.row.callers == options.row.connections ? "1" : "0";
    const char* settings[][2] = {
        {"endPoint", "giop:tcp:127.0.0.1:"},
        {"giopMaxMsgSize", "67108864"}, // 16 MiB are more than the usual limit
        {"maxGIOPConnectionPerServer", connections.c_str()},
        {"oneCallPerConnection", alone}, // or several at once, where callers share a connection
        {"maxServerThreadPerConnection", "1"}, // or threads crowd round one socket, for calls as short as these
        {"verifyObjectExistsAndType", "0"}, // or each new reference costs a round trip before its first call
        {nullptr, nullptr},
    };
    int no_args = 0;
    return CORBA::ORB_init(no_args, nullptr, "omniORB4", settings);
}

PortableServer::POA_var activate(CORBA::ORB_ptr orb) {
    CORBA::Object_var object = orb->resolve_initial_references("RootPOA");
    PortableServer::POA_var poa = PortableServer::POA::_narrow(object);
    PortableServer::POAManager_var manager = poa->the_POAManager();
    manager->activate();
    return poa;
}

// The server.

class CellImpl final : public POA_Bench::Cell {
public:
    explicit CellImpl(CORBA::LongLong value) : value_(value) {}

    CORBA::LongLong get() override { return value_; }

    void destroy() override {
        PortableServer::POA_var poa = _default_POA();
        PortableServer::ObjectId_var id = poa->servant_to_id(this);
        poa->deactivate_object(id);
    }

private:
    const CORBA::LongLong value_;
};

class TargetImpl final : public POA_Bench::Target {
public:
    CORBA::LongLong add(CORBA::LongLong a, CORBA::LongLong b) override { return a + b; }

    void echo(Bench::Bytes&) override {}

    void echo_entities(Bench::Entities&) override {}

    Bench::Cell_ptr make(CORBA::LongLong value) override {
        const PortableServer::Servant_var<CellImpl> cell = new CellImpl(value);
        return cell->_this(); // activates it, which keeps it alive
    }

    Bench::Cells* make_many(CORBA::ULong count) override {
        Bench::Cells_var cells = new Bench::Cells(count);
        cells->length(count);
        for (CORBA::ULong value = 0; value < count; ++value) {
            cells[value] = make(value);
        }
        return cells._retn();
    }

    CORBA::LongLong call_back(Bench::Callback_ptr client, CORBA::LongLong n) override { return client->next(n); }
};

void serve(const Options& options) {
    const CORBA::ORB_var orb = start_orb(options);
    const PortableServer::POA_var poa = activate(orb);
    const PortableServer::Servant_var<TargetImpl> target = new TargetImpl;
    const Bench::Target_var reference = target->_this();
    const CORBA::String_var ior = orb->object_to_string(reference);
    contract::serve_until_eof(ior.in());
}

// The client.

void check(bool right) {
    contract::ensure(right, "a wrong answer came back");
}

/// One caller of whatever `once()` calls.
template <class Once>
Tally call_until(Clock::time_point end, std::uint64_t timed_every, Once once) {
    Tally tally;
    for (auto start = Clock::now(); start < end; start = Clock::now()) {
        once();
        tally.nanos.push_back(std::chrono::nanoseconds(Clock::now() - start).count());
        for (std::uint64_t more = 1; more < timed_every; ++more) {
            once();
        }
        tally.calls += timed_every;
    }
    return tally;
}

/// Measures one caller of whatever `once()` calls.
template <class Once>
void measure_one(const Options& options, Once once) {
    contract::measure(options, [&](Clock::time_point end) {
        return std::vector<Tally>{call_until(end, options.row.timed_every, once)};
    });
}

/// A thread for each caller: omniORB's asynchronous calls would each take one, too.
void measure_adds(const Options& options, Bench::Target_ptr target) {
    contract::measure(options, [&](Clock::time_point end) {
        std::vector<std::future<Tally>> callers;
        for (std::size_t number = 0; number < options.row.callers; ++number) {
            callers.push_back(std::async(std::launch::async, [&options, target, end, number] {
                const omni_thread::ensure_self known_to_omniorb; // or else each call makes it so
                CORBA::LongLong a = 0;
                const auto b = static_cast<CORBA::LongLong>(number);
                return call_until(end, options.row.timed_every, [&] {
                    check(target->add(a, b) == a + b);
                    ++a;
                });
            }));
        }
        std::vector<Tally> tallies;
        for (auto& caller : callers) {
            tallies.push_back(caller.get());
        }
        return tallies;
    });
}

void measure_bytes(const Options& options, Bench::Target_ptr target) {
    const auto len = static_cast<CORBA::ULong>(options.row.len);
    Bench::Bytes body(len);
    body.length(len);
    for (CORBA::ULong at = 0; at < len; ++at) {
        body[at] = static_cast<CORBA::Octet>(at * 7 + at / 251);
    }
    const Bench::Bytes first(body);
    measure_one(options, [&] {
        target->echo(body);
        check(body.length() == len);
    });
    // A byte that was changed on any trip is still changed after the last.
    check(std::equal(first.get_buffer(), first.get_buffer() + len, body.get_buffer()));
}

void measure_entities(const Options& options, Bench::Target_ptr target) {
    const CORBA::ULong len = contract::entities_len;
    Bench::Entities entities(len);
    entities.length(len);
    for (CORBA::ULong at = 0; at < len; ++at) {
        const auto number = static_cast<CORBA::Long>(at);
        entities[at].id = at;
        entities[at].x = number * 3;
        entities[at].y = -number;
        entities[at].name = ("name" + std::to_string(1000 + at)).c_str();
    }
    measure_one(options, [&] {
        target->echo_entities(entities);
        check(entities.length() == len && std::string_view(entities[len - 1].name).size() == 8);
    });
}

/// Makes an object, calls it and has it destroyed, again and again.
void measure_objects(const Options& options, Bench::Target_ptr target) {
    CORBA::LongLong value = 0;
    measure_one(options, [&] {
        const Bench::Cell_var cell = target->make(++value);
        check(cell->get() == value);
        cell->destroy();
    });
}

class CallbackImpl final : public POA_Bench::Callback {
public:
    CORBA::LongLong next(CORBA::LongLong n) override { return n + 1; }
};

/// Is called back within each call, on a connection that the server opens.
void measure_callbacks(const Options& options, CORBA::ORB_ptr orb, Bench::Target_ptr target) {
    const PortableServer::POA_var poa = activate(orb);
    const PortableServer::Servant_var<CallbackImpl> servant = new CallbackImpl;
    const Bench::Callback_var callback = servant->_this();
    CORBA::LongLong n = 0;
    measure_one(options, [&] {
        check(target->call_back(callback, n) == n + 1);
        ++n;
    });
}

std::vector<Bench::Cell_var> make_many(const Options& options, Bench::Target_ptr target) {
    std::vector<Bench::Cell_var> held;
    while (held.size() < options.count) {
        const auto count = static_cast<CORBA::ULong>(std::min<std::uint64_t>(1000, options.count - held.size()));
        Bench::Cells_var cells = target->make_many(count);
        for (CORBA::ULong at = 0; at < cells->length(); ++at) {
            held.emplace_back(Bench::Cell::_duplicate(cells[at]));
        }
    }
    return held;
}

void call(const Options& options) try {
    const CORBA::ORB_var orb = start_orb(options);
    const CORBA::Object_var object = orb->string_to_object(options.url.c_str());
    const Bench::Target_var target = Bench::Target::_narrow(object);
    contract::ensure(!CORBA::is_nil(target), "there is no target");
    check(target->add(1, 2) == 3); // connects
    switch (options.row.work) {
    case Work::Add: measure_adds(options, target); break;
    case Work::EchoBytes: measure_bytes(options, target); break;
    case Work::EchoEntities: measure_entities(options, target); break;
    case Work::Objects: measure_objects(options, target); break;
    case Work::Callbacks: measure_callbacks(options, orb, target); break;
    case Work::HeldObjects: contract::hold([&] { return make_many(options, target); }); break;
    }
} catch (const CORBA::Exception& exception) {
    throw std::runtime_error(exception._name());
}

} // namespace

int main(int argc, char** argv) {
    return contract::run(argc, argv, serve, call);
}
