// What `driver_stand_in.cpp` puts into streams and recordings, and when it is done (STAND_IN_WHEN, see there).
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

struct Node {
    std::function<void()> work;
    std::vector<int> after;
};
typedef std::vector<Node> Graph;
struct Stream;
struct Capture {
    Stream *origin;
    std::vector<Stream *> streams;
    Graph nodes;
    bool over = false, spoiled = false;
};
typedef std::shared_ptr<Capture> Captured;
struct Queue;
struct Mark {  // a place in a stream's work
    std::shared_ptr<Queue> queue;
    bool passed;
};
typedef std::shared_ptr<Mark> Marked;
struct Task {
    std::function<void()> work;
    Marked after, mark;  // done not before that one is passed; passes this one
};
struct Queue {
    std::deque<Task> tasks;
};
struct Stream {
    Captured capture;
    std::vector<int> last;  // the nodes that the next one comes after
    std::shared_ptr<Queue> queue;
};
struct Event {
    Captured capture;
    std::vector<int> last;
    Marked mark;
};

static std::recursive_mutex one_at_a_time;
static std::vector<std::shared_ptr<Queue>> queues;
static unsigned dice = 12345;
static std::atomic<int> lost;

static unsigned thrown(unsigned sides) {
    dice = dice * 1664525 + 1013904223;
    return (dice >> 16) % sides;
}

static bool is_when(const char *what) {
    const char *told = getenv("STAND_IN_WHEN");
    return told && !strcmp(told, what);
}

static void reach(const Marked &mark);

// The next of a stream's work. Of a lost device none is done, and nobody waits for it.
static void step(Queue &queue) {
    Task task = queue.tasks.front();
    if (task.after) reach(task.after);
    queue.tasks.pop_front();
    if (task.work && !lost) task.work();
    if (task.mark) task.mark->passed = true;
}

static void reach(const Marked &mark) {
    while (!mark->passed) step(*mark->queue);
}

static int told() { return lost ? 719 : 0; }

static int finish(Queue &queue) {
    while (!queue.tasks.empty()) step(queue);
    return told();
}

static int finish_all() {
    for (auto &queue : queues) finish(*queue);
    return told();
}

static void some() {
    for (unsigned count = queues.empty() ? 0 : thrown(4); count > 0; --count) {
        Queue &queue = *queues[thrown(queues.size())];
        if (!queue.tasks.empty()) step(queue);
    }
}

static void add(Queue &queue, const Task &task) {
    queue.tasks.push_back(task);
    if (!is_when("late") && !is_when("any")) finish(queue);
}

static int put(void *handle, std::function<void()> work) {
    if (!handle) return 400;
    Stream &stream = *(Stream *)handle;
    if (stream.capture) {
        stream.capture->nodes.push_back({work, stream.last});
        stream.last = {(int)stream.capture->nodes.size() - 1};
    } else {
        add(*stream.queue, {work, nullptr, nullptr});
    }
    return 0;
}

static int spoil(Stream &stream, int why) {
    if (stream.capture) stream.capture->spoiled = true;
    return why;
}

static void join(std::vector<int> &last, const std::vector<int> &others) {
    for (int one : others)
        if (std::find(last.begin(), last.end(), one) == last.end()) last.push_back(one);
}

// Whether everything that was recorded comes before what follows in the first stream.
static bool joined(const Capture &capture) {
    std::vector<char> before(capture.nodes.size());
    std::vector<int> left = capture.origin->last;
    while (!left.empty()) {
        int one = left.back();
        left.pop_back();
        if (before[one]) continue;
        before[one] = 1;
        left.insert(left.end(), capture.nodes[one].after.begin(), capture.nodes[one].after.end());
    }
    return std::find(before.begin(), before.end(), 0) == before.end();
}

// The longest row of nodes that come one after another.
static int longest(const Graph &nodes) {
    std::vector<int> rows;
    for (const Node &node : nodes) {
        int row = 0;
        for (int one : node.after) row = std::max(row, rows[one]);
        rows.push_back(row + 1);
    }
    return rows.empty() ? 0 : *std::max_element(rows.begin(), rows.end());
}

// Of all that could be next: the newest, the oldest, or any.
static void run(const Graph &nodes) {
    static unsigned runs;
    unsigned how = runs++ % 3;
    std::vector<char> done(nodes.size());
    for (size_t count = 0; count < nodes.size(); ++count) {
        std::vector<int> ready;
        for (size_t one = 0; one < nodes.size(); ++one) {
            bool free = !done[one];
            for (int before : nodes[one].after) free = free && done[before];
            if (free) ready.push_back(one);
        }
        int next = how == 0 ? ready.back() : how == 1 ? ready.front() : ready[thrown(ready.size())];
        nodes[next].work();
        done[next] = 1;
    }
}
