// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ImageFiles;
import io.sfumato.models.data.Pictures.Part;
import io.sfumato.models.data.TarBytes;
import io.sfumato.models.data.batch.Buckets;
import io.sfumato.models.data.batch.NativeBuckets;
import io.sfumato.models.train.LoaderOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class DataOptionsTest {
  @TempDir Path folder;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models.data");

  private static DataOptions options(String... args) {
    return CommandLine.populateCommand(new DataOptions(), args);
  }

  private static void check(DataOptions options, boolean takesCaptions, @Nullable Integer size) {
    Problems problems = new Problems();
    options.check(problems, takesCaptions, size);
    problems.raise();
  }

  private String save(String name) {
    Path file = folder.resolve(name);
    ImageFiles.writePng(file, new byte[3 * 8 * 12], 3, 8, 12);
    return file.getParent().getParent().toString();
  }

  @Test
  void severalFoldersAreMixedWithTheirRepeats() {
    String a = save("a/cat/1.png");
    save("a/dog/2.png");
    String b = save("b/dog/3.png");
    DataOptions options = options("--data", a, "--data=" + b + ":2.5");
    check(options, false, null);
    ImageDataset data = options.open(16);
    assertEquals(List.of("cat", "dog"), data.classNames());
    assertEquals(List.of(new Part(0, 2, 1), new Part(2, 1, 2.5)), data.parts());
    assertEquals(16, data.height());
    assertEquals(a + " " + b + ":2.5", options.settings().get("data"));
    assertEquals(1, options.settings().size(), "what is not asked for is no setting");
  }

  @Test
  void aFolderWhoseNameEndsLikeRepeatsIsFound() {
    String odd = save("a:3/cat/1.png");
    DataOptions options = options("--data", odd);
    assertEquals(List.of(new Part(0, 1, 1)), options.open(8).parts());
  }

  @Test
  void loadingFollowsTheOptions() {
    DataOptions plain = options("--data", save("a/cat/1.png"));
    LoaderOptions loading = plain.loading(3, 4, plain.open(8));
    assertEquals(LoaderOptions.of(3).unit(4), loading);
    DataOptions all =
        options(
            "--data",
            save("a/cat/1.png"),
            "--augment",
            "flip,crop",
            "--buckets",
            "16",
            "--on-bad-image",
            "skip",
            "--captions",
            "--shuffle-tags",
            "--prefetch",
            "5");
    check(all, true, 32);
    loading = all.loading(3, 4, all.open(32));
    assertEquals(5, loading.ahead());
    assertEquals(1, loading.augmentations().steps().size());
    assertEquals("16x48", ((Buckets) loading.buckets()).sizes().getFirst().toString());
    assertTrue(loading.captions().shuffleTags());
    assertEquals(5, all.settings().size());
    DataOptions streamed = options("--data", save("a/cat/1.png"), "--stream");
    assertEquals(2, streamed.loading(3, 4, streamed.open(8)).ahead());
    assertNull(streamed.loading(3, 4, streamed.open(8)).buckets());
  }

  @Test
  void shardsAreDataLikeFolders() throws IOException {
    String plain = save("a/x/1.png");
    byte[] png = Files.readAllBytes(folder.resolve("a/x/1.png"));
    String shard =
        new TarBytes()
            .file("x/1.png", png)
            .file("x/1.txt", "words")
            .file("y/2.png", png)
            .write(folder.resolve("s.tar"))
            .toString();
    ImageDataset loaded = options("--data", shard + ":2", "--data", plain).open(4);
    assertEquals(List.of(new Part(0, 2, 2), new Part(2, 1, 1)), loaded.parts());
    assertEquals(List.of("x", "y"), loaded.classNames());
    assertArrayEquals(loaded.pixels(2), loaded.pixels(1));
    assertEquals("words", loaded.caption(0).orElseThrow());
    DataOptions streamed = options("--data", shard, "--buckets", "4", "--bucket-no-upscale");
    check(streamed, false, 16);
    ImageDataset data = streamed.open(16);
    assertEquals("12x8", data.original().sizeOf(0).toString());
    assertEquals(new NativeBuckets(16, 4), streamed.loading(1, 1, data).buckets());
    assertEquals("4 without upscaling", streamed.settings().get("buckets"));
    assertThrows(
        IllegalArgumentException.class,
        () -> check(options("--data", shard, "--bucket-no-upscale"), false, 16));
  }

  @Test
  void everythingWrongIsSaidAtOnce() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                check(
                    options(
                        "--augment",
                        "flop",
                        "--buckets",
                        "0",
                        "--on-bad-image",
                        "eat",
                        "--prefetch",
                        "-1",
                        "--captions",
                        "--caption-dropout",
                        "2"),
                    false,
                    32));
    for (String option :
        List.of(
            "--augment",
            "--buckets",
            "--on-bad-image",
            "--prefetch",
            "need --data",
            "caption dropout must be",
            "learns classes")) {
      assertTrue(e.getMessage().contains(option), e.getMessage());
    }
    assertThrows(
        IllegalArgumentException.class, () -> check(options("--keep-tags", "1"), true, null));
  }

  @Test
  void allBadPicturesAreNamedBeforeTheRun() throws IOException {
    String data = save("a/cat/1.png");
    for (int i = 2; i < 25; i++) {
      save("a/cat/" + i + ".png");
    }
    Files.writeString(folder.resolve("a/cat/7.png"), "no picture");
    Files.writeString(folder.resolve("a/cat/9.png"), "");
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> options("--data", data, "--check-data").open(8));
    assertTrue(e.getMessage().contains("7.png") && e.getMessage().contains("9.png"));
    assertThrows(DatasetException.class, () -> options("--data", data).open(8));
    assertTrue(log.lines().isEmpty());
    assertEquals(22, options("--data", data, "--on-bad-image", "skip").open(8).size());
    assertEquals(2, log.lines().size());
    options("--data", data, "--on-bad-image", "skip", "--stream", "--check-data").open(8);
    assertEquals(4, log.lines().size());
  }
}
