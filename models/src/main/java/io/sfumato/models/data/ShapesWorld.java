// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * A built-in data set that needs no files: one coloured shape on a plain background, with a class
 * label and a caption such as {@code "a small red star at the top left on a blue background"}.
 *
 * <p>Image {@code i} is a function of (options, i) alone, drawn when it is asked for, bit for bit
 * the same on every machine: numbers come from {@link SplitMix64}, pictures from {@link
 * ShapesRaster}. Every run of {@code shapes x colours} consecutive images, from a multiple of that
 * number on, holds each (shape, colour) pair exactly once, in random order; size, position and
 * background are drawn uniformly, the background among those that contrast with the shape's colour.
 *
 * <p>To train fast, keep the pictures: {@code InMemoryImageDataset.copyOf(world)}.
 */
public final class ShapesWorld implements ImageDataset {
  private static final Options DEFAULTS = new Options(10_000, 32, 0, Labels.SHAPE, true, false);
  private static final List<ShapeScene.Size> SIZES = List.of(ShapeScene.Size.values());
  private static final List<ShapeScene.Position> POSITIONS = List.of(ShapeScene.Position.values());
  private static final int PAIRS =
      ShapeScene.Shape.values().length * ShapeScene.Colour.values().length;

  private final Options options;
  private final List<String> classNames;

  /** What the class label says. */
  public enum Labels {
    /** The shape. */
    SHAPE,
    /** The colour of the shape. */
    COLOUR,
    /** Both: class {@code colour * shapes + shape}, named "red circle". */
    COLOUR_AND_SHAPE
  }

  /**
   * What to draw.
   *
   * @param count number of images, 1 or more
   * @param resolution height and width in pixels, 8 to 1024
   * @param seed the seed
   * @param labels what the class label says
   * @param jitter whether centre and radius vary a little (by up to 2.5 % of the width, 4 % of the
   *     radius); without it there are finitely many pictures
   * @param plain whether every shape is large, in the middle, and each colour on one background; an
   *     easier world, learned in minutes
   */
  public record Options(
      int count, int resolution, long seed, Labels labels, boolean jitter, boolean plain) {
    /** Checks the ranges. */
    public Options {
      if (count < 1) {
        throw new IllegalArgumentException("count must be positive; got " + count);
      }
      if (resolution < 8 || resolution > 1024) {
        throw new IllegalArgumentException(
            "resolution must be 8 to 1024 pixels; got " + resolution);
      }
      Objects.requireNonNull(labels, "labels");
    }

    /**
     * {@return these options with another number of images}
     *
     * @param newCount the number
     */
    public Options count(int newCount) {
      return new Options(newCount, resolution, seed, labels, jitter, plain);
    }

    /**
     * {@return these options with another resolution; the scenes stay the same}
     *
     * @param newResolution height and width in pixels
     */
    public Options resolution(int newResolution) {
      return new Options(count, newResolution, seed, labels, jitter, plain);
    }

    /**
     * {@return these options with another seed}
     *
     * @param newSeed the seed
     */
    public Options seed(long newSeed) {
      return new Options(count, resolution, newSeed, labels, jitter, plain);
    }

    /**
     * {@return these options with another meaning of the class label}
     *
     * @param newLabels its meaning
     */
    public Options labels(Labels newLabels) {
      return new Options(count, resolution, seed, newLabels, jitter, plain);
    }

    /**
     * {@return these options with or without jitter}
     *
     * @param newJitter whether to vary centre and radius
     */
    public Options jitter(boolean newJitter) {
      return new Options(count, resolution, seed, labels, newJitter, plain);
    }

    /**
     * {@return these options with shapes of all sizes, places and backgrounds, or without that
     * variety}
     *
     * @param newPlain whether size, place and background do not vary
     */
    public Options plain(boolean newPlain) {
      return new Options(count, resolution, seed, labels, jitter, newPlain);
    }
  }

