// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;

/**
 * How a convolution walks over its input. Immutable; {@code ConvOptions.of().stride(2).padding(1)}.
 *
 * <p>Each list has one number per spatial dimension, outermost first, or a single number for all of
 * them. An output dimension has size {@code floor((size + before + after - dilation (kernel - 1) -
 * 1) / stride) + 1}.
 *
 * @param stride distance of neighbouring windows, at least 1
 * @param before zeros put before the first element (top, left), at least 0
 * @param after zeros put after the last element (bottom, right), at least 0
 * @param dilation distance of neighbouring taps of the kernel, at least 1
 * @param outputPadding rows added to the end of a transposed convolution's output, at least 0 and
 *     smaller than stride or dilation; other convolutions take 0 only
 * @param groups the number of groups that channels are split into, each convolved by itself
 */
public record ConvOptions(
    List<Integer> stride,
    List<Integer> before,
    List<Integer> after,
    List<Integer> dilation,
    List<Integer> outputPadding,
    int groups) {
  private static final List<Integer> ZERO = List.of(0);
  private static final List<Integer> ONE = List.of(1);
  private static final ConvOptions DEFAULT = new ConvOptions(ONE, ZERO, ZERO, ONE, ZERO, 1);

  /**
   * Checks and copies the numbers.
   *
   * @throws IllegalArgumentException if a number is out of its range, or a list is empty
   */
  public ConvOptions {
    stride = atLeast(1, "stride", stride);
    before = atLeast(0, "padding", before);
    after = atLeast(0, "padding", after);
    dilation = atLeast(1, "dilation", dilation);
    outputPadding = atLeast(0, "output padding", outputPadding);
    if (groups < 1) {
      throw new IllegalArgumentException("convolution groups must be at least 1; got " + groups);
    }
  }

  /** Stride 1, no padding, dilation 1, one group. */
  public static ConvOptions of() {
    return DEFAULT;
  }

  /** With this stride: one number for all spatial dimensions, or one for each. */
  public ConvOptions stride(int... values) {
    return new ConvOptions(list(values), before, after, dilation, outputPadding, groups);
  }

  /** With this padding on both ends: one number for all spatial dimensions, or one for each. */
  public ConvOptions padding(int... values) {
    return padding(list(values), list(values));
  }

  /** With these paddings of an image. */
  public ConvOptions padding(int top, int left, int bottom, int right) {
    return padding(List.of(top, left), List.of(bottom, right));
  }

  /** With these paddings before the first and after the last element of each dimension. */
  public ConvOptions padding(List<Integer> first, List<Integer> last) {
    return new ConvOptions(stride, first, last, dilation, outputPadding, groups);
  }

  /** With this dilation: one number for all spatial dimensions, or one for each. */
  public ConvOptions dilation(int... values) {
    return new ConvOptions(stride, before, after, list(values), outputPadding, groups);
  }

  /** With this output padding (transposed convolutions only): one number, or one per dimension. */
  public ConvOptions outputPadding(int... values) {
    return new ConvOptions(stride, before, after, dilation, list(values), groups);
  }

  /** With this number of groups. */
  public ConvOptions groups(int count) {
    return new ConvOptions(stride, before, after, dilation, outputPadding, count);
  }

  /**
   * These options with one number for each of {@code spatial} dimensions.
   *
   * @throws IllegalArgumentException if a list has another length than 1 or {@code spatial}
   */
  public ConvOptions resolved(int spatial) {
    return new ConvOptions(
        spread(spatial, "stride", stride),
        spread(spatial, "padding", before),
        spread(spatial, "padding", after),
        spread(spatial, "dilation", dilation),
        spread(spatial, "output padding", outputPadding),
        groups);
  }

  /**
   * These (resolved) options with a further spatial dimension of kernel size 1 before the others.
   */
  ConvOptions lifted() {
    return new ConvOptions(
        prepend(1, stride),
        prepend(0, before),
        prepend(0, after),
        prepend(1, dilation),
        prepend(0, outputPadding),
        groups);
  }

  private static List<Integer> list(int... values) {
    return IntStream.of(values).boxed().toList();
  }

  private static List<Integer> prepend(int first, List<Integer> rest) {
    List<Integer> all = new ArrayList<>(rest.size() + 1);
    all.add(first);
    all.addAll(rest);
    return all;
  }

  private static List<Integer> atLeast(int least, String what, List<Integer> values) {
    if (values.isEmpty() || Collections.min(values) < least) {
      throw new IllegalArgumentException(
          "convolution " + what + " must be at least " + least + "; got " + values);
    }
    return List.copyOf(values);
  }

  private static List<Integer> spread(int spatial, String what, List<Integer> values) {
    if (values.size() == 1) {
      return Collections.nCopies(spatial, values.getFirst());
    }
    if (values.size() != spatial) {
      throw new IllegalArgumentException(
          "convolution " + what + " must have 1 or " + spatial + " numbers; got " + values);
    }
    return values;
  }
}
