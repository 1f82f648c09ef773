// SPDX-License-Identifier: Apache-2.0
package example;

import io.sfumato.tensor.cpu.Parallel;
import java.util.concurrent.atomic.AtomicInteger;

/** A user's program: what it calls is public, and what it computes is checked. */
public final class Main {
  private Main() {}

  public static void main(String[] args) {
    AtomicInteger sum = new AtomicInteger();
    Parallel.forRange(
        100,
        10,
        (begin, end, worker) -> {
          for (int i = begin; i < end; i++) {
            sum.addAndGet(i);
          }
        });
    if (sum.get() != 4950) {
      throw new IllegalStateException("0 + 1 + ... + 99 must be 4950; got " + sum.get());
    }
  }
}
