// A design behind a pseudo-terminal: what a host writes there goes over the wire into the design's
// `rx`, and what comes over the wire from its `tx` the host reads.
//
// Arguments: seed, rate, bytes until power is lost (0 never), kinds of damage. The first line on
// standard output, and one for each command on standard input, is JSON. The commands: `statistics`,
// `reset` (of them), `faults RATE`, `quit`; the end of the input ends the process too. Built with
// TRACED: `trace N FILE` has the waveform of the core's N-th tick from now (0 the next) written to a
// file, and `traced` tells how far that went.

#include <cxxrtl/cxxrtl.h>
#if TRACED
#include <cxxrtl/cxxrtl_vcd.h>
#endif

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

// Most clocks write no memory; cxxrtl would queue a write of no bits all the same.
template <class M, class V>
inline void write_memory(M &memory, size_t index, const V &value, const V &mask, int priority) {
    if (!mask.is_zero()) memory.update(index, value, mask, priority);
}

#include "design.h"  // by Yosys: cxxrtl_design::p_top, with ports clk, rx, tx and maybe busy

using Design = cxxrtl_design::p_top;

constexpr int64_t BYTE = 10 * DIVISOR;  // clocks that a byte takes on the wire
constexpr int64_t LINGER = 2'000;     // clocks after the last byte, before the clock stops
constexpr int64_t LONGEST_STALL = 50'000;
constexpr int CHUNK = 256;                // clocks between two looks at the host
constexpr size_t AHEAD = CHUNK / BYTE + 2;  // bytes that wait for the wire: enough for a chunk
constexpr size_t FULL = 8192;  // bytes that wait for the host; more than come in the longest stall

enum Kind { FLIP, LOSE, REPEAT, INSERT, STALL, KINDS };
const char *const KIND[KINDS] = {"flip", "lose", "repeat", "insert", "stall"};

double rate;
std::vector<Kind> kinds;
int64_t now, since;  // clocks from the start, and when statistics began
int64_t damaged[KINDS], broken, power_cycles;

// Bytes of one direction, damaged as they enter. The n-th byte's damage depends on seed, n and rate.
struct Line {
    struct Byte {
        uint8_t byte;
        int64_t until;  // the clock before which it may not leave
    };
    std::mt19937_64 random;
    std::deque<Byte> queue;
    int64_t bytes = 0, first = 0, last = 0;  // on the wire: how many, from which clock to which
    int64_t hosts = 0;                       // bytes from the host, or to it

    void enter(uint8_t byte) {
        const double chance = double(random() >> 11) * 0x1p-53;
        const uint64_t detail = random(), which = detail >> 32;
        int64_t until = now;
        if (!kinds.empty() && chance < rate) {
            const Kind kind = kinds[uint32_t(detail) % kinds.size()];
            damaged[kind]++;
            if (kind == LOSE) return;
            if (kind == FLIP) byte ^= 1 << which % 8;
            if (kind == REPEAT) queue.push_back({byte, now});
            if (kind == INSERT) queue.push_back({uint8_t(which), now});
            if (kind == STALL) until += 1 + which % LONGEST_STALL;
        }
        queue.push_back({byte, until});
    }

    bool ready() const { return !queue.empty() && queue.front().until <= now; }

    void passed(int64_t begin) {
        if (!bytes++) first = begin - since;
        last = begin + BYTE - since;
    }
};

// To `rx`: start bit, eight from the least significant, stop bit.
struct Sender : Line {
    unsigned shift = 1;
    int bits = 0, wait = 0;  // bits that are left, and clocks of the one on the wire
    int64_t begin = 0, total = 0;

    bool level() {
        if (!bits) {
            if (!ready()) return true;
            shift = queue.front().byte << 1 | 1 << 9;
            queue.pop_front();
            bits = 10;
            wait = DIVISOR;
            begin = now;
        }
        const bool bit = shift & 1;
        if (!--wait) {
            wait = DIVISOR;
            shift >>= 1;
            if (!--bits) {
                passed(begin);
                total++;
            }
        }
        return bit;
    }
};

// From `tx`: each bit is taken in its middle, and after a byte without stop bit the wire must rise.
struct Receiver : Line {
    unsigned shift = 0;
    int bits = 0, wait = 0;
    bool risen = false;
    int64_t begin = 0;

