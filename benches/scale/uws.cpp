// A server on uWebSockets, to stand beside headcount in `scale`: it takes WebSockets on any path, and counts them and
// their payload. benches/README.md says how it is built.
#include "App.h"

#include <arpa/inet.h>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

struct Nothing {};

static std::atomic<unsigned long> connections{0}, bytes{0};

// One thread writes: loads and stores, as headcount does, rather than locked additions.
static void add(std::atomic<unsigned long> &count, unsigned long more) {
    count.store(count.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

// Says to whoever connects what was counted; a thread of its own, so that nothing is measured of it.
static int answer_tallies() {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener, (sockaddr *) &address, length) || listen(listener, 16)
        || getsockname(listener, (sockaddr *) &address, &length)) {
        exit(1);
    }
    std::thread([listener] {
        for (;;) {
            int connection = accept(listener, nullptr, nullptr);
            std::string tally = std::to_string(connections.load()) + " " + std::to_string(bytes.load());
            if (write(connection, tally.data(), tally.size()) < 0) {
                perror("tally");
            }
            close(connection);
        }
    }).detach();
    return ntohs(address.sin_port);
}

int main() {
    uWS::App app;
    app.ws<Nothing>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 * 1024,
        .idleTimeout = 0,
        .maxBackpressure = 256 * 1024,
        .sendPingsAutomatically = false,
        .open = [](auto *) { add(connections, 1); },
        .message = [](auto *, std::string_view message, uWS::OpCode) { add(bytes, message.size()); },
        .close = [](auto *, int, std::string_view) { add(connections, -1); },
    });
    app.listen("127.0.0.1", 0, [](auto *listening) {
        if (!listening) {
            exit(1);
        }
        printf("127.0.0.1:%d\n127.0.0.1:%d\n", us_socket_local_port(0, (us_socket_t *) listening), answer_tallies());
        fflush(stdout);
    });
    app.run();
}
