// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.ChildJvm;
import io.sfumato.models.FullDisk;
import io.sfumato.models.LogCapture;
import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.FramedPictures;
import io.sfumato.models.data.ImageFiles;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.PictureFolder;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** Whatever happens while latents are kept: none is ever wrong, and what was kept stays. */
class LatentCacheFaultTest {
  private static final int PICTURES = 33; // with their mirror images, one file and two entries
  private static final int ENTRIES = 2 * PICTURES;

  @TempDir Path temporary;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models");

  private Path pictures;

  /** Moves pixels about, and counts. */
  private static final class Shuffling implements LatentEncoder {
    private final String name;
    private int encoded;

    Shuffling(String name) {
      this.name = name;
    }

    @Override
    public Tensor moments(Tensor images) {
      encoded++;
      return Num.affine(images.reshape(1, 12, 4, 4), 0.5, name.hashCode() % 7);
    }

    @Override
    public String fingerprint() {
      return (name + ".").repeat(32);
    }
  }

  @BeforeEach
  void draw() {
    pictures = temporary.resolve("pictures");
    draw(pictures, PICTURES);
  }

  private static void draw(Path folder, int count) {
    for (int i = 0; i < count; i++) {
      byte[] pixels = new byte[3 * 8 * 8];
      for (int p = 0; p < pixels.length; p++) {
        pixels[p] = (byte) (p * (i + 3) + i * i);
      }
      ImageFiles.writePng(folder.resolve(String.format("%02d.png", i)), pixels, 3, 8, 8);
    }
  }

  private static LatentBatches open(Path pictures, Path cache, LatentEncoder encoder) {
    LoaderOptions options = LoaderOptions.of(3).augmentations(Augmentations.parse(List.of("flip")));
    return LatentCache.open(cache, loader(pictures, options), encoder);
  }

  private static BatchLoader loader(Path pictures, LoaderOptions options) {
    return new BatchLoader(
        FramedPictures.of(PictureFolder.open(pictures), 8, 8), options, Rng.seed(1), Device.CPU);
  }

  /** All latents of some epochs, so that most are seen mirrored, too. */
  private static List<String> latents(LatentBatches batches) {
    return latents(batches, 4 * PICTURES / 3);
  }

  private static List<String> latents(LatentBatches batches, int count) {
    List<String> all = new ArrayList<>();
    try (batches) {
      for (int b = 0; b < count; b++) {
        Scope scope = Scope.open();
        try {
          Batches.Batch batch = batches.batch(b);
          all.add(batch.shown() + Arrays.toString(batch.images().toFloatArray()));
        } finally {
          scope.close();
        }
      }
    }
    return all;
  }

  private List<String> expected(String encoder) {
    return latents(open(pictures, temporary.resolve("whole-" + encoder), new Shuffling(encoder)));
  }

  private static List<Path> files(Path cache) throws IOException {
    try (Stream<Path> all = Files.walk(cache)) {
      return all.filter(Files::isRegularFile).sorted().toList();
    }
  }

  @Test
  void aDiskThatIsFullAtAnyStepLosesNothing() throws IOException {
    List<String> expected = expected("e");
    boolean hit = true;
    int faults = 0;
    for (int step = 0; hit; step += step > 5 && step < 60 ? 9 : 1) {
      Path cache = temporary.resolve("cache" + step);
      FullDisk disk = new FullDisk(step, step % 2 == 0 ? 0 : 0.6);
      Shuffling encoder = new Shuffling("e");
      try {
        open(pictures, disk.at(cache), encoder).close();
        assertFalse(disk.isHit(), "a failure at step " + step + " is not told");
      } catch (UncheckedIOException e) {
        assertTrue(e.getMessage().contains(FullDisk.REASON), e.getMessage());
        assertTrue(e.getMessage().startsWith(cache.toString()), e.getMessage());
        assertTrue(e.getMessage().contains("make room"), e.getMessage());
        faults++;
      }
      hit = disk.isHit();
      List<Path> left = Files.exists(cache) ? files(cache) : List.of();
      assertTrue(left.stream().allMatch(f -> f.toString().endsWith(".safetensors")), "" + left);
      Shuffling again = new Shuffling("e");
      assertEquals(expected, latents(open(pictures, cache, again)), "after step " + step);
      int kept = left.isEmpty() ? 0 : left.size() == 1 ? 64 : ENTRIES;
      assertEquals(ENTRIES - kept, again.encoded, "what was kept is used");
    }
    assertTrue(faults > 20, faults + " faults");
    assertTrue(log.lines().isEmpty(), log.lines()::toString);
  }

  @Test
  void oneDamagedByteIsFoundWhereverItIs() throws IOException {
    Path few = temporary.resolve("few");
    draw(few, 3);
    Path cache = temporary.resolve("cache");
    List<String> expected = latents(open(few, cache, new Shuffling("e")), 5);
    Path file = files(cache).getFirst();
    byte[] whole = Files.readAllBytes(file);
    for (int at = 0; at < whole.length; at += at < 1600 ? 11 : 211) {
      byte[] damaged = whole.clone();
      damaged[at] ^= (byte) (1 << at % 8);
      Files.write(file, damaged);
      assertEquals(expected, latents(open(few, cache, new Shuffling("e")), 5), "byte " + at);
    }
    for (int length = 0; length < whole.length; length += 1 + whole.length / 20) {
      Files.write(file, Arrays.copyOf(whole, length));
      Shuffling encoder = new Shuffling("e");
      assertEquals(expected, latents(open(few, cache, encoder), 5), "length " + length);
      assertEquals(6, encoder.encoded);
    }
    assertTrue(log.lines().stream().allMatch(l -> l.contains("damaged and removed")));
  }