    void level(bool bit) {
        if (!bits) {
            risen |= bit;
            if (!risen || bit) return;
            bits = 9;
            wait = DIVISOR + DIVISOR / 2;
            begin = now;
        } else if (!--wait) {
            wait = DIVISOR;
            shift = shift >> 1 | bit << 8;
            if (--bits) return;
            risen = bit;
            broken += !bit;
            if (!bit) return;
            passed(begin);
            enter(shift & 255);
        }
    }
};

template <class D>
auto busy(const D &design, int) -> decltype(design.p_busy.template get<bool>()) {
    return design.p_busy.template get<bool>();
}
template <class D>
bool busy(const D &, long) {
    return false;
}

#if TRACED
constexpr int64_t CLOCK_NS = 10;  // of the waveform's time, each clock
constexpr size_t BLOCK = 1 << 20;  // bytes that wait to be written

// The waveform of a tick: from the clock in which the core is started to the one in which it rests.
class Trace {
    cxxrtl::debug_items items;
    cxxrtl::vcd_writer vcd;
    FILE *file;
    const uint32_t *start, *phase;
    int64_t before;  // ticks that go by untraced
    bool starting = false, began = false, ran = false;

    // Names with a $ are of wires that have none of their own.
    static bool shown(const std::string &name, const cxxrtl::debug_item &item) {
        return item.type != cxxrtl::debug_item::MEMORY && name.find('$') == std::string::npos;
    }

    void write() {
        if (!error && fwrite(vcd.buffer.data(), 1, vcd.buffer.size(), file) != vcd.buffer.size())
            error = errno;
        vcd.buffer.clear();
    }

public:
    int64_t clocks = 0;
    int error = 0;  // an errno
    bool done = false;

    Trace(Design &design, int64_t before, const char *path)
        : file(fopen(path, "wb")), before(before) {
        if (!file) error = errno;
        done = error;
        design.debug_info(&items, nullptr, "top ");
        start = items.at("top core start").at(0).curr;
        phase = items.at("top core phase").at(0).curr;
        vcd.timescale(1, "ns");
        vcd.add(items, shown);
    }

    // In the middle of a clock, when the wires have settled.
    void fell() {
        const bool starts = *start && !*phase;
        if (!began && starts && !starting) began = !before--;
        starting = starts;
        if (!began) return;
        vcd.sample(CLOCK_NS * clocks++);
        ran |= *phase;
        done = ran && !*phase;
        if (done || vcd.buffer.size() > BLOCK) write();
        if (done && fclose(file) && !error) error = errno;
    }

    // After the edge that ends it, when they have settled again.
    void rose() {
        if (began && !done) vcd.sample(CLOCK_NS * clocks - CLOCK_NS / 2);
    }
};

std::unique_ptr<Trace> trace;
#endif

std::optional<Design> design;
Sender in;
Receiver out;
int64_t power_cycle, quiet;  // bytes until power is lost; when a byte last passed

void tick() {
    design->p_rx.set<bool>(in.level());
#if FEEDBACK || TRACED  // the wires must settle before the edge
    design->p_clk.set<bool>(false);
    design->step();
#else  // the edge evaluates them all
    design->prev_p_clk.set<bool>(false);
#endif
#if TRACED
    const bool traced = trace && !trace->done;
    if (traced) trace->fell();
#endif
    design->p_clk.set<bool>(true);
    design->step();
#if TRACED
    if (traced) {
        design->step();
        trace->rose();
    }
#endif
    out.level(design->p_tx.get<bool>());
    now++;
    if (in.total == power_cycle) {
#if TRACED
        trace.reset();
#endif
        design.emplace();
        out.bits = out.risen = false;
        power_cycle = -1;
        power_cycles++;
    }
}

void run(int clocks) {
    const int64_t before = in.bytes + out.bytes;
    while (clocks--) tick();
    if (in.bits || out.bits || in.bytes + out.bytes != before) quiet = now;
}

// Whether there is something for the clock to do.
bool goes_on() {
    if (out.queue.size() >= FULL) return false;
    const bool waits = !in.queue.empty() || (!out.queue.empty() && !out.ready());
    return waits || now < quiet + LINGER || busy(*design, 0);
}

