// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.autograd.GradientListener;
import io.sfumato.autograd.Gradients;
import io.sfumato.models.distributed.Collectives.Reduction;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Averages the gradients of one step. It is told of them one by one, in any order; a bucket is sent
 * when it is full and all before it have been sent, so all ranks send the same buckets in the same
 * order whatever order their gradients come in. The flat tensors belong to the scope in which this
 * was made.
 */
final class Exchange implements GradientListener {
  private final Collectives ranks;
  private final List<Bucket> buckets;
  private final boolean scattered;
  private final IdentityHashMap<Parameter, Integer> bucketOf = new IdentityHashMap<>();
  private final List<Tensor> flat = new ArrayList<>();
  private final int[] missing;
  private final List<Pending> pending = new ArrayList<>();
  private final List<Parameter> order = new ArrayList<>();

  /**
   * An exchange.
   *
   * @param scattered whether each rank wants the gradients in its own segment only
   */
  Exchange(Collectives ranks, List<Bucket> buckets, boolean scattered) {
    this.ranks = ranks;
    this.buckets = buckets;
    this.scattered = scattered;
    this.missing = new int[buckets.size()];
    for (int b = 0; b < missing.length; b++) {
      missing[b] = buckets.get(b).parameters().size();
      flat.add(buckets.get(b).allocate());
      for (Parameter p : buckets.get(b).parameters()) {
        bucketOf.put(p, b);
      }
    }
  }

  @Override
  public void complete(Parameter parameter, @Nullable Tensor gradient) {
    Integer b = bucketOf.get(parameter);
    if (b == null) {
      throw new IllegalArgumentException(parameter + " is not among those that are exchanged");
    }
    try (Scope scope = Scope.open()) {
      buckets.get(b).put(flat.get(b), parameter, gradient);
    }
    order.add(parameter);
    missing[b]--;
    while (pending.size() < missing.length && missing[pending.size()] == 0) {
      int next = pending.size();
      Tensor data = flat.get(next);
      pending.add(
          scattered
              ? ranks.reduceScatter(data, buckets.get(next).counts(), Reduction.MEAN)
              : ranks.allReduce(data, Reduction.MEAN));
    }
  }

  /** The order in which gradients came. */
  List<Parameter> order() {
    return order;
  }

  /**
   * Waits for all.
   *
   * @return the mean gradients, those of this rank's segments only if scattered; views that belong
   *     to the current scope
   */
  Gradients finish() {
    if (pending.size() < missing.length) {
      throw new IllegalStateException(
          "gradients are missing: " + order.size() + " of " + bucketOf.size() + " came");
    }
    Map<Parameter, Tensor> result = new LinkedHashMap<>();
    for (int b = 0; b < missing.length; b++) {
      pending.get(b).await();
      Bucket bucket = buckets.get(b);
      Set<Parameter> marked = bucket.marked(flat.get(b), scattered ? ranks.rank() : 0);
      for (Parameter p : bucket.parameters()) {
        if (marked.contains(p)) {
          Device device = p.value().device();
          result.put(p, bucket.view(flat.get(b), p).to(device));
        }
      }
    }
    return Gradients.of(result);
  }
}
