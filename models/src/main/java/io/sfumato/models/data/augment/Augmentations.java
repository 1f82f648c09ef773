// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.augment;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * How pictures are varied: what is seen of them, then a list of changes, in this order. The default
 * varies nothing, for no variation suits all classes.
 *
 * @param framing what is seen of a picture
 * @param steps what is changed after it was brought to size
 */
public record Augmentations(Framing framing, List<Augmentation> steps) {
  /** The centre of each picture, as it is. */
  public static final Augmentations NONE = new Augmentations(new CentreCrop(), List.of());

  private static final String KNOWN =
      "flip[:PROBABILITY], crop, centre-crop, resized-crop[:MIN_SCALE[:MAX_SCALE]],"
          + " jitter[:BRIGHTNESS:CONTRAST:SATURATION:HUE], rotate[:DEGREES]";

  /** Copies the list. */
  public Augmentations {
    steps = List.copyOf(steps);
  }

  /**
   * Reads a list such as {@code flip,crop,jitter:0.2:0.2:0.2:0.05}. Without numbers: flips with
   * probability 0.5, resized crops of 0.5 to 1 of the area, jitter of 0.2, 0.2, 0.2 and 0.05,
   * rotations of up to 10 degrees.
   *
   * @param names the augmentations; at most one of the crops
   * @return the augmentations
   * @throws IllegalArgumentException with everything that is wrong
   */
  public static Augmentations parse(List<String> names) {
    List<String> wrong = new ArrayList<>();
    List<Augmentation> steps = new ArrayList<>();
    Framing framing = null;
    for (String text : names) {
      try {
        Object one = parse(text.strip());
        if (one instanceof Augmentation step) {
          steps.add(step);
        } else if (framing == null) {
          framing = (Framing) one;
        } else {
          wrong.add("'" + text + "' is a second crop");
        }
      } catch (IllegalArgumentException e) {
        wrong.add(e.getMessage());
      }
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("augmentations: " + String.join("; ", wrong));
    }
    return new Augmentations(framing == null ? new CentreCrop() : framing, steps);
  }

  private static Object parse(String text) {
    String[] parts = text.split(":", -1);
    double[] numbers = new double[parts.length - 1];
    for (int i = 0; i < numbers.length; i++) {
      try {
        numbers[i] = Double.parseDouble(parts[i + 1]);
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException("'" + text + "': " + parts[i + 1] + " is no number", e);
      }
    }
    return switch (parts[0].toLowerCase(Locale.ROOT)) {
      case "flip" -> new HorizontalFlip(values(text, numbers, 0.5)[0]);
      case "crop" -> {
        values(text, numbers);
        yield new RandomCrop();
      }
      case "centre-crop", "center-crop" -> {
        values(text, numbers);
        yield new CentreCrop();
      }
      case "resized-crop" -> {
        double[] scale = values(text, numbers, 0.5, 1);
        yield new RandomResizedCrop(scale[0], scale[1]);
      }
      case "jitter" -> {
        double[] s = values(text, numbers, 0.2, 0.2, 0.2, 0.05);
        yield new ColorJitter(s[0], s[1], s[2], s[3]);
      }
      case "rotate" -> new RandomRotation(values(text, numbers, 10)[0]);
      default -> throw new IllegalArgumentException("'" + text + "' is none of " + KNOWN);
    };
  }

  /** The numbers that were given, then the defaults of the others. */
  private static double[] values(String text, double[] given, double... defaults) {
    if (given.length > defaults.length) {
      throw new IllegalArgumentException(
          "'" + text + "' takes at most " + defaults.length + " numbers");
    }
    System.arraycopy(given, 0, defaults, 0, given.length);
    return defaults;
  }

  /** {@return whether pictures are shown as they are} */
  public boolean isNone() {
    return framing instanceof CentreCrop && steps.isEmpty();
  }

  /** {@return the mirroring, if that and the centre are all there is, else null} */
  public @Nullable HorizontalFlip onlyFlip() {
    return framing instanceof CentreCrop
            && steps.size() == 1
            && steps.getFirst() instanceof HorizontalFlip flip
        ? flip
        : null;
  }
}
