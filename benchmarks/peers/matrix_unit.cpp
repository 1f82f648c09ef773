// SPDX-License-Identifier: Apache-2.0
//
// What an Intel processor's matrix unit (AMX, bfloat16) gives while the core's other thread rests,
// and while it is busy: nanoseconds per product of two tiles, by how many tile registers are in use
// and how many loads come with six products. Tiles lie in the first-level cache.
//
// All loops are timed in turn, many times over. Turns are ordered by the time of the last loop and
// cut into five parts, from the calmest on; a column is the median of one part.
//
//   g++ -O2 -mamx-tile -mamx-bf16 -std=c++17 -o matrix_unit matrix_unit.cpp && ./matrix_unit

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

namespace {

constexpr int kTurns = 4000;
constexpr int kColumns = 5;
constexpr int kRepeats = 40;
constexpr int kPause = 20;  // turns between pauses, in which other threads may come and go

// Three tiles of an operand, one part of its floats each.
alignas(4096) char a[12 << 10];
alignas(4096) char b[12 << 10];

#define LOAD_A(t, tile) _tile_loadd(t, a + ((tile) << 10), 64)
#define LOAD_B(t, tile) _tile_loadd(t, b + ((tile) << 10), 64)
#define MULTIPLY(sum, x, y) _tile_dpbf16ps(sum, x, y)

// ---- six products each, without loads

void one_sum() {
  MULTIPLY(0, 1, 2); MULTIPLY(0, 1, 2); MULTIPLY(0, 1, 2);
  MULTIPLY(0, 1, 2); MULTIPLY(0, 1, 2); MULTIPLY(0, 1, 2);
}

// Another tile is summed up in register 3.
void two_sums() {
  MULTIPLY(0, 1, 2); MULTIPLY(3, 1, 2); MULTIPLY(0, 1, 2);
  MULTIPLY(3, 1, 2); MULTIPLY(0, 1, 2); MULTIPLY(3, 1, 2);
}

// ---- the six products of parts i, j of A and B, i + j <= 4

void three_registers() {
  LOAD_A(1, 0); LOAD_B(2, 2); MULTIPLY(0, 1, 2);
  LOAD_B(2, 1); MULTIPLY(0, 1, 2);
  LOAD_A(1, 1); MULTIPLY(0, 1, 2);
  LOAD_B(2, 0); MULTIPLY(0, 1, 2);
  LOAD_A(1, 2); MULTIPLY(0, 1, 2);
  LOAD_A(1, 0); MULTIPLY(0, 1, 2);
}

void four_registers() {
  LOAD_A(1, 0); LOAD_B(3, 2); MULTIPLY(0, 1, 3);
  LOAD_B(3, 1); MULTIPLY(0, 1, 3);
  LOAD_A(2, 1); MULTIPLY(0, 2, 3);
  LOAD_B(3, 0); MULTIPLY(0, 2, 3);
  LOAD_A(2, 2); MULTIPLY(0, 2, 3); MULTIPLY(0, 1, 3);
}

void six_registers() {
  LOAD_A(1, 0); LOAD_B(2, 2); MULTIPLY(0, 1, 2);
  LOAD_B(3, 1); MULTIPLY(0, 1, 3);
  LOAD_A(4, 1); MULTIPLY(0, 4, 3);
  LOAD_B(5, 0); MULTIPLY(0, 4, 5);
  LOAD_A(6, 2); MULTIPLY(0, 6, 5); MULTIPLY(0, 1, 5);
}

void loads() {
  LOAD_A(1, 0); LOAD_B(2, 2); LOAD_B(2, 1); LOAD_A(1, 1); LOAD_B(2, 0); LOAD_A(1, 2);
}

struct Loop {
  const char* name;
  void (*six)();
  int live;  // registers that hold something before it begins
};

constexpr Loop kLoops[] = {
    {"products, 3 registers in use", one_sum, 3},
    {"products, 8 registers in use", one_sum, 8},
    {"products, two sums, 4 in use", two_sums, 4},
    {"loads alone", loads, 3},
    {"7 loads for 6 products, 3 in use", three_registers, 3},
    {"6 loads for 6 products, 6 in use", six_registers, 3},
    {"6 loads for 6 products, 4 in use", four_registers, 3},
};
constexpr int kCount = sizeof(kLoops) / sizeof(kLoops[0]);

void configure(int live) {
  struct alignas(64) {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } tiles;
  _tile_loadconfig(&tiles);
  LOAD_A(0, 0); LOAD_A(1, 0); LOAD_A(2, 0);
  if (live > 3) {
    LOAD_A(3, 0);
  }
  if (live > 4) {
    LOAD_A(4, 0); LOAD_A(5, 0); LOAD_A(6, 0); LOAD_A(7, 0);
  }
}

double time(const Loop& loop) {
  configure(loop.live);
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRepeats; i++) {
    loop.six();
  }
  std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
  _tile_release();
  return taken.count() / (6 * kRepeats);
}

}  // namespace

int main() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) {
    perror("the system does not give the matrix unit");
    return 1;
  }
  std::vector<std::vector<double>> times(kCount, std::vector<double>(kTurns));
  for (int turn = 0; turn < kTurns; turn++) {
    for (int i = 0; i < kCount; i++) {
      times[i][turn] = time(kLoops[i]);
    }
    if (turn % kPause == 0) {
      usleep(3000);
    }
  }
  std::vector<int> order(kTurns);
  std::iota(order.begin(), order.end(), 0);
  const std::vector<double>& pace = times[kCount - 1];
  std::sort(order.begin(), order.end(), [&](int x, int y) { return pace[x] < pace[y]; });
  for (int i = 0; i < kCount; i++) {
    printf("%-34s", kLoops[i].name);
    for (int column = 0; column < kColumns; column++) {
      std::vector<double> part;
      for (int k = kTurns * column / kColumns; k < kTurns * (column + 1) / kColumns; k++) {
        part.push_back(times[i][order[k]]);
      }
      std::nth_element(part.begin(), part.begin() + part.size() / 2, part.end());
      printf(" %7.2f", part[part.size() / 2]);
    }
    printf(" ns\n");
  }
  return 0;
}
