// SPDX-License-Identifier: Apache-2.0
//
// What this machine's memory gives: cases of the suite that wait for memory, written by hand with
// AVX-512 intrinsics, without a library around them. Tensors lie in huge pages, at other places of
// a page each. One JSON line per case and number of threads, as the suite prints them.
//
//   g++ -O3 -march=native -std=c++17 -pthread -o limits limits.cpp && ./limits 1 && ./limits 2

#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

namespace {

using Vector = __m512;
constexpr int kLanes = 16;

Vector load(const float* p) { return _mm512_loadu_ps(p); }
void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
Vector all(float v) { return _mm512_set1_ps(v); }
Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }

float* tensor(size_t n) {
  constexpr size_t huge = 2 << 20;
  static size_t count = 0;
  size_t bytes = n * sizeof(float) + 2 * huge;
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  uintptr_t base = (reinterpret_cast<uintptr_t>(at) + huge - 1) & ~(huge - 1);
  madvise(reinterpret_cast<void*>(base), bytes - huge, MADV_HUGEPAGE);
  float* data = reinterpret_cast<float*>(base + count++ % 15 * (4096 + 256));
  for (size_t i = 0; i < n; i++) {
    data[i] = 1e-3f * static_cast<float>(i * 7919 % 1000);
  }
  return data;
}

// ---- AdamW: four operands, three of them written

struct Adam {
  size_t n = 10'000'000;
  float *p = tensor(n), *g = tensor(n), *m = tensor(n), *v = tensor(n);
};

template <int kAhead>  // bytes by which to prefetch, or 0
void adamw(const Adam& a, size_t begin, size_t end) {
  Vector b1 = all(.9f), c1 = all(.1f), b2 = all(.999f), c2 = all(.001f);
  Vector rate = all(1e-4f), epsilon = all(1e-8f), keep = all(1 - 1e-6f), root = all(1.01f);
  for (size_t i = begin; i < end; i += kLanes) {
    if (kAhead > 0) {
      for (float* s : {a.p, a.g, a.m, a.v}) {
        _mm_prefetch(reinterpret_cast<char*>(s + i) + kAhead, _MM_HINT_T0);
      }
    }
    Vector g = load(a.g + i);
    Vector m = fma(b1, load(a.m + i), _mm512_mul_ps(c1, g));
    Vector v = fma(b2, load(a.v + i), _mm512_mul_ps(c2, _mm512_mul_ps(g, g)));
    store(a.m + i, m);
    store(a.v + i, v);
    Vector d = fma(_mm512_sqrt_ps(v), root, epsilon);
    Vector update = _mm512_div_ps(_mm512_mul_ps(rate, m), d);
    store(a.p + i, _mm512_sub_ps(_mm512_mul_ps(load(a.p + i), keep), update));
  }
}

volatile float sink;

/** Its operands read, nothing else. */
void read(const Adam& a, size_t begin, size_t end) {
  Vector s = all(0), t = s, u = s, w = s;
  for (size_t i = begin; i < end; i += kLanes) {
    s = _mm512_add_ps(s, load(a.p + i));
    t = _mm512_add_ps(t, load(a.g + i));
    u = _mm512_add_ps(u, load(a.m + i));
    w = _mm512_add_ps(w, load(a.v + i));
  }
  sink = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s, t), _mm512_add_ps(u, w)));
}

// ---- softmax of rows, the next row's maximum beside the last pass

constexpr int kColumns = 1024;
constexpr int kRows = 4096;

Vector exponential(Vector v) {
  Vector z = fma(v, all(1.44269504f), all(0x1.8p23f));
  Vector r = fma(_mm512_sub_ps(z, all(0x1.8p23f)), all(-0.6931472f), v);
  Vector e = fma(r, all(0.008332978f), all(0.041887424f));
  e = fma(fma(fma(fma(e, r, all(0.16666865f)), r, all(0.49999252f)), r, all(1)), r, all(1));
  __m512i power = _mm512_slli_epi32(_mm512_castps_si512(z), 23);
  Vector scale = _mm512_castsi512_ps(_mm512_add_epi32(power, _mm512_set1_epi32(0x3F800000)));
  __mmask16 normal = _mm512_cmp_ps_mask(v, all(-87.33654f), _CMP_NLT_UQ);
  return _mm512_maskz_mul_ps(normal, e, scale);
}

