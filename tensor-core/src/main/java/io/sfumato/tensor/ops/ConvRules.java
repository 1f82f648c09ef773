// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Dense;
import java.util.List;

/**
 * Shape rules and reference loops of convolutions over any number of spatial dimensions. The three
 * products of a convolution (output, gradient of the input, gradient of the weight) are sums over
 * one and the same set of triples (input element, weight element, output element).
 */
final class ConvRules {
  private static final String[] AXES = {"d", "h", "w"};

  private ConvRules() {}

  /** Sees one triple, as positions in row-major order. */
  @FunctionalInterface
  interface Triple {
    void accept(int input, int weight, int output);
  }

  /**
   * The output shape of a convolution.
   *
   * @param spatial the number of spatial dimensions
   * @param x shape of the input
   * @param w shape of the weight
   * @param options resolved options
   */
  static Shape output(int spatial, Shape x, Shape w, ConvOptions options) {
    if (x.rank() != spatial + 2) {
      throw new ShapeException("input must have shape [N, in" + axes(spatial, ", ", "") + "]");
    }
    weight(spatial, x.dim(1), w, options);
    int[] dims = new int[spatial + 2];
    dims[0] = x.dim(0);
    dims[1] = w.dim(0);
    for (int i = 0; i < spatial; i++) {
      int size = size(x.dim(i + 2), w.dim(i + 2), i, options);
      if (size < 1) {
        throw new ShapeException(
            "padded input must be at least as large as the dilated kernel; kernel is "
                + (options.dilation().get(i) * (w.dim(i + 2) - 1) + 1)
                + ", padded input is "
                + (x.dim(i + 2) + options.before().get(i) + options.after().get(i))
                + " along "
                + AXES[AXES.length - spatial + i]);
      }
      dims[i + 2] = size;
    }
    return Shape.of(dims);
  }

  /** Checks the weight of a convolution of {@code in} channels. */
  static void weight(int spatial, int in, Shape w, ConvOptions options) {
    int groups = options.groups();
    boolean kernel = w.rank() == spatial + 2;
    for (int i = 2; kernel && i < w.rank(); i++) {
      kernel = w.dim(i) > 0;
    }
    if (!kernel || in % groups != 0 || w.dim(1) != in / groups || w.dim(0) % groups != 0) {
      throw new ShapeException(
          "weight must have shape [out, in/groups"
              + axes(spatial, ", ", "k")
              + "] with in = "
              + in
              + (groups > 1 ? " and groups = " + groups + ", a divisor of in and out" : ""));
    }
  }

  /** The bias of an output of {@code channels} channels. */
  static void bias(TensorSpec bias, int channels) {
    Require.shape(bias, Shape.of(channels), "bias", "[out]");
  }

  /** Size of the output along spatial dimension {@code i}; below 1 if the kernel does not fit. */
  static int size(int in, int kernel, int i, ConvOptions options) {
    int room =
        in
            + options.before().get(i)
            + options.after().get(i)
            - options.dilation().get(i) * (kernel - 1)
            - 1;
    return room < 0 ? 0 : room / options.stride().get(i) + 1;
  }

  /** Names of the spatial dimensions, such as {@code , kh, kw}. */
  private static String axes(int spatial, String separator, String prefix) {
    StringBuilder text = new StringBuilder();
    for (int i = AXES.length - spatial; i < AXES.length; i++) {
      text.append(separator).append(prefix).append(prefix.isEmpty() ? upper(AXES[i]) : AXES[i]);
    }
    return text.toString();
  }

  private static String upper(String axis) {
    return axis.toUpperCase(java.util.Locale.ROOT);
  }

  /** {@code y = x * w (+ b)}. */
  static void forward(Dense x, Dense w, Dense y, ConvOptions options) {
    forEach(
        x.shape(),
        w.shape(),
        y.shape(),
        options,
        (i, k, o) -> y.data()[o] += x.data()[i] * w.data()[k]);
  }

  /** The adjoint in the input. */
  static void backwardInput(Dense g, Dense w, Dense dx, ConvOptions options) {
    forEach(
        dx.shape(),
        w.shape(),
        g.shape(),
        options,
        (i, k, o) -> dx.data()[i] += g.data()[o] * w.data()[k]);
  }

  /** The adjoint in the weight. */
  static void backwardWeight(Dense g, Dense x, Dense dw, ConvOptions options) {
    forEach(
        x.shape(),
        dw.shape(),
        g.shape(),
        options,
        (i, k, o) -> dw.data()[k] += g.data()[o] * x.data()[i]);
  }

  /** Adds the bias of each channel. */
  static void addBias(Dense bias, Dense y) {
    int inner = y.inner(1);
    double[] data = y.data();
    for (int i = 0; i < data.length; i++) {
      data[i] += bias.data()[i / inner % bias.numel()];
    }
  }

  /** Calls {@code body} with every triple whose input element is not padding. */
  private static void forEach(Shape x, Shape w, Shape y, ConvOptions options, Triple body) {
    ConvOptions o = options;
    while (o.stride().size() < 3) { // images are volumes of depth 1
      o = o.lifted();
    }
    int[] in = volume(x);
    int[] kernel = volume(w);
    int[] out = volume(y);
    int perGroup = y.dim(1) / o.groups();
    for (int n = 0; n < y.dim(0); n++) {
      for (int oc = 0; oc < y.dim(1); oc++) {
        for (int position = 0; position < out[0] * out[1] * out[2]; position++) {
          int od = position / (out[1] * out[2]);
          int oh = position / out[2] % out[1];
          int ow = position % out[2];
          int output = (n * y.dim(1) + oc) * out[0] * out[1] * out[2] + position;
          for (int c = 0; c < w.dim(1); c++) {
            int ic = oc / perGroup * w.dim(1) + c;
            for (int tap = 0; tap < kernel[0] * kernel[1] * kernel[2]; tap++) {
              int d = at(o, 0, od, tap / (kernel[1] * kernel[2]));
              int h = at(o, 1, oh, tap / kernel[2] % kernel[1]);
              int v = at(o, 2, ow, tap % kernel[2]);
              if (inside(d, in[0]) && inside(h, in[1]) && inside(v, in[2])) {
                int input = (((n * x.dim(1) + ic) * in[0] + d) * in[1] + h) * in[2] + v;
                int weight = (oc * w.dim(1) + c) * kernel[0] * kernel[1] * kernel[2] + tap;
                body.accept(input, weight, output);
              }
            }
          }
        }
      }
    }
  }

  private static int at(ConvOptions o, int axis, int output, int tap) {
    return output * o.stride().get(axis) - o.before().get(axis) + tap * o.dilation().get(axis);
  }

  private static boolean inside(int i, int size) {
    return i >= 0 && i < size;
  }

  /** The last three dimensions after the first two, with ones in front. */
  private static int[] volume(Shape shape) {
    int[] v = {1, 1, 1};
    for (int i = 2; i < shape.rank(); i++) {
      v[3 - shape.rank() + i] = shape.dim(i);
    }
    return v;
  }

  /** The spatial sizes of a shape [N, C, ...]. */
  static List<Integer> spatial(Shape shape) {
    return java.util.Arrays.stream(shape.dims()).skip(2).boxed().toList();
  }
}
