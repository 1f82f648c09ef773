// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Pictures in shards of a WebDataset: tar archives that hold the files of each sample under one key
 * ({@code 000017.jpg}, {@code 000017.txt}, {@code 000017.json}). Nothing is unpacked: headers are
 * read when a set is opened, a picture when it is asked for.
 *
 * <p>The key is a file's path up to the first dot of its name; what follows says what it is:
 *
 * <ul>
 *   <li>an image ({@link ImageFiles#hasImageName}), one per sample;
 *   <li>{@code txt} or {@code caption}: the caption; without them {@code text} or {@code caption}
 *       in {@code json};
 *   <li>{@code cls}: the class, a number or a word. The classes are those that occur, in order. If
 *       no sample has one, the first folder of the keys is the class, if all have one; else all
 *       pictures are of one class, named as the file or folder that was opened.
 * </ul>
 *
 * <p>Samples without a picture are left out, with one log line. Other files are left alone, as are
 * hidden ones. Samples come in the order of the shards' names and of their first files in them.
 *
 * <p>Source: github.com/webdataset/webdataset, "The WebDataset Format".
 */
public final class WebDataset extends StoredPictures {
  private static final Logger LOG = System.getLogger(WebDataset.class.getName());

  private static final Pattern RANGE =
      Pattern.compile("(.*)\\{(\\d{1,6})\\.\\.(\\d{1,6})\\}(.*\\.tar)");

  private final List<Shard> shards;
  private final List<Located> samples;
  private final List<String> classNames;

  /** A sample, the shard it is in, and its class. */
  private record Located(int shard, Shard.Sample sample, int label) {}

  private WebDataset(List<Shard> shards, List<Located> samples, List<String> classNames) {
    super(samples.size());
    this.shards = shards;
    this.samples = samples;
    this.classNames = classNames;
  }

  /** Whether there is a shard, or a folder with shards. */
  static boolean isAt(Path place) {
    return Files.isDirectory(place)
        ? !shardsIn(place).isEmpty()
        : isShard(place) || RANGE.matcher(nameOf(place)).matches();
  }

  private static String nameOf(Path place) {
    return String.valueOf(place.getFileName());
  }

  /** {@return the shards that a path stands for, in order} */
  private static List<Path> files(Path place) {
    if (Files.isDirectory(place)) {
      return shardsIn(place);
    }
    Matcher range = RANGE.matcher(nameOf(place));
    if (Files.exists(place) || !range.matches()) {
      return List.of(place);
    }
    int first = Integer.parseInt(range.group(2));
    int last = Integer.parseInt(range.group(3));
    List<Path> files =
        IntStream.rangeClosed(first, last)
            .mapToObj(i -> String.format("%0" + range.group(2).length() + "d", i))
            .map(i -> place.resolveSibling(range.group(1) + i + range.group(4)))
            .toList();
    List<Path> missing = files.stream().filter(f -> !Files.isRegularFile(f)).toList();
    if (files.isEmpty() || !missing.isEmpty()) {
      throw DatasetException.of(
          place,
          files.isEmpty()
              ? "the range is empty"
              : missing.size()
                  + " of "
                  + files.size()
                  + " shards are not there, first "
                  + missing.getFirst().getFileName());
    }
    return files;
  }

  /** {@return the shards of a folder, in the order of their names} */
  static List<Path> shardsIn(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(WebDataset::isShard)
          .sorted(Comparator.comparing(f -> f.getFileName().toString()))
          .toList();
    } catch (IOException | UncheckedIOException e) {
      throw DatasetException.of(folder, "cannot be listed: " + e.getMessage(), e);
    }
  }

  /** Compressed ones are told from others, to be refused with a reason. */
  private static boolean isShard(Path file) {
    String name = String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT);
    return !name.startsWith(".")
        && name.matches(".+\\.(tar|tgz|tar\\.(gz|bz2|xz|zst))")
        && Files.isRegularFile(file);
  }

  /**
   * Opens shards.
   *
   * @param place a shard ({@code .tar}), a folder that holds some, or a range of them as WebDataset
   *     writes it, {@code shards/{000..099}.tar}
   * @return the pictures
   * @throws DatasetException if there is none, or one is not a valid archive, is compressed, holds
   *     two files of the same name or two images of one key, has a caption that cannot be used, or
   *     classes for some samples only; the message says where
   */
  public static WebDataset open(Path place) {
    List<Path> files = files(place);
    if (files.isEmpty()) {
      throw DatasetException.of(place, "no shard (*.tar) in it");
    }
    List<Shard> shards = files.stream().parallel().map(WebDataset::read).toList();
    List<Shard.Sample> all = shards.stream().flatMap(s -> s.samples().stream()).toList();
    if (all.isEmpty()) {
      throw DatasetException.of(place, "no sample with a picture in it (png, jpg, jpeg, …)");
    }
    boolean named = all.stream().anyMatch(s -> s.className().isPresent());
    boolean inFolders = !named && all.stream().allMatch(s -> s.folder().isPresent());
    Path origin = (Files.exists(place) ? place : place.resolve("..")).toAbsolutePath().normalize();
    String one = String.valueOf(origin.getFileName()).replaceFirst("\\.tar$", "");
    List<Located> samples = new ArrayList<>();
    List<String> classes = new ArrayList<>();
    for (int k = 0; k < shards.size(); k++) {
      for (Shard.Sample sample : shards.get(k).samples()) {
        Optional<String> name =
            named ? sample.className() : inFolders ? sample.folder() : Optional.of(one);
        int shard = k;
        classes.add(
            name.orElseThrow(
                () ->
                    DatasetException.of(
                        files.get(shard),
                        sample.key() + " has no class (.cls), but other samples have one")));
      }
    }
    List<String> classNames = sorted(classes);
    Map<String, Integer> labels = new HashMap<>();
    classNames.forEach(name -> labels.put(name, labels.size()));
    int next = 0;
    for (int k = 0; k < shards.size(); k++) {
      for (Shard.Sample sample : shards.get(k).samples()) {
        samples.add(new Located(k, sample, label(labels, classes.get(next++))));
      }
    }
    return new WebDataset(shards, List.copyOf(samples), classNames);
  }

  private static int label(Map<String, Integer> labels, String name) {
    return Objects.requireNonNull(labels.get(name));
  }

  /** Numbers as such, before words. */
  private static List<String> sorted(List<String> classes) {
    Comparator<String> order =
        Comparator.comparingLong(
                (String c) -> c.matches("\\d{1,18}") ? Long.parseLong(c) : Long.MAX_VALUE)
            .thenComparing(Comparator.naturalOrder());
    TreeSet<String> distinct = new TreeSet<>(order);
    distinct.addAll(classes);
    return List.copyOf(distinct);
  }

  private static Shard read(Path file) {
    Shard shard = Shard.of(file);
    if (shard.withoutPicture() > 0) {
      LOG.log(
          Level.WARNING,
          "{0}: {1} samples without a picture are left out, first {2}",
          file,
          shard.withoutPicture(),
          shard.firstWithout());
    }
    return shard;
  }

  @Override
  Path path(int index) {
    Located at = samples.get(index);
    return shards.get(at.shard).file().resolve(at.sample.image().name());
  }

  @Override
  byte[] content(int index) {
    Located at = samples.get(index);
    ImageFiles.requireLength(path(index), at.sample.image().size());
    return bytes(index, (int) at.sample.image().size());
  }

  @Override
  Size measured(int index) {
    long length = samples.get(index).sample.image().size();
    byte[] head = bytes(index, (int) Math.min(length, ImageFiles.HEAD_BYTES));
    return ImageFiles.sizeOf(path(index), head, length, () -> content(index));
  }

  /** Each time from a channel of its own: an interrupted thread closes the one it reads from. */
  private byte[] bytes(int index, int count) {
    Located at = samples.get(index);
    Shard shard = shards.get(at.shard);
    try (FileChannel channel = FileChannel.open(shard.file())) {
      if (channel.size() != shard.length()) {
        throw DatasetException.of(shard.file(), "has changed since it was opened");
      }
      return TarIndex.bytes(shard.file(), channel, at.sample.image().begin(), count);
    } catch (IOException e) {
      throw DatasetException.of(path(index), "cannot be read: " + e, e);
    } catch (OutOfMemoryError e) {
      throw ImageFiles.noRoom(path(index), e);
    }
  }

  @Override
  public int label(int index) {
    return samples.get(index).label;
  }

  @Override
  public List<String> classNames() {
    return classNames;
  }

  @Override
  public Optional<String> caption(int index) {
    return samples.get(index).sample.caption();
  }
}
