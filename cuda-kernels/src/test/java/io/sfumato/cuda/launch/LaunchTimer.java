// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.tensor.Scope;

/**
 * Times calls that launch kernels, each many times in a row.
 *
 * @param budget how long that may take, in nanoseconds
 */
record LaunchTimer(Gpu gpu, double budget) {
  /** Nanoseconds of a call. */
  double each(Runnable call) {
    row(call, 2);
    double once = row(call, 2);
    int count = (int) Math.max(3, Math.min(2000, budget / 2 / once));
    return Math.min(row(call, count), row(call, count));
  }

  /** Nanoseconds of each of so many calls. */
  double row(Runnable call, int count) {
    gpu.synchronize();
    long start = System.nanoTime();
    for (int i = 0; i < count; i++) {
      Scope.run(call);
    }
    gpu.synchronize();
    return (System.nanoTime() - start) / (double) count;
  }
}
