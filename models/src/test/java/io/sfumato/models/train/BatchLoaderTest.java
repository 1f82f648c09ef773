// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.sfumato.models.data.InMemoryImageDataset;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import java.util.List;
import org.junit.jupiter.api.Test;

class BatchLoaderTest {
  /** Ten one-channel pictures of 3 x 5; every pixel of picture i is 10 i, its label is i. */
  private static InMemoryImageDataset ten() {
    byte[] pixels = new byte[10 * 15];
    int[] labels = new int[10];
    List<String> names = new java.util.ArrayList<>();
    for (int i = 0; i < 10; i++) {
      java.util.Arrays.fill(pixels, 15 * i, 15 * (i + 1), (byte) (10 * i));
      labels[i] = i;
      names.add("class " + i);
    }
    return InMemoryImageDataset.of(pixels, 1, 3, 5, labels, names);
  }

  private static BatchLoader loader(int batch) {
    return new BatchLoader(ten(), batch, 4, Rng.seed(1), Device.CPU);
  }

  @Test
  void anEpochShowsEveryPictureOnceAndTheNextIsShuffledAnew() {
    BatchLoader loader = loader(5);
    long[][] epochs = new long[2][10];
    try (Scope scope = Scope.open()) {
      for (int step = 0; step < 4; step++) {
        long[] labels = loader.batch(step).labels().toLongArray();
        System.arraycopy(labels, 0, epochs[step / 2], 5 * (step % 2), 5);
      }
    }
    long[] all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (long[] epoch : epochs) {
      long[] sorted = epoch.clone();
      java.util.Arrays.sort(sorted);
      assertArrayEquals(all, sorted);
    }
    assertThrows(AssertionError.class, () -> assertArrayEquals(epochs[0], epochs[1]));
  }

  @Test
  void aBatchIsAFunctionOfItsNumber() {
    try (Scope scope = Scope.open()) {
      BatchLoader walked = loader(3);
      for (int step = 0; step < 7; step++) {
        walked.batch(step);
      }
      BatchLoader.Batch fresh = loader(3).batch(7);
      BatchLoader.Batch other = walked.batch(7);
      assertArrayEquals(fresh.labels().toLongArray(), other.labels().toLongArray());
      assertArrayEquals(fresh.images().toFloatArray(), other.images().toFloatArray());
    }
  }

  @Test
  void pixelsAreScaledAndPaddedWithBlack() {
    try (Scope scope = Scope.open()) {
      BatchLoader.Batch batch = loader(2).batch(0);
      assertEquals("[2, 1, 4, 8]", batch.images().shape().toString());
      float[] x = batch.images().toFloatArray();
      long label = batch.labels().toLongArray()[0];
      assertEquals(10 * label / 127.5 - 1, x[0], 1e-6);
      assertEquals(10 * label / 127.5 - 1, x[2 * 8 + 4], 1e-6);
      assertEquals(-1, x[5]);
      assertEquals(-1, x[3 * 8]);
    }
  }

  @Test
  void emptyDataAndOddSizesAreRefused() {
    assertThrows(
        IllegalArgumentException.class,
        () -> new BatchLoader(ten(), 0, 4, Rng.seed(1), Device.CPU));
  }
}
