// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static io.sfumato.models.cli.Program.require;

import io.sfumato.models.data.ClassSubset;
import io.sfumato.models.data.HeldOut;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.distributed.Team;
import io.sfumato.models.train.BatchLoader;
import io.sfumato.models.train.Batches;
import io.sfumato.models.train.LatentBatches;
import io.sfumato.models.train.LatentCache;
import io.sfumato.models.train.LatentEncoder;
import io.sfumato.models.train.LoaderOptions;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Rng;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntPredicate;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/** The pictures of a training example: batches to learn from, and what is held out of them. */
final class ExampleData implements AutoCloseable {
  private final ExampleOptions options;
  private final ImageDataset images;
  private final @Nullable ImageDataset held;
  private final Device device;
  private final Team team;
  private final Rng rng;
  private final List<Batches> loaders = new ArrayList<>();
  private int unit = 1; // of the sides of batches

  ExampleData(ExampleOptions options, ImageDataset all, Device device, Team team, Rng rng) {
    this.options = options;
    this.device = device;
    this.team = team;
    this.rng = rng;
    RunFlags flags = options.running();
    HeldOut parts =
        flags.validates() ? HeldOut.of(all, flags.validationShare(), rng.fork("held out")) : null;
    this.images = parts == null ? all : parts.training();
    this.held = parts == null ? null : parts.held();
  }

  /** What is learned from. */
  ImageDataset images() {
    return images;
  }

  // ---- batches to learn from

  /** Shuffled batches of pictures, padded to multiples of {@code newUnit}. */
  Batches loader(int newUnit) {
    unit = newUnit;
    return shared(images);
  }

  /** The same of some classes only. */
  Batches loader(IntPredicate classes, int newUnit) {
    unit = newUnit;
    return shared(new ClassSubset(images, classes));
  }

  private Batches shared(ImageDataset some) {
    LoaderOptions how = options.data().loading(wholeBatch(), unit, images);
    BatchLoader own = new BatchLoader(some, how, team.share(), rng.fork("data"), device);
    loaders.add(own);
    return own;
  }

  /** The same batches as {@link #loader(int)} gives, with latents that are encoded once. */
  Batches latents(int newUnit, Path folder, LatentEncoder encoder) {
    unit = newUnit;
    LoaderOptions how = options.data().loading(wholeBatch(), unit, images).ahead(0);
    BatchLoader pictures = new BatchLoader(images, how, team.share(), rng.fork("data"), device);
    // Rank 0 writes what is missing; the others find it there.
    LatentBatches own = team.leaderFirst(() -> LatentCache.open(folder, pictures, encoder));
    loaders.add(own);
    return own;
  }

  /** Pictures per step of all processes together. */
  private int wholeBatch() {
    return Math.multiplyExact(options.batch(), team.size());
  }

  // ---- what is held out

  /**
   * Batches that are held out.
   *
   * @param batches of pictures
   * @param count how many a validation takes
   */
  record Held(Batches batches, int count) {
    /** The same, changed as those are that the model learns from. */
    Held map(UnaryOperator<Batches> change) {
      return new Held(change.apply(batches), count);
    }
  }

  /** What is held out; null if nothing is. */
  @Nullable Held held() {
    return held == null ? null : held(held);
  }

  /**
   * What is held out of some classes; null if nothing is.
   *
   * @param what names the classes
   * @throws IllegalArgumentException if something is held out, but none of these
   */
  @Nullable Held held(IntPredicate classes, String what) {
    ImageDataset all = held;
    if (all == null) {
      return null;
    }
    require(
        IntStream.range(0, all.size()).anyMatch(i -> classes.test(all.label(i))),
        "--validation-steps: of the "
            + all.size()
            + " pictures that are held out none is of "
            + what
            + "; a larger --validation-share holds more out");
    return held(new ClassSubset(all, classes));
  }

  private Held held(ImageDataset some) {
    int batch = Math.min(options.batch(), some.size());
    BatchLoader loader = new BatchLoader(some, batch, unit, rng.fork("validation data"), device);
    loaders.add(loader);
    return new Held(loader, options.running().validationBatches(some.size(), batch));
  }

  /** The same pictures each time, as they are; of those that are held out if there are enough. */
  Batches.Batch pictures(int count) {
    ImageDataset some = held == null || held.size() < count ? images : held;
    LoaderOptions plain = LoaderOptions.of(Math.min(count, some.size())).unit(unit);
    try (BatchLoader loader = new BatchLoader(some, plain, rng.fork("previewed"), device)) {
      return loader.batch(0);
    }
  }

  // ---- what a run must have in common with one that goes on

  /** The values in words. */
  Map<String, String> settings() {
    Map<String, String> settings = new TreeMap<>(options.data().settings());
    settings.put("pictures", images.size() + " x " + images.bytesPerImage() + " bytes");
    settings.put("classes", String.join(",", images.classNames()));
    settings.put("batch", Integer.toString(wholeBatch()));
    return settings;
  }

  /** A checksum of some pictures from all over the data. */
  String contents() {
    CRC32C sum = new CRC32C();
    byte[] pixels = new byte[images.bytesPerImage()];
    int looks = Math.min(256, images.size());
    for (int i = 0; i < looks; i++) {
      int index = (int) ((long) i * images.size() / looks);
      images.copyPixels(index, pixels, 0);
      sum.update(pixels);
      sum.update(images.label(index));
    }
    return Long.toHexString(sum.getValue());
  }

  /** Ends reading ahead. */
  @Override
  public void close() {
    loaders.forEach(Batches::close);
  }
}
