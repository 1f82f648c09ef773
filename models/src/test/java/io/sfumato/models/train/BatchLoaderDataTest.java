// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.FramedPictures;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ImageFiles;
import io.sfumato.models.data.ImageFolder;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.MixedPictures;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.PictureFolder;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.Pictures.Size;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.data.batch.Buckets;
import io.sfumato.models.data.batch.DataCheck;
import io.sfumato.models.data.batch.NativeBuckets;
import io.sfumato.models.data.batch.SampleOrder;
import io.sfumato.models.data.batch.Shown;
import io.sfumato.models.data.batch.TestPictures;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class BatchLoaderDataTest {
  private static final List<String> EVERYTHING =
      List.of("flip", "resized-crop:0.3", "jitter", "rotate");

  @TempDir Path folder;

  @RegisterExtension
  final LogCapture log = new LogCapture("io.sfumato.models.data.batch.BadPictures");

  @RegisterExtension
  final LogCapture buckets = new LogCapture("io.sfumato.models.train.BatchLoader");

  /** A thousand pictures of 2 x 3 pixels in two classes; red is the number / 4. */
  private void thousand() throws IOException {
    for (int i = 0; i < 1000; i++) {
      byte[] pixels = new byte[18];
      Arrays.fill(pixels, 0, 6, (byte) (i / 4));
      Path file = folder.resolve(String.format("%s/%04d.png", i < 500 ? "cat" : "dog", i));
      if (i == 0) {
        ImageFiles.writePng(file, pixels, 3, 2, 3); // makes the folder
        ImageFiles.writePng(folder.resolve("dog/0500.png"), pixels, 3, 2, 3);
      }
      write(file, pixels);
    }
  }

  private static void write(Path file, byte[] pixels) throws IOException {
    var image = new BufferedImage(3, 2, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 6; i++) {
      image.setRGB(i % 3, i / 3, (pixels[i] & 0xFF) << 16);
    }
    var bytes = new ByteArrayOutputStream();
    ImageIO.write(image, "png", bytes);
    Files.write(file, bytes.toByteArray());
  }

  private ImageDataset framed(int size) {
    return FramedPictures.of(PictureFolder.open(folder), size, size);
  }

  private static List<float[]> batches(Batches loader, long first, int count) {
    List<float[]> all = new ArrayList<>();
    for (long b = first; b < first + count; b++) {
      Scope scope = Scope.open();
      try {
        Batches.Batch batch = loader.batch(b);
        all.add(batch.images().toFloatArray());
        all.add(batch.labels().to(DType.F32).toFloatArray());
      } finally {
        scope.close();
      }
    }
    return all;
  }

  private static void assertSame(List<float[]> expected, List<float[]> actual) {
    assertEquals(expected.size(), actual.size());
    for (int i = 0; i < expected.size(); i++) {
      assertArrayEquals(expected.get(i), actual.get(i), "batch " + i / 2);
    }
  }

  @Test
  void bitsDoNotDependOnThreadsReadingAheadOrWhereARunGoesOn() throws IOException {
    for (int i = 0; i < 20; i++) {
      byte[] pixels = new byte[3 * 12 * (8 + i)];
      for (int p = 0; p < pixels.length; p++) {
        pixels[p] = (byte) (p * 31 + i * 7);
      }
      ImageFiles.writePng(folder.resolve("c" + i % 3 + "/" + i + ".png"), pixels, 3, 12, 8 + i);
    }
    Files.writeString(folder.resolve("c0/6.png"), "this one is broken");
    LoaderOptions plain =
        LoaderOptions.of(3)
            .unit(4)
            .augmentations(Augmentations.parse(EVERYTHING))
            .broken(BrokenImages.SKIP_AND_LOG, 0.1);
    for (LoaderOptions options :
        List.of(plain, plain.buckets(Buckets.of(12, 4, 8, 24)), plain.captions(null))) {
      List<float[]> expected;
      try (BatchLoader loader = new BatchLoader(framed(9), options, Rng.seed(1), Device.CPU)) {
        expected = batches(loader, 0, 16);
      }
      for (int workers : new int[] {1, 2, 8}) {
        try (BatchLoader loader =
            new BatchLoader(
                framed(9), options.ahead(workers).workers(workers), Rng.seed(1), Device.CPU)) {
          assertSame(expected, batches(loader, 0, 16));
          assertSame(expected.subList(10, 20), batches(loader, 5, 5)); // goes back
        }
        try (BatchLoader loader =
            new BatchLoader(
                framed(9), options.ahead(2).workers(workers), Rng.seed(1), Device.CPU)) {
          assertSame(expected.subList(22, 32), batches(loader, 11, 5)); // goes on
        }
      }
      assertTrue(!Arrays.equals(expected.get(0), expected.get(4)));
    }
  }

  @Test
  void picturesInMemoryAndReadWhenNeededGiveTheSameBits() throws IOException {
    for (int i = 0; i < 5; i++) {
      byte[] pixels = new byte[3 * 40 * 31];
      for (int p = 0; p < pixels.length; p++) {
        pixels[p] = (byte) (p * p + i);
      }
      ImageFiles.writePng(folder.resolve(i + ".png"), pixels, 3, 40, 31);
    }
    BatchLoader memory =
        new BatchLoader(ImageFolder.open(folder, 16), 2, 1, Rng.seed(2), Device.CPU);
    BatchLoader files = new BatchLoader(framed(16), 2, 1, Rng.seed(2), Device.CPU);
    assertSame(batches(memory, 0, 6), batches(files, 0, 6));
  }

  @Test
  void onePoisonedPictureAmongAThousandEndsTheRunOrIsReplaced() throws IOException {
    thousand();
    Path torn = folder.resolve("cat/0123.png");
    byte[] whole = Files.readAllBytes(torn);
    Files.write(torn, Arrays.copyOf(whole, whole.length / 2));
    Path hostile = folder.resolve("dog/0777.png");
    byte[] header = Files.readAllBytes(hostile);
    header[16] = 0x40; // a width of a thousand million
    Files.write(hostile, header);
    Files.write(folder.resolve("dog/0999.png"), new byte[0]);
    ImageDataset data = framed(2);

    // Before a run, by looking at every file.
    IllegalArgumentException found =
        assertThrows(IllegalArgumentException.class, () -> DataCheck.require(data));
    assertTrue(found.getMessage().startsWith("3 of 1000 pictures cannot be used"));
    for (String name : List.of("0123.png", "0777.png", "0999.png")) {
      assertTrue(found.getMessage().contains(name), found.getMessage());
    }

    // In a run: the batch that shows it fails, ahead or not; no batch before it does.
    SampleOrder order = new SampleOrder(data.parts(), 50, new Size(2, 2), Rng.seed(3));
    List<Integer> bad = List.of(123, 777, 999);
    int firstBad = 0;
    while (order.slots(firstBad).stream().noneMatch(slot -> bad.contains(slot.index()))) {
      firstBad++;
    }
    assertTrue(firstBad > 0);
    for (int ahead : new int[] {0, 3}) {
      LoaderOptions fail = LoaderOptions.of(50).ahead(ahead);
      try (BatchLoader loader = new BatchLoader(data, fail, Rng.seed(3), Device.CPU)) {
        int batch = 0;
        DatasetException e = null;
        for (; batch < 20 && e == null; batch++) {
          try {
            batches(loader, batch, 1);
          } catch (DatasetException caught) {
            e = caught;
          }
        }
        assertEquals(firstBad, batch - 1);
        assertTrue(e != null && e.getMessage().contains(".png: "), "names the file");
      }
    }

    // Replaced: an epoch has all the others, the same ones each time.
    List<List<Integer>> shown = new ArrayList<>();
    for (int ahead : new int[] {0, 4}) {
      LoaderOptions skip =
          LoaderOptions.of(50).broken(BrokenImages.SKIP_AND_LOG, 0.01).ahead(ahead);
      try (BatchLoader loader = new BatchLoader(data, skip, Rng.seed(3), Device.CPU)) {
        List<Integer> indices = new ArrayList<>();
        for (int batch = 0; batch < 20; batch++) {
          Scope scope = Scope.open();
          try {
            loader.batch(batch).shown().stream().map(Shown::index).forEach(indices::add);
          } finally {
            scope.close();
          }
        }
        shown.add(indices);
        assertEquals(bad, loader.badPictures());
      }
    }
    assertEquals(shown.get(0), shown.get(1));
    assertEquals(997, shown.get(0).stream().distinct().count());
    assertEquals(2, shown.get(0).stream().filter(i -> i == 124).count());
    assertEquals(2, shown.get(0).stream().filter(i -> i == 0).count());
    List<String> lines = log.lines();
    assertEquals(2 * (3 + 1), lines.size(), lines::toString);
    assertEquals(2, lines.stream().filter(l -> l.contains("0123.png")).count());
    assertTrue(
        lines.getLast().startsWith("WARNING 3 of 1,000 pictures could not be used"),
        lines::toString);
  }

  @Test
  @SuppressWarnings("unchecked")
  void nobodyHoldsMoreThanOneWholePicture() {
    TestPictures real = new TestPictures(Collections.nCopies(4, new Size(9, 7)));
    Pictures guarded =
        (Pictures)
            Proxy.newProxyInstance(
                Pictures.class.getClassLoader(),
                new Class<?>[] {Pictures.class},
                (self, method, arguments) -> {
                  if (method.getName().equals("picture")) {
                    throw new AssertionError("a picture is taken out of its budget of memory");
                  }
                  return method.getName().equals("read")
                      ? real.read((int) arguments[0], (Function<Picture, ?>) arguments[1])
                      : method.invoke(real, arguments);
                });
    MixedPictures mixed = MixedPictures.of(List.of(new MixedPictures.Share(guarded, 1)));
    ImageDataset data = FramedPictures.of(mixed, 4, 4);
    LoaderOptions plain = LoaderOptions.of(2);
    LoaderOptions crop = plain.augmentations(Augmentations.parse(List.of("crop")));
    for (LoaderOptions options : List.of(plain, crop, plain.buckets(new NativeBuckets(8, 4)))) {
      BatchLoader loader = new BatchLoader(data, options, Rng.seed(1), Device.CPU);
      assertEquals(6, batches(loader, 0, 3).size());
    }
    DataCheck.require(mixed);
    assertEquals(2, data.pixels(2)[0]);
    assertEquals(4, ImageFolder.load(folder, mixed, ImageFolder.options(3)).size());
  }

  @Test
  void tooManyBadPicturesEndTheRunNevertheless() {
    List<Size> sizes = Collections.nCopies(10, new Size(4, 4));
    ImageDataset data = FramedPictures.of(new TestPictures(sizes).broken(2, 5), 4, 4);
    LoaderOptions skip = LoaderOptions.of(10).broken(BrokenImages.SKIP_AND_LOG, 0.1);
    BatchLoader loader = new BatchLoader(data, skip, Rng.seed(1), Device.CPU);
    DatasetException e = assertThrows(DatasetException.class, () -> batches(loader, 0, 1));
    assertTrue(e.getMessage().contains("2 of 10 pictures cannot be used; at most 10 %"));
    ImageDataset none = FramedPictures.of(new TestPictures(sizes.subList(0, 2)).broken(0, 1), 4, 4);
    BatchLoader nothing = new BatchLoader(none, skip, Rng.seed(1), Device.CPU);
    e = assertThrows(DatasetException.class, () -> batches(nothing, 0, 1));
    assertTrue(e.getMessage().contains("none of the 2 pictures"), e.getMessage());
    assertEquals(2, log.lines().size());
  }

  @Test
  void bucketsGiveBatchesOfTheirSizesAndSayWhatWasCutOff() {
    // 20 high and 80 wide, to be seen in 16 x 32: resized to 16 x 64, 16 columns off on each side.
    List<Size> sizes = Collections.nCopies(4, new Size(20, 80));
    ImageDataset data = FramedPictures.of(new TestPictures(sizes), 24, 24);
    LoaderOptions options =
        LoaderOptions.of(2)
            .unit(8)
            .buckets(new Buckets(List.of(new Size(16, 32), new Size(24, 24))));
    try (Scope scope = Scope.open();
        BatchLoader loader = new BatchLoader(data, options, Rng.seed(1), Device.CPU)) {
      assertEquals(24, loader.height());
      Batches.Batch batch = loader.batch(0);
      assertEquals("[2, 1, 16, 32]", batch.images().shape().toString());
      Shown shown = batch.shown().getFirst();
      assertEquals(new Size(20, 80), shown.originalSize());
      assertEquals(0, shown.cropTop());
      assertEquals(16, shown.cropLeft());
      assertEquals(shown.index() % 2, batch.labels().toLongArray()[0]);
      assertEquals("picture, number " + shown.index(), shown.caption().orElseThrow());
    }
    assertThrows(
        IllegalArgumentException.class,
        () -> new BatchLoader(data, options.unit(16), Rng.seed(1), Device.CPU));
  }

  @Test
  void optionsThatCouldDoNothingAreRefused() throws IOException {
    ImageFiles.writePng(folder.resolve("a.png"), new byte[48], 3, 4, 4);
    ImageDataset memory = ImageFolder.open(folder, 4);
    LoaderOptions crop = LoaderOptions.of(1).augmentations(Augmentations.parse(List.of("crop")));
    LoaderOptions buckets = LoaderOptions.of(1).buckets(Buckets.around(8, 4));
    for (LoaderOptions options : List.of(crop, buckets)) {
      assertThrows(
          IllegalArgumentException.class,
          () -> new BatchLoader(memory, options, Rng.seed(0), Device.CPU));
    }
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                new LoaderOptions(
                    0, 1, Augmentations.NONE, null, null, BrokenImages.FAIL, 2, -1, 0));
    for (String part : List.of("batch and unit", "bad pictures", "read ahead", "at a time")) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
  }

  @Test
  void mixedFoldersKeepTheirRepeats() throws IOException {
    for (String name : List.of("a/x/1", "a/x/2", "a/y/3", "b/x/4")) {
      ImageFiles.writePng(folder.resolve(name + ".png"), new byte[12], 3, 2, 2);
    }
    MixedPictures mixed =
        MixedPictures.of(
            Stream.of("a", "b")
                .map(
                    name ->
                        new MixedPictures.Share(
                            PictureFolder.open(folder.resolve(name)), name.equals("a") ? 1 : 3))
                .toList());
    assertEquals(List.of("x", "y"), mixed.classNames());
    BatchLoader loader =
        new BatchLoader(FramedPictures.of(mixed, 2, 2), 6, 1, Rng.seed(0), Device.CPU);
    try (Scope scope = Scope.open()) {
      long[] labels = loader.batch(3).labels().toLongArray();
      Arrays.sort(labels);
      assertArrayEquals(new long[] {0, 0, 0, 0, 0, 1}, labels);
    }
    Picture same = mixed.picture(3);
    assertEquals(2, same.width());
  }
}
