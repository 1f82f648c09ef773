// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.Updates;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Tensors of some parameters that are sent together, in one flat tensor: a segment for each owner.
 * 16-bit gradients are sent, and summed, in f32.
 *
 * <p>Behind the gradients of a segment there is a number for each: 1 if this rank has that
 * gradient, else 0. After the sum it tells whether any rank has one, so that parameters which no
 * rank used keep no gradient, and those which some used get zeros from the others.
 */
final class Bucket {
  private final List<Parameter> parameters;
  private final DType type;
  private final Device device;
  private final @Nullable Shares shares;
  private final Map<Parameter, Long> places = new LinkedHashMap<>();
  private final Map<Parameter, Long> marks = new LinkedHashMap<>();
  private final long[] counts;
  private long total;

  /**
   * A bucket.
   *
   * @param parameters whose tensors it takes
   * @param type of the flat tensor
   * @param device where it is
   * @param owners the number of segments
   * @param shares who owns what; null if there is one segment for all
   * @param marked whether there are marks
   */
  Bucket(
      List<Parameter> parameters,
      DType type,
      Device device,
      int owners,
      @Nullable Shares shares,
      boolean marked) {
    this.parameters = List.copyOf(parameters);
    this.type = type;
    this.device = device;
    this.shares = shares;
    this.counts = new long[owners];
    for (int owner = 0; owner < owners; owner++) {
      long from = total;
      for (Parameter p : parameters) {
        if (shares == null || shares.owner(p) == owner) {
          places.put(p, total);
          total += p.value().numel();
        }
      }
      for (Parameter p : parameters) {
        if (marked && (shares == null || shares.owner(p) == owner)) {
          marks.put(p, total);
          total++;
        }
      }
      counts[owner] = total - from;
    }
  }

  /** What its tensors belong to. */
  List<Parameter> parameters() {
    return parameters;
  }

  /** Elements of each owner's segment. */
  long[] counts() {
    return counts.clone();
  }

  /** A flat tensor for this bucket, in the current scope. */
  Tensor allocate() {
    return Tensor.empty(new TensorSpec(Shape.of(Math.toIntExact(total)), type, device));
  }

  /** Puts a gradient into its place; zeros if there is none. */
  void put(Tensor flat, Parameter p, @Nullable Tensor gradient) {
    Tensor place = view(flat, p);
    if (gradient == null) {
      Updates.copy(place, Tensor.zeros(place.spec()));
    } else {
      Updates.copy(place, gradient.to(device));
    }
    Long mark = marks.get(p);
    if (mark != null) {
      int at = Math.toIntExact(mark);
      Updates.copy(
          flat.slice(0, at, at + 1),
          Tensor.full(new TensorSpec(Shape.of(1), type, device), gradient == null ? 0 : 1));
    }
  }

  /** The tensor of a parameter, a view. */
  Tensor view(Tensor flat, Parameter p) {
    Long place = places.get(p);
    if (place == null) {
      throw new IllegalArgumentException(p + " is not in this bucket");
    }
    int from = Math.toIntExact(place);
    int to = Math.toIntExact(place + p.value().numel());
    return flat.slice(0, from, to).reshape(p.value().shape().dims());
  }

  /** Whether a parameter is in the segment of this owner. */
  boolean isOf(Parameter p, int owner) {
    return shares == null || shares.owner(p) == owner;
  }

  /** The parameters in the segment of this owner of which any rank had a gradient. */
  Set<Parameter> marked(Tensor flat, int owner) {
    List<Parameter> own = parameters.stream().filter(p -> isOf(p, owner)).toList();
    Set<Parameter> result = Collections.newSetFromMap(new IdentityHashMap<>());
    Long first = own.isEmpty() ? null : marks.get(own.getFirst());
    if (first == null) {
      result.addAll(own);
      return result;
    }
    int from = Math.toIntExact(first); // the marks of a segment lie one behind the other
    double[] values = flat.slice(0, from, from + own.size()).toDoubleArray();
    for (int i = 0; i < values.length; i++) {
      if (values[i] != 0) {
        result.add(own.get(i));
      }
    }
    return result;
  }

  @Override
  public String toString() {
    return parameters.size() + " tensors, " + total + " " + type + ", " + Arrays.toString(counts);
  }
}
