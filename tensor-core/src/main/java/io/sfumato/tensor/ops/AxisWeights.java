// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import java.util.Arrays;

/**
 * A linear map of one axis with few terms per result: {@code y[o] = Σ weight[k] x[source[k]]} for k
 * from {@code begin[o]} to {@code begin[o + 1] - 1}.
 *
 * @param begin [outputs + 1] where the terms of each result begin
 * @param source [terms] index of the input element
 * @param weight [terms] its factor
 */
@SuppressWarnings("ArrayRecordComponent") // a table, never compared
public record AxisWeights(int[] begin, int[] source, double[] weight) {
  /** The map that changes nothing. */
  public static AxisWeights identity(int size) {
    int[] source = new int[size];
    Arrays.setAll(source, i -> i);
    return copy(source);
  }

  /** {@code y[o] = x[source[o]]}. */
  static AxisWeights copy(int[] source) {
    int[] begin = new int[source.length + 1];
    Arrays.setAll(begin, i -> i);
    double[] ones = new double[source.length];
    Arrays.fill(ones, 1);
    return new AxisWeights(begin, source, ones);
  }

  /** {@code y[o] = factor[o] (x[start[o]] + … + x[end[o] - 1])}. */
  static AxisWeights windows(int[] start, int[] end, double[] factor) {
    int[] begin = new int[start.length + 1];
    for (int o = 0; o < start.length; o++) {
      begin[o + 1] = begin[o] + Math.max(0, end[o] - start[o]);
    }
    int[] source = new int[begin[start.length]];
    double[] weight = new double[source.length];
    for (int o = 0; o < start.length; o++) {
      for (int k = begin[o]; k < begin[o + 1]; k++) {
        source[k] = start[o] + k - begin[o];
        weight[k] = factor[o];
      }
    }
    return new AxisWeights(begin, source, weight);
  }

  /** The number of results. */
  public int outputs() {
    return begin.length - 1;
  }

  /**
   * The adjoint: {@code x[s] = Σ weight[k] y[o]} over the terms with source s, in the order of o.
   *
   * @param inputs the number of input elements
   */
  public AxisWeights transpose(int inputs) {
    int[] first = new int[inputs + 1];
    for (int s : source) {
      first[s + 1]++;
    }
    for (int s = 0; s < inputs; s++) {
      first[s + 1] += first[s];
    }
    int[] next = first.clone();
    int[] result = new int[source.length];
    double[] factor = new double[source.length];
    for (int o = 0; o < outputs(); o++) {
      for (int k = begin[o]; k < begin[o + 1]; k++) {
        int at = next[source[k]]++;
        result[at] = o;
        factor[at] = weight[k];
      }
    }
    return new AxisWeights(first, result, factor);
  }

  /**
   * Maps the middle axis of row-major [outer, inputs, inner].
   *
   * @return [outer, outputs, inner]
   */
  double[] apply(double[] x, int outer, int inputs, int inner) {
    int n = outputs();
    double[] y = new double[outer * n * inner];
    for (int b = 0; b < outer; b++) {
      for (int o = 0; o < n; o++) {
        int to = (b * n + o) * inner;
        for (int k = begin[o]; k < begin[o + 1]; k++) {
          int from = (b * inputs + source[k]) * inner;
          for (int j = 0; j < inner; j++) {
            y[to + j] += weight[k] * x[from + j];
          }
        }
      }
    }
    return y;
  }
}
