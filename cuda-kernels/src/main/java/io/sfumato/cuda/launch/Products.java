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
  private static final Gemms FEW_ROWS = new FewRows();
  private static final Map<Gpu, Optional<Gemms>> NVIDIA = new ConcurrentHashMap<>();

  /**
   * From how many operations on NVIDIA's faster product pays for a second pair in a pass of its
   * own, which reads and writes C once more.
   */
  private static final double TWO_PASSES = 1e8;

  private Products() {}

  /** Launches {@code p}, whose result is not empty. */
  static void run(Gpu gpu, Product p) {
    if (FEW_ROWS.run(gpu, p)) {
      return;
    }
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
    if (!adds(gpu, p)) {
      OWN.run(gpu, p);
      return;
    }
    // The thin product first: the large one then reads C while it computes, not in a pass of its
    // own.
    if (!nvidia.run(gpu, p.moreAlone())) {
      OWN.run(gpu, p.moreAlone());
    }
    run(gpu, p.alone().scaled(p.alpha(), 1));
  }

  /**
   * Whether the first pair of {@code p} is better added to C in a pass of its own than summed with
   * another pair.
   */
  static boolean adds(Gpu gpu, Product p) {
    if (OwnGemms.keepsUp(gpu, p)) {
      return false;
    }
    Gemms nvidia = nvidia(gpu);
    double operations = 2.0 * p.batches() * p.m() * p.n() * p.k();
    return nvidia != null
        && operations >= TWO_PASSES
        && nvidia.takes(p.alone().scaled(p.alpha(), 1));
  }

  private static @Nullable Gemms nvidia(Gpu gpu) {
    Optional<Gemms> known = NVIDIA.get(gpu);
    if (known == null) {
      known = NVIDIA.computeIfAbsent(gpu, g -> Optional.ofNullable(NvidiaGemms.open(g)));
    }
    return known.orElse(null);
  }
}