void answer(const std::string &command) {
    if (command == "quit") exit(0);
#if TRACED
    long long before;
    int path;
    if (sscanf(command.c_str(), "trace %lld %n", &before, &path) == 1)
        trace = std::make_unique<Trace>(*design, before, command.c_str() + path);
    if (trace && command.rfind("trace", 0) == 0) {
        printf("{\"clocks\": %lld, \"done\": %d, \"error\": %d}\n", (long long)trace->clocks,
               trace->done, trace->error);
        fflush(stdout);
        return;
    }
#endif
    if (command == "reset") {
        for (Line *line : {(Line *)&in, (Line *)&out})
            line->bytes = line->first = line->last = line->hosts = 0;
        broken = power_cycles = 0;
        for (auto &count : damaged) count = 0;
        since = now;
    }
    if (command.rfind("faults ", 0) == 0) rate = atof(command.c_str() + 7);
    printf("{\"clocks\": %lld", (long long)(now - since));
    auto field = [](const char *name, int64_t value) {
        printf(", \"%s\": %lld", name, (long long)value);
    };
    field("from_host", in.hosts);
    field("bytes_in", in.bytes);
    field("first_in", in.first);
    field("last_in", in.last);
    field("bytes_out", out.bytes);
    field("first_out", out.first);
    field("last_out", out.last);
    field("to_host", out.hosts);
    field("broken", broken);
    field("power_cycles", power_cycles);
    for (int kind = 0; kind < KINDS; kind++) field(KIND[kind], damaged[kind]);
    puts("}");
    fflush(stdout);
}

// Take what came on standard input.
void listen() {
    static std::string waiting;
    char text[256];
    const ssize_t size = read(0, text, sizeof text);
    if (size <= 0) exit(0);
    waiting.append(text, size);
    for (size_t end; (end = waiting.find('\n')) != std::string::npos; waiting.erase(0, end + 1))
        answer(waiting.substr(0, end));
}

// The host's end stays open here as well, so that it stays raw and the other end open whatever
// the host does.
int open_terminal() {
    const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    const char *port = nullptr;
    if (terminal >= 0 && !grantpt(terminal) && !unlockpt(terminal)) port = ptsname(terminal);
    const int host = port ? open(port, O_RDWR | O_NOCTTY) : -1;
    termios settings;
    if (host < 0 || tcgetattr(host, &settings)) {
        perror("no pseudo-terminal");
        exit(1);
    }
    cfmakeraw(&settings);
    tcsetattr(host, TCSANOW, &settings);
    fcntl(terminal, F_SETFL, O_NONBLOCK);
    printf("{\"port\": \"%s\", \"divisor\": %d}\n", port, DIVISOR);
    fflush(stdout);
    return terminal;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk
    const uint64_t seed = strtoull(arguments[1], nullptr, 10);
    in.random.seed(2 * seed);
    out.random.seed(2 * seed + 1);
    rate = atof(arguments[2]);
    power_cycle = atoll(arguments[3]);
    if (!power_cycle) power_cycle = -1;
    for (int n = 4; n < count; n++)
        for (int kind = 0; kind < KINDS; kind++)
            if (std::string(arguments[n]) == KIND[kind]) kinds.push_back(Kind(kind));

    design.emplace();
    const int terminal = open_terminal();
    while (true) {
        const short wanted =
            (in.queue.size() < AHEAD ? POLLIN : 0) | (out.ready() ? POLLOUT : 0);
        pollfd looks[2] = {{0, POLLIN, 0}, {terminal, wanted, 0}};
        poll(looks, 2, goes_on() ? 0 : -1);
        if (looks[0].revents) listen();
        uint8_t bytes[4096];
        if (looks[1].revents & POLLIN) {
            const ssize_t size = read(terminal, bytes, AHEAD - in.queue.size());
            for (ssize_t n = 0; n < size; n++) in.enter(bytes[n]);
            if (size > 0) in.hosts += size;
        }
        if (looks[1].revents & POLLOUT) {
            size_t size = 0;
            while (size < sizeof bytes && size < out.queue.size() && out.queue[size].until <= now) {
                bytes[size] = out.queue[size].byte;
                size++;
            }
            const ssize_t written = write(terminal, bytes, size);
            if (written > 0) {
                out.queue.erase(out.queue.begin(), out.queue.begin() + written);
                out.hosts += written;
            }
        }
        if (goes_on()) run(CHUNK);
    }
}