  /**
   * A world drawn by the given options.
   *
   * @param options the options
   */
  public ShapesWorld(Options options) {
    this.options = options;
    this.classNames =
        switch (options.labels()) {
          case SHAPE -> words(ShapeScene.Shape.values());
          case COLOUR -> words(ShapeScene.Colour.values());
          case COLOUR_AND_SHAPE ->
              words(ShapeScene.Colour.values()).stream()
                  .flatMap(c -> words(ShapeScene.Shape.values()).stream().map(s -> c + " " + s))
                  .toList();
        };
  }

  /** {@return the default options: 10000 images, 32 x 32, seed 0, labelled by shape, jitter} */
  public static Options options() {
    return DEFAULTS;
  }

  /** {@return the options of this world} */
  public Options config() {
    return options;
  }

  /**
   * {@return the attributes of one image}
   *
   * @param index the image, from 0 to {@code size() - 1}
   * @throws IndexOutOfBoundsException if the index is out of range
   */
  public ShapeScene scene(int index) {
    Objects.checkIndex(index, options.count());
    int pair = pair(index);
    ShapeScene.Shape[] shapes = ShapeScene.Shape.values();
    ShapeScene.Colour colour = ShapeScene.Colour.values()[pair / shapes.length];
    SplitMix64 random = attributes(index);
    return new ShapeScene(
        shapes[pair % shapes.length],
        colour,
        options.plain() ? ShapeScene.Size.LARGE : pick(random, SIZES),
        options.plain() ? ShapeScene.Position.CENTER : pick(random, POSITIONS),
        options.plain() ? colour.backgrounds().getFirst() : pick(random, colour.backgrounds()));
  }

  @Override
  public int size() {
    return options.count();
  }

  @Override
  public int channels() {
    return 3;
  }

  @Override
  public int height() {
    return options.resolution();
  }

  @Override
  public int width() {
    return options.resolution();
  }

  @Override
  public void copyPixels(int index, byte[] target, int offset) {
    ShapeScene scene = scene(index);
    Objects.checkFromIndexSize(offset, bytesPerImage(), target.length);
    double dx = 0;
    double dy = 0;
    double growth = 1;
    if (options.jitter()) {
      SplitMix64 random = SplitMix64.of(options.seed(), stream(index, 2));
      dx = 0.05 * (random.nextDouble() - 0.5);
      dy = 0.05 * (random.nextDouble() - 0.5);
      growth = 1 + 0.08 * (random.nextDouble() - 0.5);
    }
    ShapesRaster.draw(scene, dx, dy, growth, options.resolution(), target, offset);
  }

  @Override
  public int label(int index) {
    Objects.checkIndex(index, options.count());
    int shapes = ShapeScene.Shape.values().length;
    int pair = pair(index);
    return switch (options.labels()) {
      case SHAPE -> pair % shapes;
      case COLOUR -> pair / shapes;
      case COLOUR_AND_SHAPE -> pair;
    };
  }

  @Override
  public List<String> classNames() {
    return classNames;
  }

  @Override
  public Optional<String> caption(int index) {
    return Optional.of(scene(index).caption());
  }

  /**
   * {@return the (colour, shape) pair of an image: element {@code i % PAIRS} of a shuffled block}
   */
  private int pair(int index) {
    SplitMix64 random = SplitMix64.of(options.seed(), stream(index / PAIRS, 0));
    int[] order = new int[PAIRS];
    // Fisher-Yates, inside out.
    for (int i = 0; i < PAIRS; i++) {
      int j = random.nextInt(i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    return order[index % PAIRS];
  }

  private SplitMix64 attributes(int index) {
    return SplitMix64.of(options.seed(), stream(index, 1));
  }

  /** Streams of different purposes never meet. */
  private static long stream(int index, int purpose) {
    return (long) purpose << 32 | index;
  }

  private static <T> T pick(SplitMix64 random, List<T> choices) {
    return choices.get(random.nextInt(choices.size()));
  }

  private static List<String> words(Enum<?>[] values) {
    return Arrays.stream(values).map(ShapeScene::word).toList();
  }
}
