// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.ImageDataset;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Philox;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;

/**
 * Shuffled batches of a data set. Batch {@code i} is a pure function of the seed and {@code i}, so
 * a run can go on anywhere. Each epoch is a new permutation; an incomplete batch at its end is
 * filled from the next one.
 */
public final class BatchLoader implements Batches {
  private final ImageDataset data;
  private final int batch;
  private final int unit;
  private final Rng rng;
  private final Device device;
  private long epoch = -1;
  private int[] order = new int[0];

  /**
   * A loader.
   *
   * @param data the images
   * @param batch images per batch
   * @param unit heights and widths are padded with black to multiples of this
   * @param rng the source of the shuffling
   * @param device where batches go
   */
  public BatchLoader(ImageDataset data, int batch, int unit, Rng rng, Device device) {
    if (data.size() == 0) {
      throw new IllegalArgumentException("the data set is empty");
    }
    if (batch < 1 || unit < 1) {
      throw new IllegalArgumentException(
          "batch and unit must be positive; got " + batch + " and " + unit);
    }
    long bytes = (long) data.channels() * (data.height() + unit) * (data.width() + unit);
    if (batch > Integer.MAX_VALUE / bytes) {
      throw new IllegalArgumentException(
          "a batch of " + batch + " pictures of about " + bytes + " bytes is too large");
    }
    this.data = data;
    this.batch = batch;
    this.unit = unit;
    this.rng = rng;
    this.device = device;
  }

  @Override
  public Device device() {
    return device;
  }

  /** {@return the height of a batch, padding included} */
  @Override
  public int height() {
    return (data.height() + unit - 1) / unit * unit;
  }

  /** {@return the width of a batch, padding included} */
  @Override
  public int width() {
    return (data.width() + unit - 1) / unit * unit;
  }

  @Override
  public Batch batch(long step) {
    byte[] pixels = new byte[batch * data.channels() * height() * width()];
    byte[] image = new byte[data.bytesPerImage()];
    long[] labels = new long[batch];
    for (int b = 0; b < batch; b++) {
      int index = index(step * batch + b);
      data.copyPixels(index, image, 0);
      place(image, pixels, b);
      labels[b] = data.label(index);
    }
    Tensor images = Tensor.of(pixels, batch, data.channels(), height(), width()); // U8, black is 0
    Tensor scaled = Num.affine(Num.cast(images.to(device), DType.F32), 2 / 255.0, -1);
    return new Batch(scaled, Tensor.of(labels, batch));
  }

  /** {@return the indices of its pictures in the data set} */
  @Override
  public String describe(long number) {
    StringBuilder text = new StringBuilder("batch " + number + " (pictures");
    for (int b = 0; b < batch; b++) {
      text.append(b == 0 ? " " : ", ").append(index(number * batch + b));
    }
    return text.append(" of the data set)").toString();
  }

  /** The data set's index of the {@code position}-th image that is shown. */
  private int index(long position) {
    long wanted = position / data.size();
    if (wanted != epoch) {
      epoch = wanted;
      order = permutation(rng.step(wanted), data.size());
    }
    return order[(int) (position % data.size())];
  }

  private static int[] permutation(Rng rng, int n) {
    int[] p = new int[n];
    for (int i = 0; i < n; i++) {
      p[i] = i;
    }
    for (int i = n - 1; i > 0; i--) { // Fisher-Yates
      int j = (int) Philox.integer(rng.key(), i, 0, i + 1L);
      int t = p[i];
      p[i] = p[j];
      p[j] = t;
    }
    return p;
  }

  private void place(byte[] image, byte[] pixels, int b) {
    int rows = data.channels() * data.height();
    for (int r = 0; r < rows; r++) {
      int channel = r / data.height();
      int y = r % data.height();
      int target = ((b * data.channels() + channel) * height() + y) * width();
      System.arraycopy(image, r * data.width(), pixels, target, data.width());
    }
  }

  /** The shape of a batch of images. */
  public Shape shape() {
    return Shape.of(batch, data.channels(), height(), width());
  }
}
