// SPDX-License-Identifier: Apache-2.0
// Copies between memory orders. One thread per element; the walk gives sizes and, in elements, the
// strides of source and target per axis.
#include "dev.h"

struct Walk {
  long long rank;
  long long size[8];
  long long from[8];
  long long to[8];
};

template <class T>
DEV void strided_copy(const T* x, T* y, const Walk& w, long long n) {
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  long long from = 0, to = 0;
  for (int a = (int)w.rank - 1; a >= 0; a--) {
    long long k = i % w.size[a];
    i /= w.size[a];
    from += k * w.from[a];
    to += k * w.to[a];
  }
  y[to] = x[from];
}

#define STRIDED_COPY(bytes, T)                                                              \
  KERNEL(strided_copy_##bytes)(const T* x, T* y, Walk w, long long n) { strided_copy(x, y, w, n); } \
  EMU_EXPORT(strided_copy_##bytes)
STRIDED_COPY(1, unsigned char)
STRIDED_COPY(2, unsigned short)
STRIDED_COPY(4, unsigned)
STRIDED_COPY(8, unsigned long long)
