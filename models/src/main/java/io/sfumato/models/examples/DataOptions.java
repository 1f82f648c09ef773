// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Problems;
import io.sfumato.models.data.Datasets;
import io.sfumato.models.data.FramedPictures;
import io.sfumato.models.data.ImageDataset;
import io.sfumato.models.data.ImageFolder;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.MixedPictures;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.augment.Augmentations;
import io.sfumato.models.data.batch.Bucketing;
import io.sfumato.models.data.batch.Buckets;
import io.sfumato.models.data.batch.CaptionOptions;
import io.sfumato.models.data.batch.DataCheck;
import io.sfumato.models.data.batch.NativeBuckets;
import io.sfumato.models.train.LoaderOptions;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Options of what a model learns from, and how it is shown. */
final class DataOptions {
  private static final int DEFAULT_SIZE = 32;
  private static final int DEFAULT_AHEAD = 2;
  private static final double MOST_BAD = 0.1;
  private static final Pattern REPEATED = Pattern.compile("(.+):(\\d+(?:\\.\\d+)?)");

  @Option(
      names = "--data",
      paramLabel = "FOLDER[:REPEATS]",
      description =
          "Folder with MNIST, Fashion-MNIST or CIFAR-10 files, pictures in one folder per class, or"
              + " WebDataset shards (or one .tar); the built-in shapes if absent. Several times for"
              + " several; REPEATS says how often each picture is shown in an epoch.")
  private List<String> data = new ArrayList<>();

  @Option(
      names = "--augment",
      split = ",",
      paramLabel = "NAME[:NUMBER…]",
      description =
          "Vary pictures: flip, crop, centre-crop, resized-crop, jitter, rotate; flip:0.3 or"
              + " jitter:0.2:0.2:0.2:0.05 with numbers. None if absent.")
  private List<String> augment = new ArrayList<>();

  @Option(
      names = "--buckets",
      arity = "0..1",
      fallbackValue = "64",
      paramLabel = "STEP",
      description =
          "Show pictures in their own proportions: batches of sizes with the area of --size, sides"
              + " multiples of STEP (64).")
  private @Nullable Integer buckets;

  @Option(
      names = "--bucket-no-upscale",
      description =
          "Let --buckets enlarge no picture: a small one is shown in its own size, cut to multiples"
              + " of STEP.")
  private boolean noUpscale;

  @Option(
      names = "--stream",
      description =
          "Read pictures when they are needed, not all at the start; always so with --buckets and"
              + " crops.")
  private boolean stream;

  @Option(
      names = "--prefetch",
      paramLabel = "BATCHES",
      description =
          "Batches made ahead of the step; 2 if pictures are read when needed or varied, else 0.")
  private @Nullable Integer prefetch;

  @Option(
      names = "--on-bad-image",
      description =
          "fail, or skip: put another picture in the place of one that cannot be used (of at most"
              + " 10 %%).",
      defaultValue = "fail")
  private String onBadImage = "fail";

  @Option(names = "--check-data", description = "Read every picture once before the start.")
  private boolean checkData;

  @Option(
      names = "--captions",
      description =
          "Learn from captions (metadata.jsonl or .csv, or .txt or .caption files beside pictures),"
              + " not from the names of classes.")
  private boolean captions;

  @Option(
      names = "--shuffle-tags",
      description = "Shuffle what commas separate in captions, all but the first --keep-tags.")
  private boolean shuffleTags;

  @Option(names = "--keep-tags", description = "Tags that stay in place.", defaultValue = "0")
  private int keepTags;

  @Option(
      names = "--caption-dropout",
      description = "How often a caption is left out.",
      defaultValue = "0")
  private double captionDropout;

  @Option(names = "--tag-dropout", description = "How often a tag is left out.", defaultValue = "0")
  private double tagDropout;

  /** A folder and how often its pictures are shown. */
  private record Source(Path folder, double repeats) {}

  /** Whether there is data, not the built-in shapes. */
  boolean isGiven() {
    return !data.isEmpty();
  }

  /** Whether captions are learned from. */
  boolean captions() {
    return captions;
  }

  /**
   * Checks the options together.
   *
   * @param wrong is told of everything that is wrong
   * @param takesCaptions whether the program can learn from captions
   * @param size the side of the pictures, or null
   */
  void check(Problems wrong, boolean takesCaptions, @Nullable Integer size) {
    wrong.attempt("--augment", this::augmentations);
    wrong.attempt("--buckets", () -> buckets(size == null ? DEFAULT_SIZE : size));
    wrong.attempt("--data", this::sources);
    wrong.attempt("--captions", this::captionOptions);
    wrong.require(
        onBadImage.equals("fail") || onBadImage.equals("skip"),
        "--on-bad-image must be fail or skip; got " + onBadImage);
    wrong.require(
        prefetch == null || (prefetch >= 0 && prefetch <= 1000),
        "--prefetch must be 0 to 1000; got " + prefetch);
    wrong.require(
        isGiven() || (buckets == null && !stream),
        "--buckets and --stream need --data with pictures");
    wrong.require(!noUpscale || buckets != null, "--bucket-no-upscale needs --buckets");
    wrong.require(takesCaptions || !captions, "--captions: this program learns classes");
    wrong.require(
        captions || !(shuffleTags || keepTags != 0 || captionDropout != 0 || tagDropout != 0),
        "--shuffle-tags, --keep-tags, --caption-dropout and --tag-dropout need --captions");
  }

