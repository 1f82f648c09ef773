// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class Cifar10Test {
  private static final int RECORD = 3073;

  @TempDir Path folder;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models.data");

  @Test
  void readsBatchesInOrder() throws IOException {
    Path inner = Files.createDirectory(folder.resolve("cifar-10-batches-bin"));
    Files.write(inner.resolve("data_batch_2.bin"), records(7, 8));
    Files.write(inner.resolve("data_batch_1.bin"), records(1, 2, 9));
    Files.write(inner.resolve("test_batch.bin"), records(4));
    InMemoryImageDataset data = Cifar10.open(folder);
    assertEquals(5, data.size());
    assertEquals(3, data.channels());
    assertEquals(32, data.height());
    int[] labels = {data.label(0), data.label(1), data.label(2), data.label(3), data.label(4)};
    assertArrayEquals(new int[] {1, 2, 9, 7, 8}, labels);
    assertEquals("truck", data.classNames().get(9));
    byte[] record = records(1, 2, 9);
    assertArrayEquals(Arrays.copyOfRange(record, RECORD + 1, 2 * RECORD), data.pixels(1));
    assertEquals(1, Cifar10.open(folder, Split.TEST).size());
    assertEquals(5, Datasets.open(folder, 32).size());
    assertEquals(16, Datasets.open(folder, 16).width());
  }

  @Test
  void usesTheTestPartIfAlone() throws IOException {
    Files.write(folder.resolve("test_batch.bin"), records(4));
    assertEquals(1, Cifar10.open(folder).size());
    assertEquals(1, log.lines().size());
    assertTrue(log.lines().getFirst().contains("test_batch.bin"), log.lines().toString());
    DatasetException e =
        assertThrows(DatasetException.class, () -> Cifar10.open(folder, Split.TRAIN));
    assertTrue(e.getMessage().contains("data_batch_1.bin"), e.getMessage());
  }

  @Test
  void refusesBrokenBatches() throws IOException {
    Path file = folder.resolve("data_batch_1.bin");
    Files.write(file, Arrays.copyOf(records(1, 2), 2 * RECORD - 5));
    DatasetException cut = assertThrows(DatasetException.class, () -> Cifar10.open(folder));
    assertEquals(RECORD, cut.offset());
    assertEquals(file, cut.file());
    Files.write(file, records(1, 10));
    DatasetException label = assertThrows(DatasetException.class, () -> Cifar10.open(folder));
    assertEquals(RECORD, label.offset());
    assertTrue(label.getMessage().contains("got 10"), label.getMessage());
    Files.write(file, new byte[0]);
    assertThrows(DatasetException.class, () -> Cifar10.open(folder));
  }

  private static byte[] records(int... labels) {
    byte[] bytes = new byte[labels.length * RECORD];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (i * 31 + i / 1024);
    }
    for (int i = 0; i < labels.length; i++) {
      bytes[i * RECORD] = (byte) labels[i];
    }
    return bytes;
  }
}
