// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.Parameter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.List;

/**
 * Which rank owns which parameter. Whole parameters, the largest first, each to the rank that has
 * the fewest elements so far, as PyTorch's ZeroRedundancyOptimizer does it.
 */
final class Shares {
  private final IdentityHashMap<Parameter, Integer> owners = new IdentityHashMap<>();

  /** Shares of parameters, which every rank must give in the same order. */
  Shares(Collection<Parameter> parameters, int ranks) {
    List<Parameter> sorted = new ArrayList<>(parameters);
    sorted.sort(Comparator.comparingLong((Parameter p) -> p.value().numel()).reversed());
    long[] load = new long[ranks];
    for (Parameter p : sorted) {
      int least = 0;
      for (int r = 1; r < ranks; r++) {
        least = load[r] < load[least] ? r : least;
      }
      owners.put(p, least);
      load[least] += p.value().numel();
    }
  }

  /** The rank that updates a parameter. */
  int owner(Parameter p) {
    Integer owner = owners.get(p);
    if (owner == null) {
      throw new IllegalArgumentException(p + " is not among the parameters that are shared out");
    }
    return owner;
  }
}
