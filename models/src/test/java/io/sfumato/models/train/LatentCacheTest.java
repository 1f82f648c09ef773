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
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.PictureFolder;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.data.batch.Buckets;
import io.sfumato.models.vae.AutoencoderKL;
import io.sfumato.models.vae.AutoencoderKLConfig;
import io.sfumato.models.vae.DiagonalGaussianDistribution;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.Num;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class LatentCacheTest {
  private static final int PICTURES = 40; // with their mirror images more than one file holds

  @TempDir Path temporary;

  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models");

  private Path pictures;
  private Path cache;

  /** Counts what it encodes. */
  private static final class Counting implements LatentEncoder, AutoCloseable {
    private final AutoencoderKL vae;
    private int encoded;
    private int stopAfter = Integer.MAX_VALUE;

    Counting(long seed) {
      vae =
          new AutoencoderKL(
              Weights.init(Rng.seed(seed)),
              AutoencoderKLConfig.builder()
                  .levels(List.of(4, 8))
                  .normNumGroups(2)
                  .latentChannels(2)
                  .sampleSize(8)
                  .midBlockAddAttention(false)
                  .build());
    }

    @Override
    public Tensor moments(Tensor images) {
      if (encoded == stopAfter) {
        throw new IllegalStateException("killed");
      }
      encoded += images.dim(0);
      return vae.moments(images);
    }

    @Override
    public String fingerprint() {
      return LatentEncoder.fingerprint(vae, vae.config().toMap().toString());
    }

    @Override
    public void close() {
      vae.close();
    }
  }

  @BeforeEach
  void write() {
    pictures = temporary.resolve("pictures");
    cache = temporary.resolve("cache");
    for (int i = 0; i < PICTURES; i++) {
      int width = i % 2 == 0 ? 8 : 16;
      byte[] pixels = new byte[3 * 8 * width];
      for (int p = 0; p < pixels.length; p++) {
        pixels[p] = (byte) (p * (i + 3) + i * i);
      }
      ImageFiles.writePng(pictures.resolve(String.format("%02d.png", i)), pixels, 3, 8, width);
    }
  }

  private BatchLoader loader(LoaderOptions options) {
    ImageDataset data = FramedPictures.of(PictureFolder.open(pictures), 8, 8);
    return new BatchLoader(data, options, Rng.seed(1), Device.CPU);
  }

  private static LoaderOptions options() {
    return LoaderOptions.of(4).unit(4).augmentations(Augmentations.parse(List.of("flip")));
  }

  private int files() throws IOException {
    try (Stream<Path> all = Files.walk(cache)) {
      return (int) all.filter(Files::isRegularFile).count();
    }
  }

  @Test
  void latentsAreThoseOfPicturesToTheBit() throws IOException {
    LoaderOptions buckets =
        options()
            .buckets(
                new Buckets(
                    List.of(Buckets.of(8, 8, 8, 8).sizes().getFirst(), new Pictures.Size(8, 16))));
    try (Counting encoder = new Counting(1)) {
      for (LoaderOptions options : List.of(options(), buckets)) {
        int before = encoder.encoded;
        try (BatchLoader loader = loader(options);
            LatentBatches latents = LatentCache.open(cache, loader, encoder)) {
          for (int b = 0; b < 12; b++) {
            Scope scope = Scope.open();
            try {
              Batches.Batch pixels = loader.batch(b);
              Batches.Batch kept = latents.batch(b);
              assertEquals(pixels.shown(), kept.shown());
              assertArrayEquals(pixels.labels().toLongArray(), kept.labels().toLongArray());
              Tensor direct = encoder.vae.encode(pixels.images()).sample(Rng.seed(b));
              Tensor drawn = new DiagonalGaussianDistribution(kept.images()).sample(Rng.seed(b));
              assertEquals(direct.shape(), drawn.shape());
              assertArrayEquals(direct.toFloatArray(), drawn.toFloatArray());
            } finally {
              scope.close();
            }
          }
        }
        assertTrue(encoder.encoded > before);
      }
      // A square picture that stays square in its bucket is not encoded again.
      assertEquals(2 * PICTURES + PICTURES, encoder.encoded);
      assertEquals(2 + 1, files());
      LatentCache.open(cache, loader(options()), encoder).close();
      assertEquals(3 * PICTURES, encoder.encoded, "nothing is encoded twice");
    }
    try (Counting other = new Counting(2)) {
      LatentCache.open(cache, loader(options()), other).close();
      assertEquals(2 * PICTURES, other.encoded, "another encoder has its own");
    }
  }

  @Test
  void aKilledRunGoesOnAndDamagedFilesAreMadeAnew() throws IOException {
    try (Counting encoder = new Counting(1)) {
      encoder.stopAfter = 70;
      assertThrows(
          IllegalStateException.class, () -> LatentCache.open(cache, loader(options()), encoder));
      assertEquals(1, files());
      encoder.stopAfter = Integer.MAX_VALUE;
      encoder.encoded = 0;
      LatentCache.open(cache, loader(options()), encoder).close();
      assertEquals(2 * PICTURES - 64, encoder.encoded);

      float[] whole = first(encoder);
      List<Path> all;
      try (Stream<Path> walk = Files.walk(cache)) {
        all = walk.filter(Files::isRegularFile).sorted().toList();
      }
      byte[] bytes = Files.readAllBytes(all.getFirst());
      bytes[bytes.length - 5] ^= 1; // one bit of a latent
      Files.write(all.getFirst(), bytes);
      byte[] second = Files.readAllBytes(all.get(1));
      Files.write(all.get(1), Arrays.copyOf(second, second.length / 2));
      encoder.encoded = 0;
      assertArrayEquals(whole, first(encoder));
      assertTrue(encoder.encoded == 2 * PICTURES, "what was lost");
      assertEquals(2, log.lines().size(), log.lines()::toString);
      assertTrue(log.lines().getFirst().contains("encoded anew"));
      assertTrue(log.lines().getFirst().contains(all.getFirst().getFileName().toString()));
    }
  }

  private float[] first(Counting encoder) {
    try (Scope scope = Scope.open();
        LatentBatches latents = LatentCache.open(cache, loader(options()), encoder)) {
      return latents.batch(0).images().toFloatArray();
    }
  }

  @Test
  void badPicturesAndLatentsFailOrAreReplaced() throws IOException {
    Files.writeString(pictures.resolve("07.png"), "torn");
    try (Counting encoder = new Counting(1)) {
      DatasetException e =
          assertThrows(
              DatasetException.class, () -> LatentCache.open(cache, loader(options()), encoder));
      assertTrue(e.getMessage().contains("07.png"));
      LoaderOptions skip = options().broken(BrokenImages.SKIP_AND_LOG, 0.05);
      assertEveryOther(skip, encoder, 7);
      Files.copy(
          pictures.resolve("08.png"),
          pictures.resolve("07.png"),
          StandardCopyOption.REPLACE_EXISTING);
    }
    try (Counting plain = new Counting(1)) {
      // Number 7 is number 8 now and encoded once, so call 20 is of number 21.
      LatentEncoder broken =
          new LatentEncoder() {
            private int calls;

            @Override
            public Tensor moments(Tensor images) {
              Tensor made = plain.moments(images);
              return calls++ == 20 ? Num.affine(made, Double.NaN, 0) : made;
            }

            @Override
            public String fingerprint() {
              return "broken" + plain.fingerprint();
            }
          };
      LoaderOptions once = options().augmentations(Augmentations.NONE);
      DatasetException e =
          assertThrows(DatasetException.class, () -> LatentCache.open(cache, loader(once), broken));
      assertTrue(e.getMessage().endsWith("21.png: its latent is not finite: NaN"), e.getMessage());
    }
  }

  private void assertEveryOther(LoaderOptions options, LatentEncoder encoder, int missing) {
    try (Scope scope = Scope.open();
        BatchLoader loader = loader(options);
        LatentBatches latents = LatentCache.open(cache, loader, encoder)) {
      boolean[] seen = new boolean[PICTURES];
      for (int b = 0; b < PICTURES / 4; b++) {
        Batches.Batch batch = latents.batch(b);
        assertEquals(loader.batch(b).shown(), batch.shown());
        batch.shown().forEach(s -> seen[s.index()] = true);
      }
      for (int i = 0; i < PICTURES; i++) {
        assertEquals(i != missing, seen[i], "picture " + i);
      }
      assertEquals(List.of(missing), loader.badPictures());
    }
  }

  @Test
  void whatCannotBeKeptIsRefused() throws IOException {
    Files.writeString(temporary.resolve("file"), "");
    try (Counting encoder = new Counting(1)) {
      UncheckedIOException e =
          assertThrows(
              UncheckedIOException.class,
              () -> LatentCache.open(temporary.resolve("file/below"), loader(options()), encoder));
      assertTrue(e.getMessage().contains("latents cannot be kept here"), e.getMessage());
      for (String augmentation : List.of("jitter", "resized-crop")) {
        LoaderOptions varied =
            options().augmentations(Augmentations.parse(List.of("flip", augmentation)));
        assertThrows(
            IllegalArgumentException.class, () -> LatentCache.open(cache, loader(varied), encoder));
      }
      assertEquals(0, encoder.encoded);
    }
  }
}
