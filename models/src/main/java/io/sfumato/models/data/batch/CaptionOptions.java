// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data.batch;

import io.sfumato.models.data.SplitMix64;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * How captions are varied when they are shown, as kohya's sd-scripts do: tags are what commas
 * separate; the first {@code keepTags} stay in place, the others are shuffled and left out now and
 * then; and now and then the whole caption is empty, so that the model can be guided.
 *
 * @param shuffleTags whether tags are shuffled
 * @param keepTags how many tags at the beginning stay
 * @param dropout how often a caption is empty
 * @param tagDropout how often one of the other tags is left out
 */
public record CaptionOptions(boolean shuffleTags, int keepTags, double dropout, double tagDropout) {
  /** Captions as they are. */
  public static final CaptionOptions PLAIN = new CaptionOptions(false, 0, 0, 0);

  /** Checks the values together. */
  public CaptionOptions {
    List<String> wrong = new ArrayList<>();
    if (keepTags < 0) {
      wrong.add("the number of tags that stay must not be negative; got " + keepTags);
    }
    if (!(dropout >= 0 && dropout <= 1)) {
      wrong.add("caption dropout must be 0 to 1; got " + dropout);
    }
    if (!(tagDropout >= 0 && tagDropout < 1)) {
      wrong.add("tag dropout must be 0 to below 1; got " + tagDropout);
    }
    if (!wrong.isEmpty()) {
      throw new IllegalArgumentException("captions: " + String.join("; ", wrong));
    }
  }

  /**
   * {@return a caption as it is shown}
   *
   * @param caption the caption
   * @param random the random numbers of this showing
   */
  public String apply(String caption, SplitMix64 random) {
    if (random.nextDouble() < dropout) {
      return "";
    }
    if (!shuffleTags && tagDropout == 0) {
      return caption;
    }
    List<String> tags =
        Arrays.stream(caption.split(",")).map(String::strip).filter(t -> !t.isEmpty()).toList();
    int kept = Math.min(keepTags, tags.size());
    List<String> shown = new ArrayList<>(tags.subList(0, kept));
    List<String> others = new ArrayList<>(tags.subList(kept, tags.size()));
    if (shuffleTags) {
      for (int i = others.size() - 1; i > 0; i--) {
        others.set(i, others.set(random.nextInt(i + 1), others.get(i)));
      }
    }
    for (String tag : others) {
      if (random.nextDouble() >= tagDropout) {
        shown.add(tag);
      }
    }
    return String.join(", ", shown);
  }
}
