// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.launch;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.AxisMap;
import io.sfumato.tensor.ops.AxisWeights;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Linear maps of several axes, one after the other, those that shrink most first. */
final class Passes {
  private record Pass(int place, AxisWeights map, double growth) {}

  private final List<Pass> passes = new ArrayList<>();
  private final boolean channelsLast;
  private final int[] dims;

  /**
   * Maps of an f32 tensor.
   *
   * @param x the tensor
   * @param y what will be the result; its memory order is that of all steps
   */
  Passes(Tensor x, Tensor y) {
    this.channelsLast = !y.layout().isContiguous();
    this.dims = dims(x.shape(), channelsLast);
  }

  /** Adds the map of one axis. */
  void add(int axis, AxisWeights map) {
    int place = place(axis, dims.length, channelsLast);
    boolean nothing = map.outputs() == dims[place];
    for (int o = 0; nothing && o < map.outputs(); o++) {
      int k = map.begin()[o];
      nothing = map.begin()[o + 1] == k + 1 && map.source()[k] == o && map.weight()[k] == 1;
    }
    if (!nothing) {
      passes.add(new Pass(place, map, (double) map.outputs() / dims[place]));
    }
  }

  /** Runs the maps from {@code x} to {@code y}. */
  void run(Tensor x, Tensor y) {
    passes.sort(Comparator.comparingDouble(Pass::growth));
    if (passes.isEmpty()) {
      passes.add(new Pass(0, AxisWeights.identity(dims[0]), 1));
    }
    try (Staging staging = new Staging()) {
      long from = channelsLast ? staging.channelsLast(x) : staging.rowMajor(x);
      for (int i = 0; i < passes.size(); i++) {
        Pass pass = passes.get(i);
        int outer = product(dims, 0, pass.place);
        int inputs = dims[pass.place];
        int inner = product(dims, pass.place + 1, dims.length);
        dims[pass.place] = pass.map.outputs();
        boolean last = i == passes.size() - 1;
        long to = last ? y.address() : staging.allocate(4L * product(dims, 0, dims.length));
        AxisMap.apply(pass.map, from, to, outer, inputs, inner);
        from = to;
      }
    }
  }

  /** The dimensions in memory order. */
  static int[] dims(Shape shape, boolean channelsLast) {
    int[] dims = new int[shape.rank()];
    for (int axis = 0; axis < dims.length; axis++) {
      dims[place(axis, dims.length, channelsLast)] = shape.dim(axis);
    }
    return dims;
  }

  /** The place of an axis in memory order. */
  static int place(int axis, int rank, boolean channelsLast) {
    if (!channelsLast || axis == 0) {
      return axis;
    }
    return axis == 1 ? rank - 1 : axis - 1;
  }

  /** The product of some dimensions. */
  static int product(int[] dims, int from, int to) {
    int n = 1;
    for (int i = from; i < to; i++) {
      n = Math.multiplyExact(n, dims[i]);
    }
    return n;
  }
}
