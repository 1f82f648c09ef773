// SPDX-License-Identifier: Apache-2.0
package io.sfumato.benchmarks.kernels;

import java.util.Locale;

/**
 * How fast a kernel was, and what bounds it: of the time for its products at the peak and the time
 * for its bytes at the bandwidth, the longer one.
 *
 * @param value flops or bytes per second
 * @param share of the limit; above 1 where a cache holds the operands, or a method needs fewer
 *     products than the definition
 * @param computing whether the peak of multiply-adds is the limit, not the bandwidth
 */
record Rate(double value, double share, boolean computing) {
  static Rate of(Work work, double seconds, MachineLimits limit) {
    boolean computing = work.flops() / limit.flops() >= work.bytes() / limit.copy();
    double value = (computing ? work.flops() : work.bytes()) / seconds;
    return new Rate(value, value / (computing ? limit.flops() : limit.copy()), computing);
  }

  String text() {
    return String.format(Locale.ROOT, "%.1f %s", value * 1e-9, computing ? "GFLOP/s" : "GB/s");
  }

  String shareText() {
    return String.format(Locale.ROOT, "%.0f %% %s", 100 * share, computing ? "FMA" : "copy");
  }
}
