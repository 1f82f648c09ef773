// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPOutputStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class IdxTest {
  @TempDir Path folder;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models.data");

  // Set before every test: four 2 x 3 images and their labels.
  private byte[] images = new byte[0];
  private byte[] labels = new byte[0];

  @BeforeEach
  void makeFiles() {
    byte[] pixels = new byte[24];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 10);
    }
    images = idx(0x803, new int[] {4, 2, 3}, pixels);
    labels = idx(0x801, new int[] {4}, new byte[] {3, 0, 9, 3});
  }

  @ParameterizedTest
  @CsvSource({
    "train-images-idx3-ubyte,      train-labels-idx1-ubyte,    false",
    "train-images.idx3-ubyte,      train-labels.idx1-ubyte,    false",
    "train-images-idx3-ubyte.gz,   train-labels-idx1-ubyte.gz, true",
    "train-images.idx3-ubyte.gz,   train-labels-idx1-ubyte.gz, true",
    "t10k-images-idx3-ubyte,       t10k-labels-idx1-ubyte,     false",
    // Known by content: compressed without .gz, and plain with it.
    "train-images-idx3-ubyte,      train-labels-idx1-ubyte,    true",
    "t10k-images-idx3-ubyte.gz,    t10k-labels-idx1-ubyte.gz,  false",
  })
  void opensEverySpelling(String imageName, String labelName, boolean gzip) throws IOException {
    write(imageName, gzip ? gzip(images) : images);
    write(labelName, gzip ? gzip(labels) : labels);
    InMemoryImageDataset data = Mnist.open(folder);
    assertEquals(4, data.size());
    assertEquals(1, data.channels());
    assertEquals(2, data.height());
    assertEquals(3, data.width());
    assertEquals(9, data.label(2));
    assertEquals("9", data.classNames().get(data.label(2)));
    assertTrue(data.caption(0).isEmpty());
    assertEquals(imageName.startsWith("t10k") ? 1 : 0, log.lines().size());
    assertArrayEquals(Arrays.copyOfRange(images, 16 + 6, 16 + 12), data.pixels(1));
    assertArrayEquals(Arrays.copyOfRange(images, 16, 40), data.pixels(0, 4));
    byte[] batch = data.batch(3, 0);
    assertArrayEquals(data.pixels(3), Arrays.copyOfRange(batch, 0, 6));
    assertArrayEquals(data.pixels(0), Arrays.copyOfRange(batch, 6, 12));
    assertThrows(IndexOutOfBoundsException.class, () -> data.pixels(4));
    assertThrows(IndexOutOfBoundsException.class, () -> data.label(-1));
  }

  @Test
  void choosesThePart() throws IOException {
    write("train-images-idx3-ubyte", images);
    write("train-labels-idx1-ubyte", labels);
    write("t10k-images-idx3-ubyte", idx(0x803, new int[] {1, 2, 2}, new byte[4]));
    write("t10k-labels-idx1-ubyte", idx(0x801, new int[] {1}, new byte[1]));
    assertEquals(4, Mnist.open(folder).size());
    assertEquals(1, Mnist.open(folder, Mnist.options().split(Split.TEST)).size());
    Mnist.Options fashion = Mnist.options().classNames(Mnist.FASHION);
    assertEquals("dress", Mnist.open(folder, fashion).classNames().get(3));
  }

  @Test
  void namesWhatIsMissing() throws IOException {
    write("t10k-images-idx3-ubyte", images);
    assertMessage(() -> Mnist.open(folder), -1, "labels", "t10k-labels.idx1-ubyte.gz");
    assertMessage(
        () -> Mnist.open(folder, Mnist.options().split(Split.TRAIN)), -1, "TRAIN", "train-images");
    assertMessage(() -> IdxReader.images(folder.resolve("x")), -1, "no such file");
    assertMessage(() -> IdxReader.images(folder), -1, "not a regular file");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4, 7, 8, 11, 12, 15})
  void headerCutShort(int length) throws IOException {
    byte[] cut = Arrays.copyOf(images, length);
    assertMessage(() -> IdxReader.images(write("plain", cut)), length, "plain", "the end");
    assertMessage(() -> IdxReader.images(write("zip", gzip(cut))), length, "zip", "the end");
  }

  @ParameterizedTest
  @ValueSource(ints = {16, 17, 39})
  void valuesCutShort(int length) throws IOException {
    byte[] cut = Arrays.copyOf(images, length);
    assertMessage(() -> IdxReader.images(write("plain", cut)), length, "[4, 2, 3]");
    assertMessage(() -> IdxReader.images(write("zip", gzip(cut))), length, "[4, 2, 3]");
  }

  @Test
  void trailingBytes() throws IOException {
    byte[] longer = Arrays.copyOf(images, 41);
    assertMessage(() -> IdxReader.images(write("plain", longer)), 40, "41 bytes");
    assertMessage(() -> IdxReader.images(write("zip", gzip(longer))), 40, "more bytes");
  }

  @Test
  void wrongMagic() throws IOException {
    assertMessage(() -> IdxReader.images(write("a", labels)), 0, "0x00000803", "0x00000801");
    assertMessage(() -> IdxReader.labels(write("b", images)), 0, "0x00000801", "0x00000803");
    byte[] floats = images.clone();
    floats[2] = 0x0D;
    assertMessage(() -> IdxReader.images(write("c", floats)), 0, "unsigned bytes", "0x00000d03");
  }

  @ParameterizedTest
  @CsvSource({
    "4,  2147483647",
    "4, -2147483648",
    "4, -1",
    "4, 0",
    "8, 0",
    "8, 8193",
    "8, -1",
    "12, 0",
    "12, 2147483647",
  })
  void headersThatPromiseTooMuchOrNothing(int offset, int value) throws IOException {
    byte[] hostile = images.clone();
    ByteBuffer.wrap(hostile).putInt(offset, value);
    DatasetException plain =
        assertThrows(DatasetException.class, () -> IdxReader.images(write("plain", hostile)));
    DatasetException zip =
        assertThrows(DatasetException.class, () -> IdxReader.images(write("zip", gzip(hostile))));
    assertTrue(plain.getMessage().contains("at byte "), plain.getMessage());
    assertEquals(offset, zip.offset(), zip.getMessage());
  }

  @Test
  void gzipThatIsCutShortOrCorrupt() throws IOException {
    byte[] zip = gzip(images);
    for (int length = 2; length < zip.length; length++) {
      byte[] cut = Arrays.copyOf(zip, length);
      assertMessage(() -> IdxReader.images(write("cut", cut)), null, "the end of the file");
    }
    byte[] corrupt = zip.clone();
    corrupt[zip.length - 6] ^= 0x55; // the checksum
    assertMessage(() -> IdxReader.images(write("corrupt", corrupt)), 40, "corrupt data");
    corrupt[10] = (byte) 0xFF; // no such block type
    assertMessage(() -> IdxReader.images(write("corrupt", corrupt)), 0, "corrupt data");
  }

  @Test
  void labelsThatDoNotFit() throws IOException {
    write("train-images-idx3-ubyte", images);
    Path file = write("train-labels-idx1-ubyte", idx(0x801, new int[] {3}, new byte[3]));
    assertMessage(() -> Mnist.open(folder), 4, file.toString(), "4 labels", "got 3");
    write("train-labels-idx1-ubyte", idx(0x801, new int[] {4}, new byte[] {1, 2, 10, 3}));
    assertMessage(() -> Mnist.open(folder), 10, file.toString(), "0 to 9", "got 10");
  }

  @Test
  void opensThroughDatasetsInAnotherSize() throws IOException {
    write("train-images-idx3-ubyte", idx(0x803, new int[] {1, 4, 4}, filled(16, 77)));
    write("train-labels-idx1-ubyte", idx(0x801, new int[] {1}, new byte[] {5}));
    ImageDataset data = Datasets.open(folder, 8);
    assertEquals(8, data.height());
    assertEquals(5, data.label(0));
    assertArrayEquals(filled(64, 77), data.pixels(0));
    ImageDataset same = Datasets.open(folder, 4);
    assertArrayEquals(filled(16, 77), same.pixels(0));
  }

  private static byte[] filled(int length, int value) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  private static void assertMessage(Executable action, @Nullable Integer offset, String... parts) {
    DatasetException e = assertThrows(DatasetException.class, action);
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
    if (offset != null) {
      assertEquals(offset.longValue(), e.offset(), e.getMessage());
    }
  }

  private Path write(String name, byte[] content) throws IOException {
    return Files.write(folder.resolve(name), content);
  }

  private static byte[] idx(int magic, int[] dimensions, byte[] values) {
    ByteBuffer buffer = ByteBuffer.allocate(4 + 4 * dimensions.length + values.length);
    buffer.putInt(magic);
    for (int d : dimensions) {
      buffer.putInt(d);
    }
    return buffer.put(values).array();
  }

  private static byte[] gzip(byte[] content) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (OutputStream out = new GZIPOutputStream(bytes)) {
      out.write(content);
    }
    return bytes.toByteArray();
  }
}
