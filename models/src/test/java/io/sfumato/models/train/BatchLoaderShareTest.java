// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ShapesWorld;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.data.augment.CentreCrop;
import io.sfumato.models.data.augment.HorizontalFlip;
import io.sfumato.models.data.augment.RandomRotation;
import io.sfumato.models.data.batch.Shown;
import io.sfumato.models.nn.BatchShare;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Shaping;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Loaders of shares: together they give the whole, and each reads its own part only. */
class BatchLoaderShareTest {
  private static final int BATCH = 12;

  /** Counts what is read. */
  private record Counted(ImageDataset all, AtomicInteger reads) implements ImageDataset {
    @Override
    public int size() {
      return all.size();
    }

    @Override
    public int channels() {
      return all.channels();
    }

    @Override
    public int height() {
      return all.height();
    }

    @Override
    public int width() {
      return all.width();
    }

    @Override
    public void copyPixels(int index, byte[] target, int offset) {
      reads.incrementAndGet();
      all.copyPixels(index, target, offset);
    }

    @Override
    public int label(int index) {
      return all.label(index);
    }

    @Override
    public List<String> classNames() {
      return all.classNames();
    }

    @Override
    public Optional<String> caption(int index) {
      return all.caption(index);
    }
  }

  private static Counted data() {
    return new Counted(
        new ShapesWorld(ShapesWorld.options().count(40).resolution(8)), new AtomicInteger());
  }

  private static BatchLoader loader(Counted data, int ahead, BatchShare share) {
    LoaderOptions how =
        LoaderOptions.of(BATCH)
            .augmentations(
                new Augmentations(
                    new CentreCrop(), List.of(new HorizontalFlip(0.5), new RandomRotation(20))))
            .ahead(ahead);
    return new BatchLoader(data, how, share, Rng.seed(3), Device.CPU);
  }

  @ParameterizedTest
  @CsvSource({"2,0", "3,0", "3,2"})
  void sharesTogetherAreTheWholeAndEachReadsItsPart(int count, int ahead) {
    Counted data = data();
    try (Scope scope = Scope.open();
        BatchLoader whole = loader(data, 0, BatchShare.WHOLE)) {
      List<Batches.Batch> wanted = new ArrayList<>();
      for (int b = 0; b < 5; b++) {
        wanted.add(whole.batch(b));
      }
      List<List<Batches.Batch>> parts = new ArrayList<>();
      for (int index = 0; index < count; index++) {
        data.reads.set(0);
        parts.add(new ArrayList<>());
        try (BatchLoader own = loader(data, ahead, new BatchShare(index, count))) {
          for (int b = 0; b < 5; b++) {
            parts.getLast().add(own.batch(b));
          }
        }
        int most = (5 + ahead) * BATCH / count; // what was read ahead may have been given up
        assertTrue(data.reads.get() <= most, data.reads + " reads, " + most + " at most");
        assertTrue(ahead > 0 || data.reads.get() == most, data.reads + " reads");
      }
      for (int b = 0; b < 5; b++) {
        int number = b;
        Tensor[] images = parts.stream().map(p -> p.get(number).images()).toArray(Tensor[]::new);
        Tensor[] labels = parts.stream().map(p -> p.get(number).labels()).toArray(Tensor[]::new);
        List<Shown> shown = parts.stream().flatMap(p -> p.get(number).shown().stream()).toList();
        assertArrayEquals(
            wanted.get(b).images().toFloatArray(), Shaping.concat(0, images).toFloatArray());
        assertArrayEquals(
            wanted.get(b).labels().toLongArray(), Shaping.concat(0, labels).toLongArray());
        assertEquals(wanted.get(b).shown(), shown);
      }
    }
  }

  @Test
  void aShareKnowsTheWhole() {
    try (Scope scope = Scope.open();
        BatchLoader whole = loader(data(), 0, BatchShare.WHOLE);
        BatchLoader own = loader(data(), 2, new BatchShare(1, 3))) {
      assertEquals(whole.describe(4), own.describe(4));
      assertArrayEquals(
          whole.batch(4).images().toFloatArray(), own.whole().batch(4).images().toFloatArray());
      assertEquals(BATCH / 3, own.batch(4).images().dim(0));
    }
  }

  @Test
  void aBatchThatCannotBeSharedIsRefusedBeforeAnythingIsRead() {
    Counted data = data();
    String said =
        assertThrows(
                IllegalArgumentException.class, () -> loader(data, 0, new BatchShare(0, 5)).close())
            .getMessage();
    assertEquals("a batch of 12 cannot be shared out equally among 5", said);
    assertEquals(0, data.reads.get());
  }
}
