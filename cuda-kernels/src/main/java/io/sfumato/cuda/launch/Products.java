// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** Launches products by the best means there are. */
final class Products {
  private static final Gemms OWN = new OwnGemms();
  private static final Map<Gpu, Optional<Gemms>> NVIDIA = new ConcurrentHashMap<>();

  /**
   * From how many operations on NVIDIA's faster product pays for a second pair in a pass of its
   * own, which reads and writes C once more.
   */
  private static final double TWO_PASSES = 1e9;

  private static final double TWO_PASSES_16_BIT = 16e9;

  private Products() {}

  /** Launches {@code p}, whose result is not empty. */
  static void run(Gpu gpu, Product p) {
    Product.More more = p.more();
    Gemms nvidia = nvidia(gpu);
    if (nvidia == null) {
      OWN.run(gpu, p);
      return;
    }
    if (more == null) {
      if (!nvidia.run(gpu, p)) {
        OWN.run(gpu, p);
      }
      return;
    }
    Product base = p.alone().scaled(p.alpha(), 1);
    double operations = 2.0 * p.batches() * p.m() * p.n() * p.k();
    double enough = p.dtype().bytes() == 2 ? TWO_PASSES_16_BIT : TWO_PASSES;
    if (operations < enough || !nvidia.takes(base)) {
      OWN.run(gpu, p);
      return;
    }
    // The thin product first: the large one then reads C while it computes, not in a pass of its
    // own.
    OWN.run(gpu, p.moreAlone());
    if (!nvidia.run(gpu, base)) {
      OWN.run(gpu, base);
    }
  }

  private static @Nullable Gemms nvidia(Gpu gpu) {
    Optional<Gemms> known = NVIDIA.get(gpu);
    if (known == null) {
      known = NVIDIA.computeIfAbsent(gpu, g -> Optional.ofNullable(NvidiaGemms.open(g)));
    }
    return known.orElse(null);
  }
}