  @Test
  void whatCannotBeReadIsNotTakenForDamaged() throws IOException {
    Path cache = temporary.resolve("cache");
    open(pictures, cache, new Shuffling("e")).close();
    FullDisk disk = new FullDisk(1000, 0).unreadable();
    UncheckedIOException e =
        assertThrows(
            UncheckedIOException.class, () -> open(pictures, disk.at(cache), new Shuffling("e")));
    assertTrue(e.getMessage().contains(files(cache).getFirst().toString()), e.getMessage());
    assertTrue(e.getMessage().contains("Input/output error"), e.getMessage());
    assertEquals(2, files(cache).size());
    assertTrue(log.lines().isEmpty(), log.lines()::toString);
  }

  @Test
  void whatAKilledRunHadBegunIsRemovedAnHourLater() throws IOException {
    Path cache = temporary.resolve("cache");
    open(pictures, cache, new Shuffling("e")).close();
    Path own = files(cache).getFirst().getParent();
    Path young = Files.writeString(own.resolve(".latents-1.safetensors.x.tmp"), "half");
    Path old = Files.writeString(own.resolve(".latents-2.safetensors.x.tmp"), "half");
    Files.setLastModifiedTime(old, FileTime.from(Instant.now().minus(Duration.ofMinutes(61))));
    Shuffling encoder = new Shuffling("e");
    open(pictures, cache, encoder).close();
    assertEquals(0, encoder.encoded);
    assertTrue(Files.exists(young) && !Files.exists(old));
    assertEquals(1, log.lines().size(), log.lines()::toString);
    assertTrue(log.lines().getFirst().contains("left by a run that was killed"));
  }

  @Test
  void aPictureThatChangesMeanwhileIsNotKept() throws IOException {
    Path cache = temporary.resolve("cache");
    Path changing = pictures.resolve("05.png");
    Shuffling plain = new Shuffling("e");
    LatentEncoder slow =
        new LatentEncoder() {
          @Override
          public Tensor moments(Tensor images) {
            if (plain.encoded == 11) { // the mirrored one of the sixth
              ImageFiles.writePng(changing, new byte[3 * 8 * 8], 3, 8, 8);
            }
            return plain.moments(images);
          }

          @Override
          public String fingerprint() {
            return plain.fingerprint();
          }
        };
    DatasetException e = assertThrows(DatasetException.class, () -> open(pictures, cache, slow));
    assertTrue(e.getMessage().endsWith("05.png: has changed while its latent was made"));
    Shuffling again = new Shuffling("e");
    assertEquals(expected("e"), latents(open(pictures, cache, again)));
    assertEquals(ENTRIES - 10, again.encoded, "the five before it were kept");
  }

  @Test
  void aBadPictureOnAFullDiskIsStillNamed() throws IOException {
    Files.writeString(pictures.resolve("05.png"), "torn");
    FullDisk disk = new FullDisk(3, 0); // room for the folders
    DatasetException e =
        assertThrows(
            DatasetException.class,
            () -> open(pictures, disk.at(temporary.resolve("cache")), new Shuffling("e")));
    assertTrue(e.getMessage().contains("05.png"), e.getMessage());
    assertTrue(disk.isHit());
    assertTrue(e.getSuppressed()[0].getMessage().contains(FullDisk.REASON));
  }

  @Test
  void badPicturesAreReplacedAndSummedUp() throws IOException {
    Files.writeString(pictures.resolve("05.png"), "torn");
    LoaderOptions skip = LoaderOptions.of(3).broken(BrokenImages.SKIP_AND_LOG, 0.1);
    latents(
        LatentCache.open(temporary.resolve("cache"), loader(pictures, skip), new Shuffling("e")));
    assertEquals(2, log.lines().size(), log.lines()::toString);
    assertTrue(log.lines().getFirst().contains("05.png"), log.lines()::toString);
    assertTrue(log.lines().getLast().contains("1 of 33 pictures could not be used"));
  }

  /** Fills one cache after the other, for ever. */
  static final class Filler {
    public static void main(String[] args) {
      for (int round = Integer.parseInt(args[2]); ; round++) {
        open(Path.of(args[0]), Path.of(args[1]), new Shuffling("round" + round)).close();
        System.out.println("filled " + round);
      }
    }
  }

  @Test
  void killedOnce() throws Exception {
    killAndRead(1, new Random(6));
  }

  @Tag("slow")
  @Test
  void killedAHundredTimes() throws Exception {
    killAndRead(100, new Random(7));
  }

  private void killAndRead(int kills, Random random) throws Exception {
    Path cache = temporary.resolve("cache");
    int torn = 0;
    for (int kill = 0; kill < kills; kill++) {
      int first = 1000 * kill;
      String text;
      try (ChildJvm child =
          ChildJvm.start(
              temporary.resolve("output"),
              Filler.class,
              pictures.toString(),
              cache.toString(),
              Integer.toString(first))) {
        child.await(() -> child.text().contains("filled " + (first + 1)));
        Thread.sleep(random.nextInt(200));
        child.kill();
        text = child.text();
      }
      int filled = (int) text.lines().filter(l -> l.startsWith("filled ")).count();
      for (int round : new int[] {first + filled - 1, first + filled}) {
        Shuffling encoder = new Shuffling("round" + round);
        assertEquals(
            expected("round" + round), latents(open(pictures, cache, encoder)), "round " + round);
        int missing = encoder.encoded;
        assertTrue(
            round < first + filled ? missing == 0 : List.of(0, 2, ENTRIES).contains(missing),
            missing + " latents were missing");
        torn += missing == 2 ? 1 : 0;
      }
    }
    assertTrue(log.lines().isEmpty(), log.lines()::toString);
    assertTrue(kills < 50 || torn > 0, "no kill came between two files");
  }
}
