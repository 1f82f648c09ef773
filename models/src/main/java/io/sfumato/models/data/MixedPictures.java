// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * Several sets, one after the other. Classes of the same name are one class; each set has its own
 * number of repeats, so that a small one can be shown as often as a large one.
 */
public final class MixedPictures implements Pictures {
  /**
   * A set and how often it is shown.
   *
   * @param pictures the set
   * @param repeats how often each of its pictures is shown in an epoch
   */
  public record Share(Pictures pictures, double repeats) {}

  private final List<Pictures> sets = new ArrayList<>();
  private final List<Part> parts = new ArrayList<>();
  private final int[] starts;
  private final int[][] labels;
  private final List<String> classNames = new ArrayList<>();

  private MixedPictures(List<Share> shares) {
    starts = new int[shares.size() + 1];
    labels = new int[shares.size()][];
    for (int k = 0; k < shares.size(); k++) {
      Pictures set = shares.get(k).pictures();
      sets.add(set);
      starts[k + 1] = Math.addExact(starts[k], set.size());
      labels[k] = set.classNames().stream().mapToInt(this::classNamed).toArray();
      for (Part part : set.parts()) {
        parts.add(
            new Part(
                starts[k] + part.first(), part.count(), part.repeats() * shares.get(k).repeats()));
      }
    }
  }

  /**
   * Sets one after the other.
   *
   * @param shares the sets, and how often each picture of them is shown in an epoch
   * @return the new object
   * @throws IllegalArgumentException if there is none, one is empty, a number of repeats is not
   *     positive, or some are grey and others in colour
   */
  public static MixedPictures of(List<Share> shares) {
    if (shares.isEmpty()) {
      throw new IllegalArgumentException("there must be a set of pictures");
    }
    List<Integer> channels = shares.stream().map(s -> s.pictures().channels()).distinct().toList();
    if (channels.size() > 1) {
      throw new IllegalArgumentException(
          "sets of grey pictures (1 channel) and of colour pictures (3) cannot be mixed; got "
              + shares.stream().map(s -> s.pictures().channels()).toList());
    }
    return new MixedPictures(shares);
  }

  /**
   * Sets in given proportions, whatever their sizes: an epoch has as many showings as there are
   * pictures, of which each set gets its part. That is, with weight w of a sum of weights s, a set
   * of n among N pictures is repeated {@code w / s * N / n} times.
   *
   * @param sets the sets
   * @param weights one each, positive
   * @return the new object
   * @throws IllegalArgumentException as {@link #of}, or if the numbers of sets and weights differ
   */
  public static MixedPictures weighted(List<? extends Pictures> sets, double... weights) {
    if (sets.size() != weights.length) {
      throw new IllegalArgumentException(
          "expected a weight for each of " + sets.size() + " sets; got " + weights.length);
    }
    double sum = Arrays.stream(weights).sum();
    double all = sets.stream().mapToLong(Pictures::size).sum();
    List<Share> shares = new ArrayList<>();
    for (int k = 0; k < weights.length; k++) {
      shares.add(new Share(sets.get(k), weights[k] / sum * all / sets.get(k).size()));
    }
    return of(shares);
  }

  private int classNamed(String name) {
    int known = classNames.indexOf(name);
    if (known < 0) {
      classNames.add(name);
      return classNames.size() - 1;
    }
    return known;
  }

  private int set(int index) {
    int last = starts[starts.length - 1];
    if (index < 0 || index >= last) {
      throw new IndexOutOfBoundsException("index " + index + " of " + last + " pictures");
    }
    int k = 0;
    while (index >= starts[k + 1]) {
      k++;
    }
    return k;
  }

  @Override
  public List<Part> parts() {
    return List.copyOf(parts);
  }

  @Override
  public int size() {
    return starts[starts.length - 1];
  }

  @Override
  public int channels() {
    return sets.getFirst().channels();
  }

  @Override
  public Picture picture(int index) {
    int k = set(index);
    return sets.get(k).picture(index - starts[k]);
  }

  @Override
  public <T> T read(int index, Function<Picture, T> use) {
    int k = set(index);
    return sets.get(k).read(index - starts[k], use);
  }

  @Override
  public Size sizeOf(int index) {
    int k = set(index);
    return sets.get(k).sizeOf(index - starts[k]);
  }

  @Override
  public String name(int index) {
    int k = set(index);
    return sets.get(k).name(index - starts[k]);
  }

  @Override
  public String contentHash(int index) {
    int k = set(index);
    return sets.get(k).contentHash(index - starts[k]);
  }

  @Override
  public int label(int index) {
    int k = set(index);
    return labels[k][sets.get(k).label(index - starts[k])];
  }

  @Override
  public List<String> classNames() {
    return List.copyOf(classNames);
  }

  @Override
  public Optional<String> caption(int index) {
    int k = set(index);
    return sets.get(k).caption(index - starts[k]);
  }
}
