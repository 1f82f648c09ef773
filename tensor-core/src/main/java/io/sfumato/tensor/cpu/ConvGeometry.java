// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

/**
 * The sizes of a 2-d convolution. Images are NHWC, weights {@code [outC, inC / groups, kH, kW]}.
 *
 * <p>Output pixel {@code (oh, ow)} reads the input pixels {@code (oh * strideH - padTop + kh *
 * dilationH, ow * strideW - padLeft + kw * dilationW)}; what lies outside the image is zero. Group
 * {@code g} maps the {@code g}-th part of the input channels to the {@code g}-th part of the output
 * channels.
 *
 * @param batch images, at least 0
 * @param inC input channels
 * @param inH input height in pixels
 * @param inW input width in pixels
 * @param outC output channels
 * @param kH kernel height
 * @param kW kernel width
 * @param strideH vertical step of the kernel
 * @param strideW horizontal step of the kernel
 * @param padTop rows of zeros above the image
 * @param padLeft columns of zeros left of the image
 * @param padBottom rows of zeros below the image
 * @param padRight columns of zeros right of the image
 * @param dilationH rows between taps of the kernel, 1 when dense
 * @param dilationW columns between taps of the kernel, 1 when dense
 * @param groups groups of channels
 */
public record ConvGeometry(
    int batch,
    int inC,
    int inH,
    int inW,
    int outC,
    int kH,
    int kW,
    int strideH,
    int strideW,
    int padTop,
    int padLeft,
    int padBottom,
    int padRight,
    int dilationH,
    int dilationW,
    int groups) {
  /**
   * Checks that the sizes fit together.
   *
   * @throws IllegalArgumentException if a size is not positive (batch: negative), a padding is
   *     negative, the channels do not divide into the groups, or the kernel is larger than the
   *     padded image
   */
  public ConvGeometry {
    require(batch >= 0, "batch must not be negative", batch);
    positive(inC, "inC");
    positive(inH, "inH");
    positive(inW, "inW");
    positive(outC, "outC");
    positive(kH, "kH");
    positive(kW, "kW");
    positive(strideH, "strideH");
    positive(strideW, "strideW");
    positive(dilationH, "dilationH");
    positive(dilationW, "dilationW");
    positive(groups, "groups");
    require(padTop >= 0, "padTop must not be negative", padTop);
    require(padLeft >= 0, "padLeft must not be negative", padLeft);
    require(padBottom >= 0, "padBottom must not be negative", padBottom);
    require(padRight >= 0, "padRight must not be negative", padRight);
    if (inC % groups != 0 || outC % groups != 0) {
      throw new IllegalArgumentException(
          "conv2d: inC and outC must be multiples of groups; got inC "
              + inC
              + ", outC "
              + outC
              + ", groups "
              + groups);
    }
    fits("height", inH, padTop, padBottom, dilationH, kH);
    fits("width", inW, padLeft, padRight, dilationW, kW);
  }

  /** A dense convolution of one group: the same stride and padding in both directions. */
  public static ConvGeometry of(
      int batch, int inC, int inH, int inW, int outC, int kernel, int stride, int padding) {
    return new ConvGeometry(
        batch, inC, inH, inW, outC, kernel, kernel, stride, stride, padding, padding, padding,
        padding, 1, 1, 1);
  }

  /** The height of the output in pixels. */
  public int outH() {
    return (inH + padTop + padBottom - dilationH * (kH - 1) - 1) / strideH + 1;
  }

  /** The width of the output in pixels. */
  public int outW() {
    return (inW + padLeft + padRight - dilationW * (kW - 1) - 1) / strideW + 1;
  }

  /** Whether the kernel takes steps of more than a pixel. */
  boolean isStrided() {
    return strideH > 1 || strideW > 1;
  }

  /** Input channels of one group. */
  public int groupInC() {
    return inC / groups;
  }

  /** Output channels of one group. */
  public int groupOutC() {
    return outC / groups;
  }

  /** Multiplications of one forward pass, border included. */
  public double multiplications() {
    return (double) batch * outH() * outW() * outC * kH * kW * groupInC();
  }

  private static void positive(int value, String name) {
    require(value > 0, name + " must be positive", value);
  }

  private static void require(boolean holds, String requirement, int value) {
    if (!holds) {
      throw new IllegalArgumentException("conv2d: " + requirement + "; got " + value);
    }
  }

  private static void fits(String what, int size, int before, int after, int dilation, int kernel) {
    long padded = (long) size + before + after;
    long extent = (long) dilation * (kernel - 1) + 1;
    if (extent > padded) {
      throw new IllegalArgumentException(
          "conv2d: the kernel must fit the padded image; got kernel "
              + what
              + " "
              + extent
              + " over "
              + padded);
    }
  }
}