  private Augmentations augmentations() {
    return Augmentations.parse(augment);
  }

  /** Whether batches have several sizes. */
  boolean hasBuckets() {
    return buckets != null;
  }

  private @Nullable Bucketing buckets(int size) {
    if (buckets == null) {
      return null;
    }
    return noUpscale ? new NativeBuckets(size, buckets) : Buckets.around(size, buckets);
  }

  private @Nullable CaptionOptions captionOptions() {
    return captions ? new CaptionOptions(shuffleTags, keepTags, captionDropout, tagDropout) : null;
  }

  private BrokenImages broken() {
    return onBadImage.equals("skip") ? BrokenImages.SKIP_AND_LOG : BrokenImages.FAIL;
  }

  private List<Source> sources() {
    List<Source> sources = new ArrayList<>();
    for (String text : data) {
      try {
        Matcher repeated = REPEATED.matcher(text);
        if (repeated.matches() && !Files.exists(Path.of(text))) {
          double repeats = Double.parseDouble(repeated.group(2));
          if (!(repeats > 0)) {
            throw new IllegalArgumentException("repeats must be positive; got '" + text + "'");
          }
          sources.add(new Source(Path.of(repeated.group(1)), repeats));
        } else {
          sources.add(new Source(Path.of(text), 1));
        }
      } catch (InvalidPathException e) {
        throw new IllegalArgumentException(e.getMessage(), e);
      }
    }
    return sources;
  }

  /** Whether pictures are read when they are needed. */
  private boolean streams() {
    return stream || buckets != null || !augmentations().framing().isFreeOfSize();
  }

  /**
   * Opens the data.
   *
   * @param size the side of the pictures; null for the data's own, or 32
   */
  ImageDataset open(@Nullable Integer size) {
    List<MixedPictures.Share> shares = new ArrayList<>();
    for (Source source : sources()) {
      shares.add(new MixedPictures.Share(Datasets.openPictures(source.folder), source.repeats));
    }
    if (checkData) {
      for (MixedPictures.Share share : shares) {
        checkAll(share.pictures());
      }
    }
    int side = size == null ? ownSide(shares) : size;
    for (int k = 0; k < shares.size(); k++) {
      MixedPictures.Share share = shares.get(k);
      if (!(share.pictures() instanceof ImageDataset) && !streams()) {
        ImageFolder loaded =
            ImageFolder.load(
                sources().get(k).folder,
                share.pictures(),
                ImageFolder.options(side).brokenImages(broken()));
        shares.set(k, new MixedPictures.Share(loaded, share.repeats()));
      }
    }
    if (shares.size() == 1 && shares.getFirst().repeats() == 1) {
      Pictures only = shares.getFirst().pictures();
      if (only instanceof ImageDataset all) {
        return size == null ? all : Datasets.resized(all, size);
      }
      return FramedPictures.of(only, side, side);
    }
    return FramedPictures.of(MixedPictures.of(shares), side, side);
  }

  private static int ownSide(List<MixedPictures.Share> shares) {
    return shares.stream()
        .map(MixedPictures.Share::pictures)
        .filter(ImageDataset.class::isInstance)
        .map(p -> ((ImageDataset) p).height())
        .findFirst()
        .orElse(DEFAULT_SIZE);
  }

  private void checkAll(Pictures pictures) {
    if (broken() == BrokenImages.FAIL) {
      DataCheck.require(pictures);
    } else {
      DataCheck.warn(pictures, MOST_BAD);
    }
  }

  /**
   * How batches are made.
   *
   * @param batch pictures per batch
   * @param unit heights and widths are multiples of this
   * @param images what {@link #open} returned
   */
  LoaderOptions loading(int batch, int unit, ImageDataset images) {
    int usual = streams() && isGiven() || !augmentations().isNone() ? DEFAULT_AHEAD : 0;
    return LoaderOptions.of(batch)
        .unit(unit)
        .augmentations(augmentations())
        .buckets(buckets(images.height()))
        .captions(captionOptions())
        .broken(broken(), MOST_BAD)
        .ahead(prefetch == null ? usual : prefetch);
  }

  /** What must be equal for a run to go on. */
  Map<String, String> settings() {
    Map<String, String> settings = new TreeMap<>();
    settings.put(
        "data",
        data.isEmpty()
            ? "shapes"
            : sources().stream()
                .map(
                    s ->
                        s.folder.toAbsolutePath().normalize()
                            + (s.repeats == 1 ? "" : ":" + s.repeats))
                .collect(Collectors.joining(" ")));
    put(settings, "augment", augment.isEmpty() ? "" : augmentations().toString());
    put(
        settings,
        "buckets",
        buckets == null ? "" : buckets + (noUpscale ? " without upscaling" : ""));
    put(settings, "captions", captions ? String.valueOf(captionOptions()) : "");
    put(settings, "on-bad-image", onBadImage.equals("fail") ? "" : onBadImage);
    return settings;
  }

  private static void put(Map<String, String> settings, String key, String value) {
    if (!value.isEmpty()) {
      settings.put(key, value);
    }
  }
}
