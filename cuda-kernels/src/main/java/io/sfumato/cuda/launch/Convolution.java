// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.ConvOptions;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The sizes of a convolution y [images, out, ...] = x [images, in, ...] * w [out, in/groups, ...],
 * whichever of the three is computed. Lists have depth, rows and columns; images have depth 1.
 *
 * @param dtype the element type
 * @param images the batch
 * @param in channels of x
 * @param from sizes of x
 * @param out channels of y
 * @param to sizes of y
 * @param kernel sizes of the kernel
 * @param stride distance of windows
 * @param before padding before the first element
 * @param dilation distance of taps
 * @param groups groups of channels
 */
record Convolution(
    DType dtype,
    int images,
    int in,
    List<Integer> from,
    int out,
    List<Integer> to,
    List<Integer> kernel,
    List<Integer> stride,
    List<Integer> before,
    List<Integer> dilation,
    int groups) {

  /** Of tensors, in the order x, w, y. */
  static Convolution of(ConvOptions o, Tensor x, Tensor w, Tensor y) {
    return new Convolution(
        x.dtype(),
        x.dim(0),
        x.dim(1),
        volume(x.shape()),
        y.dim(1),
        volume(y.shape()),
        volume(w.shape()),
        deep(o.stride(), 1),
        deep(o.before(), 0),
        deep(o.dilation(), 1),
        o.groups());
  }

  /** With another number of channels of x. */
  Convolution withIn(int channels) {
    return new Convolution(
        dtype, images, channels, from, out, to, kernel, stride, before, dilation, groups);
  }

  /** With another number of channels of y. */
  Convolution withOut(int channels) {
    return new Convolution(
        dtype, images, in, from, channels, to, kernel, stride, before, dilation, groups);
  }

  private static List<Integer> volume(Shape shape) {
    List<Integer> sizes = new ArrayList<>();
    for (int i = 2; i < shape.rank(); i++) {
      sizes.add(shape.dim(i));
    }
    return deep(sizes, 1);
  }

  private static List<Integer> deep(List<Integer> sizes, int first) {
    List<Integer> all = new ArrayList<>(Collections.nCopies(3 - sizes.size(), first));
    all.addAll(sizes);
    return List.copyOf(all);
  }

  private static long product(List<Integer> sizes) {
    long n = 1;
    for (int v : sizes) {
      n = Math.multiplyExact(n, (long) v);
    }
    return n;
  }

  /** Why the kernels' numbers do not hold it, or null. */
  @Nullable String tooLarge() {
    long most = Integer.MAX_VALUE;
    if (images * product(from) > most || images * product(to) > most) {
      return "needs fewer than 2^31 pixels";
    }
    // places are numbered from padding to padding
    if (product(from) * in > most / 2 || product(to) * out > most / 2) {
      return "needs fewer than 2^30 elements for each image";
    }
    if ((long) out * (in / groups) * taps() > most) {
      return "needs fewer than 2^31 weights";
    }
    return in > 65535 || out > 65535 ? "needs at most 65535 channels" : null;
  }

  /** Taps of the kernel. */
  int taps() {
    return (int) product(kernel);
  }

  /** Channels of x that one output channel sees. */
  int inPerGroup() {
    return in / groups;
  }

  /** Channels of y of one group. */
  int outPerGroup() {
    return out / groups;
  }

  /** Pixels of y. */
  long outPixels() {
    return images * product(to);
  }

  /** Pixels of x. */
  long inPixels() {
    return images * product(from);
  }

  /** Phases of the gradient of x: see {@code conv.cuh}. */
  int phases() {
    return (int) product(stride);
  }

  /** The most taps that one phase meets. */
  int tapsOfPhase() {
    int n = 1;
    for (int a = 0; a < 3; a++) {
      n *= Math.ceilDiv(kernel.get(a), every(a));
    }
    return n;
  }

  private int every(int axis) {
    int s = stride.get(axis);
    int a = s;
    for (int b = dilation.get(axis); b != 0; ) { // a becomes the greatest common divisor
      int rest = a % b;
      a = b;
      b = rest;
    }
    return s / a;
  }

  /** {@code struct Walk} of the convolution, or of the gradient of x. */
  int[] walk(boolean gradient, int splits) {
    List<Integer> gathered = gradient ? to : from;
    List<Integer> made = gradient ? from : to;
    int[] w = new int[29];
    w[0] = images;
    w[4] = gradient ? out : in;
    w[8] = gradient ? in : out;
    for (int a = 0; a < 3; a++) {
      w[1 + a] = gathered.get(a);
      w[5 + a] = made.get(a);
      w[9 + a] = kernel.get(a);
      w[12 + a] = gradient ? 1 : stride.get(a);
      w[15 + a] = gradient ? stride.get(a) : 1;
      w[18 + a] = gradient ? before.get(a) : -before.get(a);
      w[21 + a] = gradient ? -dilation.get(a) : dilation.get(a);
      w[24 + a] = gradient ? every(a) : 1;
    }
    w[27] = groups;
    w[28] = splits;
    return w;
  }
}