float maximum(const float* x) {
  Vector a = load(x), b = a;
  for (int i = 0; i < kColumns; i += 2 * kLanes) {
    a = _mm512_max_ps(a, load(x + i));
    b = _mm512_max_ps(b, load(x + i + kLanes));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

float exponentials(const float* x, float max, float* y) {
  Vector shift = all(max), sum = all(0);
  for (int i = 0; i < kColumns; i += kLanes) {
    Vector e = exponential(_mm512_sub_ps(load(x + i), shift));
    sum = _mm512_add_ps(sum, e);
    store(y + i, e);
  }
  return _mm512_reduce_add_ps(sum);
}

float scaleAndMaximum(float* y, float factor, const float* next) {
  Vector scale = all(factor), a = load(next), b = a;
  for (int i = 0; i < kColumns; i += 2 * kLanes) {
    a = _mm512_max_ps(a, load(next + i));
    b = _mm512_max_ps(b, load(next + i + kLanes));
    store(y + i, _mm512_mul_ps(scale, load(y + i)));
    store(y + i + kLanes, _mm512_mul_ps(scale, load(y + i + kLanes)));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

void softmax(const float* x, float* y, size_t begin, size_t end) {
  float max = maximum(x + begin * kColumns);
  for (size_t r = begin; r < end; r++) {
    float sum = exponentials(x + r * kColumns, max, y + r * kColumns);
    size_t next = std::min(r + 1, end - 1);
    max = scaleAndMaximum(y + r * kColumns, 1 / sum, x + next * kColumns);
  }
}

// ---- layer norm of 4096 rows and its gradient, the next row's sums beside the last pass

constexpr int kWidth = 384;

struct LayerNorm {
  size_t n = static_cast<size_t>(kRows) * kWidth;
  float *x = tensor(n), *y = tensor(n), *dy = tensor(n), *dx = tensor(n);
  float *weight = tensor(kWidth), *bias = tensor(kWidth), *stats = tensor(2 * kRows);
};

void moments4(const float* x, float* stats) {
  Vector s[4], q[4];
  for (int r = 0; r < 4; r++) {
    s[r] = q[r] = all(0);
  }
  for (int i = 0; i < kWidth; i += kLanes) {
    for (int r = 0; r < 4; r++) {
      Vector d = load(x + r * kWidth + i);
      s[r] = _mm512_add_ps(s[r], d);
      q[r] = fma(d, d, q[r]);
    }
  }
  for (int r = 0; r < 4; r++) {
    float mean = _mm512_reduce_add_ps(s[r]) / kWidth;
    float variance = _mm512_reduce_add_ps(q[r]) / kWidth - mean * mean;
    stats[2 * r] = mean;
    stats[2 * r + 1] = 1 / std::sqrt(variance + 1e-5f);
  }
}

void affine4(const LayerNorm& a, const float* x, float* y, const float* stats) {
  for (int i = 0; i < kWidth; i += kLanes) {
    Vector w = load(a.weight + i), b = load(a.bias + i);
    for (int r = 0; r < 4; r++) {
      Vector d = _mm512_sub_ps(load(x + r * kWidth + i), all(stats[2 * r]));
      store(y + r * kWidth + i, fma(_mm512_mul_ps(d, all(stats[2 * r + 1])), w, b));
    }
  }
}

void forward(const LayerNorm& a, size_t begin, size_t end) {
  for (size_t r = begin; r < end; r += 4) {
    moments4(a.x + r * kWidth, a.stats + 2 * r);
    affine4(a, a.x + r * kWidth, a.y + r * kWidth, a.stats + 2 * r);
  }
}

/** Two rows at a time: their sums, then their gradients. */
void backward(const LayerNorm& a, size_t begin, size_t end) {
  constexpr int rows = 2;
  alignas(64) float gain[kWidth] = {}, shift[kWidth] = {};
  for (size_t first = begin; first < end; first += rows) {
    const float *x = a.x + first * kWidth, *dy = a.dy + first * kWidth, *s = a.stats + 2 * first;
    float* dx = a.dx + first * kWidth;
    Vector sum[rows] = {all(0), all(0)}, products[rows] = {all(0), all(0)};
    for (int i = 0; i < kWidth; i += kLanes) {
      Vector w = load(a.weight + i), column = load(gain + i), total = load(shift + i);
      for (int r = 0; r < rows; r++) {
        Vector h = _mm512_sub_ps(load(x + r * kWidth + i), all(s[2 * r]));
        h = _mm512_mul_ps(h, all(s[2 * r + 1]));
        Vector d = load(dy + r * kWidth + i);
        column = fma(h, d, column);
        total = _mm512_add_ps(total, d);
        d = _mm512_mul_ps(d, w);
        sum[r] = _mm512_add_ps(sum[r], d);
        products[r] = fma(h, d, products[r]);
      }
      store(gain + i, column);
      store(shift + i, total);
    }
    float slope[rows], constant[rows];
    for (int r = 0; r < rows; r++) {
      float factor = s[2 * r + 1];
      slope[r] = -_mm512_reduce_add_ps(products[r]) / kWidth * factor * factor;
      constant[r] = -_mm512_reduce_add_ps(sum[r]) / kWidth * factor;
    }
    for (int i = 0; i < kWidth; i += kLanes) {
      Vector w = load(a.weight + i);
      for (int r = 0; r < rows; r++) {
        Vector v = _mm512_sub_ps(load(x + r * kWidth + i), all(s[2 * r]));
        v = fma(v, all(slope[r]), all(constant[r]));
        Vector g = _mm512_mul_ps(load(dy + r * kWidth + i), w);
        store(dx + r * kWidth + i, fma(g, all(s[2 * r + 1]), v));
      }
    }
  }
  sink = gain[0] + shift[0];
}

// ---- measuring

using Body = std::function<void(size_t, size_t)>;

void run(const char* name, int threads, size_t n, const Body& body) {
  std::vector<double> times;
  for (int repeat = 0; repeat < 210; repeat++) {
    auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++) {
      others.emplace_back(body, n / threads * t, t == threads - 1 ? n : n / threads * (t + 1));
    }
    body(0, n / threads);
    for (std::thread& other : others) {
      other.join();
    }
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (repeat >= 10) {
      times.push_back(took.count());
    }
  }
  std::sort(times.begin(), times.end());
  printf("{\"name\": \"%s\", \"threads\": %d, \"median_ms\": %.4f, \"best_ms\": %.4f}\n", name,
         threads, times[times.size() / 2], times[0]);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 1;
  if (threads < 1 || threads > 64) {
    fprintf(stderr, "usage: limits [threads]\n");
    return 2;
  }
  Adam a;
  size_t n = a.n / (64 * kLanes) * (64 * kLanes);  // whole vectors for each thread
  run("read_of_adamw_10m", threads, n, [&](size_t b, size_t e) { read(a, b, e); });
  run("adamw_10m", threads, n, [&](size_t b, size_t e) { adamw<0>(a, b, e); });
  run("adamw_10m_prefetch_512", threads, n, [&](size_t b, size_t e) { adamw<512>(a, b, e); });
  run("adamw_10m_prefetch_2048", threads, n, [&](size_t b, size_t e) { adamw<2048>(a, b, e); });
  float *x = tensor(kRows * kColumns), *y = tensor(kRows * kColumns);
  run("softmax_4096x1024", threads, kRows, [&](size_t b, size_t e) { softmax(x, y, b, e); });
  LayerNorm norm;
  run("layernorm_4096x384", threads, kRows, [&](size_t b, size_t e) { forward(norm, b, e); });
  run("layernorm_4096x384_bwd", threads, kRows, [&](size_t b, size_t e) {
    forward(norm, b, e);
    backward(norm, b, e);
  });
  return 0;
}
