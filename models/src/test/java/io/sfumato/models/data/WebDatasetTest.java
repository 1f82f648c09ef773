// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class WebDatasetTest {
  @TempDir Path folder;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models.data");

  private byte[] png;

  @BeforeEach
  void drawing() throws IOException {
    png = png(3, 5, 2);
  }

  private byte[] png(int seed, int height, int width) throws IOException {
    byte[] pixels = new byte[3 * height * width];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * seed * 37);
    }
    Path file = folder.resolve("drawn.png");
    ImageFiles.writePng(file, pixels, 3, height, width);
    byte[] bytes = Files.readAllBytes(file);
    Files.delete(file);
    return bytes;
  }

  private Path shard() {
    return folder.resolve("shard.tar");
  }

  private DatasetException refused(byte[] archive) throws IOException {
    Path file = Files.write(shard(), archive);
    DatasetException e = assertThrows(DatasetException.class, () -> WebDataset.open(file));
    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
    assertTrue(e.getMessage().chars().noneMatch(Character::isISOControl), e.getMessage());
    return e;
  }

  private void assertRefused(String why, TarBytes archive) throws IOException {
    String message = refused(archive.closed()).getMessage();
    assertTrue(message.contains(why), message);
  }

  /** Written by make_shards.py with Python's tarfile. */
  @ParameterizedTest
  @ValueSource(strings = {"ustar", "gnu", "pax"})
  void archivesOfAllKindsAreRead(String kind) throws Exception {
    Path file = Path.of(WebDatasetTest.class.getResource(kind + ".tar").toURI());
    WebDataset data = WebDataset.open(file);
    assertEquals(4, data.size());
    assertEquals(List.of("2", "10"), data.classNames());
    assertEquals(
        List.of(1, 0, 1, 0), List.of(data.label(0), data.label(1), data.label(2), data.label(3)));
    assertEquals(Optional.of("red"), data.caption(0));
    assertEquals(Optional.of("grün"), data.caption(1));
    assertEquals(Optional.of("blå"), data.caption(2));
    assertEquals(Optional.empty(), data.caption(3));
    assertEquals(new Pictures.Size(7, 5), data.sizeOf(2));
    assertEquals(file.resolve("grün/绿.png").toString(), data.name(1));
    assertTrue(data.name(2).endsWith("long/blue.png"), data.name(2));
    assertEquals(-1, data.picture(0).pixels()[0]);
    assertEquals(-1, data.picture(1).pixels()[16]);
    assertEquals(-1, data.picture(2).pixels()[70]);
    assertArrayEquals(new byte[] {1, 2, 3}, data.picture(3).pixels());
  }

  @Test
  void picturesAreThoseOfAFolderWithTheSameFiles() throws IOException {
    Path plain = folder.resolve("plain");
    Path shards = Files.createDirectories(folder.resolve("shards"));
    TarBytes[] tars = {new TarBytes(), new TarBytes()};
    for (int i = 0; i < 6; i++) {
      String name = (i % 2 == 0 ? "cat/" : "dog/") + i;
      byte[] bytes = png(i + 1, 9, 4 + i);
      Files.createDirectories(plain.resolve(name).getParent());
      Files.write(plain.resolve(name + ".png"), bytes);
      Files.writeString(plain.resolve(name + ".txt"), "number " + i);
      tars[i / 3].file(name + ".png", bytes).file(name + ".txt", "number " + i);
    }
    tars[0].write(shards.resolve("0.tar"));
    tars[1].write(shards.resolve("1.tar"));
    PictureFolder files = PictureFolder.open(plain);
    Pictures packed = Datasets.openPictures(shards);
    assertEquals(files.classNames(), packed.classNames());
    assertEquals(6, packed.size());
    for (int i = 0; i < 6; i++) {
      int same = i % 2 * 3 + i / 2; // the folder has the cats first
      assertArrayEquals(files.picture(same).pixels(), packed.picture(i).pixels());
      assertEquals(files.sizeOf(same), packed.sizeOf(i));
      assertEquals(files.contentHash(same), packed.contentHash(i));
      assertEquals(files.caption(same), packed.caption(i));
      assertEquals(files.label(same), packed.label(i));
    }
    ImageDataset loaded = Datasets.open(shards, 4);
    assertArrayEquals(Datasets.open(plain, 4).pixels(3), loaded.pixels(1));
    assertEquals(packed.name(1), loaded.name(1));
    assertEquals(3, Datasets.openPictures(shards.resolve("1.tar")).size());
    assertTrue(log.lines().isEmpty(), log.lines()::toString);
  }

  @Test
  void captionsComeFromTextBeforeJson() {
    byte[] b = png;
    Path file =
        new TarBytes()
            .file("a.json", "{\"caption\": \"from json\"}")
            .file("a.txt", " from text ")
            .file("a.png", b)
            .file("b.png", b)
            .file("b.json", "{\"text\": \"words\", \"caption\": 3}")
            .file("c.png", b)
            .file("c.txt", " \n")
            .file("d.png", b)
            .file("d.json", "{\"caption\": null}")
            .write(shard());
    WebDataset data = WebDataset.open(file);
    assertEquals(
        List.of(Optional.of("from text"), Optional.of("words"), Optional.empty(), Optional.empty()),
        List.of(data.caption(0), data.caption(1), data.caption(2), data.caption(3)));
    assertEquals(List.of("shard"), data.classNames());
  }

  @Test
  void whatIsLeftOutIsSaidOrNoSample() {
    Path file =
        new TarBytes()
            .entry("folder/", '5', new byte[0])
            .entry("link.png", '2', new byte[0])
            .file(".hidden.png", "x")
            .file("README", "x")
            .file("a.txt", "no picture")
            .file("b.png", png)
            .file("b.mask.png", "left alone")
            .write(shard());
    assertEquals(1, WebDataset.open(file).size());
    assertEquals(2, log.lines().size(), log.lines()::toString);
    assertTrue(log.lines().getFirst().contains("1 links are left out, first \"link.png\"; pack"));
    assertTrue(log.lines().getLast().contains("1 samples without a picture"));
    assertTrue(log.lines().getLast().endsWith("first a"), log.lines().getLast());
  }

  @Test
  void samplesThatContradictThemselvesAreRefused() throws IOException {
    assertRefused(
        "expected one file of each name; got a.PNG once more",
        new TarBytes().file("a.png", png).file("a.PNG", png));
    assertRefused(
        "expected one picture of a; got a.png and a.jpg",
        new TarBytes().file("a.png", png).file("a.jpg", png));
    assertRefused(
        "one caption of a",
        new TarBytes().file("a.png", png).file("a.txt", "x").file("a.caption", "y"));
    assertRefused(
        "b has no class", new TarBytes().file("a.png", png).file("a.cls", "3").file("b.png", png));
    assertRefused("must name a class", new TarBytes().file("a.png", png).file("a.cls", " "));
    assertRefused("no sample", new TarBytes().file("a.txt", "x"));
    assertRefused("no sample", new TarBytes());
    assertRefused("must be a JSON object", new TarBytes().file("a.png", png).file("a.json", "[1]"));
    assertRefused("is no JSON", new TarBytes().file("a.png", png).file("a.json", "{} {}"));
    assertRefused(
        "must be a text", new TarBytes().file("a.png", png).file("a.json", "{\"text\":[]}"));
    assertRefused(
        "UTF-8", new TarBytes().file("a.png", png).file("a.txt", new byte[] {(byte) 0xC3}));
    assertRefused(
        "at most 65536 bytes of text",
        new TarBytes().file("a.png", png).file("a.txt", "x".repeat(65537)));
  }

  @Test
  void hostileNamesAreRefused() throws IOException {
    for (String name :
        List.of(
            "../a.png", "a/../../b.png", "/etc/a.png", "a\u001b[2J.png", "..\\a.png", "a\n.png")) {
      assertRefused("as a relative path", new TarBytes().file(name, png));
      assertRefused(
          "as a relative path",
          new TarBytes().entry("x", 'L', utf8(name + "\0")).file("b.png", png));
    }
    assertRefused(
        "as a relative path",
        new TarBytes().entry("x", 'x', utf8("22 path=/etc/passwd.a\n")).file("b.png", png));
    byte[] name = {'a', (byte) 0xE4, '.', 'p', 'n', 'g'};
    assertRefused("text in UTF-8", new TarBytes().raw(TarBytes.header(name, '0', 0)));
  }

  @Test
  void hostileNumbersAreRefused() throws IOException {
    for (long size : new long[] {1 << 20, 0x1FFFFFFFFL}) {
      assertRefused(
          "expected an entry within the archive of 2560 bytes; got one of " + size + " bytes",
          new TarBytes().raw(TarBytes.header(utf8("a.png"), '0', size)).data(new byte[600]));
    }
    for (int first : new int[] {0x80, 0xFF}) { // base 256, and below 0
      byte[] header = TarBytes.header(utf8("a.png"), '0', 0);
      header[124] = (byte) first;
      Arrays.fill(header, 125, 136, (byte) 0xFF);
      assertRefused("beyond 2^63 or below 0", new TarBytes().raw(TarBytes.summed(header)));
    }
    byte[] most = TarBytes.header(utf8("a.png"), '0', 0);
    most[124] = (byte) 0x80;
    Arrays.fill(most, 125, 128, (byte) 0);
    most[128] = 0x7F;
    Arrays.fill(most, 129, 136, (byte) 0xFF);
    assertRefused("got one of 9223372036854775807", new TarBytes().raw(TarBytes.summed(most)));
    byte[] letters = TarBytes.header(utf8("a.png"), '0', 0);
    TarBytes.put(letters, 124, "12x");
    assertRefused("an octal number; got \"12x", new TarBytes().raw(TarBytes.summed(letters)));
    TarBytes.put(letters, 124, "-1\0");
    assertRefused("an octal number; got \"-1\"", new TarBytes().raw(TarBytes.summed(letters)));
    for (String size : List.of("9223372036854775807", "99999999999999999999", "-1", "1e3")) {
      String record = " size=" + size + "\n";
      String whole = (record.length() + 2) + record;
      assertRefused(
          size.length() == 19 ? "within the archive" : "the size of a file",
          new TarBytes().entry("x", 'x', utf8(whole)).file("a.png", png));
    }
    for (String record :
        List.of("99 a=b\n", "7 a=b", "0 a=b\n", "x", "4 a\n", "6 ab\n\n", " a=b\n")) {
      refused(new TarBytes().entry("x", 'x', utf8(record)).file("a.png", png).closed());
    }
    assertRefused("at most 1048576 bytes", new TarBytes().entry("x", 'x', new byte[(1 << 20) + 1]));
    assertRefused(
        "got one for all", new TarBytes().entry("x", 'g', utf8("10 size=0\n")).file("a.png", png));
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void whatIsNotUnderstoodIsRefused() throws IOException {
    assertRefused("a sparse one", new TarBytes().entry("a.png", 'S', png));
    assertRefused(
        "a sparse one",
        new TarBytes().entry("x", 'x', utf8("22 GNU.sparse.major=1\n")).file("a.png", png));
    assertRefused("an entry of type '\"M\"'", new TarBytes().entry("a.png", 'M', png));
    byte[] wrong = TarBytes.header(utf8("a.png"), '0', 0);
    wrong[0]++;
    assertRefused("at byte 0: expected a tar header; got no tar", new TarBytes().raw(wrong));
    assertRefused("checksum is wrong", new TarBytes().file("b.png", png).raw(wrong));
    byte[] gzip = new byte[600];
    gzip[0] = 0x1F;
    gzip[1] = (byte) 0x8B;
    assertRefused("unpack it", new TarBytes().raw(gzip));
    Path packed = Files.write(folder.resolve("x.tar.gz"), gzip);
    DatasetException e = assertThrows(DatasetException.class, () -> Datasets.openPictures(packed));
    assertTrue(e.getMessage().contains("unpack it"), e.getMessage());
    byte[] one = new TarBytes().file("a.png", png).closed();
    assertRefused("are several joined?", new TarBytes().raw(one).raw(one));
  }

  @Test
  void cutAnywhereItThrowsOnly() throws IOException {
    TarBytes tar = new TarBytes();
    for (int i = 0; i < 3; i++) {
      tar.file(i + ".png", png).file(i + ".txt", "words");
    }
    byte[] whole = tar.closed();
    for (int length = 0; length < whole.length - 512; length += length % 512 == 0 ? 1 : 73) {
      refused(Arrays.copyOf(whole, length));
    }
    refused(Arrays.copyOf(whole, whole.length - 1024)); // all files are there, but not the end
    Files.write(shard(), Arrays.copyOf(whole, whole.length - 512));
    assertEquals(3, WebDataset.open(shard()).size());
  }

  @Test
  void damagedAnywhereItThrowsOnly() throws IOException {
    byte[] whole =
        new TarBytes()
            .entry("x", 'x', utf8("14 path=a.png\n"))
            .file("long", png)
            .file("a.json", "{\"text\":\"words\"}")
            .file("a.cls", "7")
            .closed();
    SplitMix64 random = new SplitMix64(11);
    for (int i = 0; i < 1500; i++) {
      byte[] damaged = whole.clone();
      int at = random.nextInt(whole.length);
      damaged[at] ^= (byte) (1 << random.nextInt(8));
      if (i % 2 == 0 && damaged.length > at / 512 * 512 + 512) {
        byte[] header = Arrays.copyOfRange(damaged, at / 512 * 512, at / 512 * 512 + 512);
        System.arraycopy(TarBytes.summed(header), 0, damaged, at / 512 * 512, 512);
      }
      Files.write(shard(), damaged);
      try {
        WebDataset data = WebDataset.open(shard());
        for (int k = 0; k < data.size(); k++) {
          data.picture(k);
        }
      } catch (DatasetException e) {
        assertTrue(e.getMessage().startsWith(shard().toString()), e.getMessage());
      }
    }
  }

  @Test
  void aShardThatChangesIsNoticed() throws IOException {
    WebDataset data = WebDataset.open(new TarBytes().file("a.png", png).write(shard()));
    new TarBytes().file("b.txt", "other").file("a.png", png).write(shard());
    DatasetException e = assertThrows(DatasetException.class, () -> data.picture(0));
    assertTrue(e.getMessage().contains("shard.tar: has changed since"), e.getMessage());
    Files.delete(shard());
    e = assertThrows(DatasetException.class, () -> data.sizeOf(0));
    assertTrue(e.getMessage().contains("a.png: cannot be read"), e.getMessage());
  }

  @Test
  void aPoisonedPictureIsNamed() {
    Path file = new TarBytes().file("a/1.png", png).file("a/2.png", "torn").write(shard());
    WebDataset data = WebDataset.open(file);
    assertEquals(List.of("a"), data.classNames());
    DatasetException e = assertThrows(DatasetException.class, () -> data.picture(1));
    assertTrue(
        e.getMessage().startsWith(file.resolve("a/2.png") + ": expected an image"), e.getMessage());
    assertThrows(DatasetException.class, () -> data.sizeOf(1));
  }

  @Test
  void aRangeOfShardsIsWrittenAsWebDatasetDoes() throws IOException {
    Path shards = Files.createDirectories(folder.resolve("many"));
    for (int i = 8; i < 12; i++) {
      new TarBytes().file(i + ".png", png).write(shards.resolve(String.format("s-%03d.tar", i)));
    }
    WebDataset some = (WebDataset) Datasets.openPictures(shards.resolve("s-{009..011}.tar"));
    assertEquals(3, some.size());
    assertTrue(some.name(0).endsWith("s-009.tar/9.png"), some.name(0));
    assertEquals(List.of("many"), some.classNames());
    for (String[] wrong :
        new String[][] {
          {"s-{010..013}.tar", "2 of 4 shards are not there, first s-012.tar"},
          {"s-{9..8}.tar", "the range is empty"},
          {"s-{9..10}.tar", "2 of 2 shards are not there, first s-9.tar"}
        }) {
      DatasetException e =
          assertThrows(
              DatasetException.class, () -> Datasets.openPictures(shards.resolve(wrong[0])));
      assertTrue(e.getMessage().contains(wrong[1]), e.getMessage());
    }
  }

  @Test
  void shardsBesideImagesAreSaidToBeLeftOut() throws IOException {
    new TarBytes().file("a.png", png).write(shard());
    Files.write(folder.resolve("x.png"), png);
    assertEquals(1, Datasets.openPictures(folder).size());
    assertTrue(log.lines().getFirst().contains("1 tar archives lie beside the images"));
  }
}
