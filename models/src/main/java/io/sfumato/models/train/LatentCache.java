// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import io.sfumato.models.data.DatasetException;
import io.sfumato.models.data.ImageFolder.BrokenImages;
import io.sfumato.models.data.Picture;
import io.sfumato.models.data.Pictures;
import io.sfumato.models.data.augment.HorizontalFlip;
import io.sfumato.models.data.batch.Sample;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.SafeTensors;
import io.sfumato.tensor.io.TensorFileException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What an autoencoder makes of pictures, kept on disk, so that training need not encode them again
 * and again. Means and variances are kept, not draws, so each step still draws latents of its own;
 * where pictures are mirrored now and then, the mirrored ones are kept, too.
 *
 * <p>In the folder there is one folder per encoder (named by its fingerprint) with safetensors
 * files of up to 64 entries. The name of an entry is a hash of the picture's content, the size it
 * is shown in, its padding, and whether it is mirrored; so a cache may be shared by runs, and a
 * picture that changes gets a new entry. Files appear whole or not at all: a run that was killed
 * goes on after the last one, and what it had begun to write is removed an hour later. Each entry
 * has a SHA-256, which is checked when a cache is opened; a file that is damaged is removed with a
 * log line, and its pictures are encoded anew.
 */
public final class LatentCache implements AutoCloseable {
  private static final Logger LOG = System.getLogger(LatentCache.class.getName());
  private static final int PER_FILE = 64;
  private static final String SUFFIX = ".safetensors";
  private static final Duration LEFT_ALONE = Duration.ofHours(1);

  private final Path folder;
  private final BatchLoader loader;
  private final boolean mirrors;
  private final List<SafeTensors> files = new ArrayList<>();
  private final Map<String, SafeTensors> entries = new HashMap<>();
  private final Map<Integer, Sample.Failure> failures = new HashMap<>();
  private final String[] names;

  private LatentCache(Path folder, BatchLoader loader) {
    this.folder = folder;
    this.loader = loader;
    this.mirrors = loader.options().augmentations().onlyFlip() != null;
    this.names = new String[loader.source().size()];
  }

  /**
   * Opens a cache, and encodes what is not in it.
   *
   * @param folder where it is; made if missing
   * @param loader the pictures; of augmentations, it may mirror only. Closed with the result
   * @param encoder the autoencoder
   * @return the loader's batches with distributions in the place of pictures
   * @throws IllegalArgumentException if the loader's augmentations cannot be kept
   * @throws DatasetException if a picture cannot be used, or its latent is not finite
   * @throws UncheckedIOException if the cache cannot be written, on a full disk, say; what was
   *     written stays
   */
  public static LatentBatches open(Path folder, BatchLoader loader, LatentEncoder encoder) {
    if (!loader.options().augmentations().isNone()
        && loader.options().augmentations().onlyFlip() == null) {
      throw new IllegalArgumentException(
          "latents can be kept of pictures that are shown as they are, or mirrored; got "
              + loader.options().augmentations());
    }
    Path own = folder.resolve(encoder.fingerprint().substring(0, 32));
    LatentCache cache = new LatentCache(own, loader);
    try {
      Files.createDirectories(own);
      cache.readAll();
      cache.fill(encoder);
      return new LatentBatches(loader, cache);
    } catch (IOException | TensorFileException e) {
      cache.close();
      throw new UncheckedIOException(
          own
              + ": latents cannot be kept here: "
              + (e instanceof IOException ? e : e.getMessage())
              + "; make room or choose another folder. What is there already will be used",
          e instanceof IOException io ? io : new IOException(e));
    } catch (RuntimeException | Error e) {
      cache.close();
      throw e;
    }
  }

  // ---- what is there

  private void readAll() throws IOException {
    List<Path> found;
    try (Stream<Path> all = Files.list(folder)) {
      found = all.sorted().toList();
    }
    for (Path file : found) {
      String name = file.getFileName().toString();
      if (name.startsWith(".latents-") && name.endsWith(".tmp")) {
        removeLeftover(file);
      }
      if (!name.endsWith(SUFFIX)) {
        continue;
      }
      String problem = add(file);
      if (problem != null) {
        LOG.log(
            Level.WARNING,
            "{0} is damaged and removed; its pictures are encoded anew: {1}",
            file,
            problem);
        Files.deleteIfExists(file);
      }
    }
  }

  /** What a run that was killed had begun to write; what is young may be of one that lives. */
  private static void removeLeftover(Path file) throws IOException {
    try {
      Instant changed = Files.getLastModifiedTime(file).toInstant();
      if (changed.isBefore(Instant.now().minus(LEFT_ALONE)) && Files.deleteIfExists(file)) {
        LOG.log(Level.INFO, "{0}: left by a run that was killed, and removed", file);
      }
    } catch (NoSuchFileException e) {
      // another run was faster
    }
  }

  /**
   * Takes a file into the cache, or says what is wrong with it.
   *
   * @throws TensorFileException if it cannot be read, which says nothing about what is in it
   */
  private @Nullable String add(Path file) {
    SafeTensors opened;
    try {
      opened = SafeTensors.open(file);
    } catch (TensorFileException e) {
      if (!Files.exists(file)) {
        return null; // another run has found it damaged, and removed it
      }
      if (e.getCause() instanceof IOException) {
        throw e;
      }
      return e.getMessage();
    }
    String problem;
    try {
      problem = problem(opened);
    } catch (RuntimeException | Error e) {
      opened.close();
      throw e;
    }
    if (problem != null) {
      opened.close();
      return problem;
    }
    opened.entries().keySet().forEach(name -> entries.put(name, opened));
    files.add(opened);
    return null;
  }

  private static @Nullable String problem(SafeTensors opened) {
    for (String name : opened.entries().keySet()) {
      Scope scope = Scope.open();
      try {
        Tensor moments = opened.read(name);
        if (moments.dtype() != DType.F32 || moments.rank() != 4 || moments.dim(0) != 1) {
          return name + " is no latent: " + moments.shape() + " of " + moments.dtype();
        }
        if (!hash(moments).equals(opened.metadata().get(name))) {
          return "the SHA-256 of " + name + " is not the one that was written";
        }
      } catch (TensorFileException e) {
        return e.getMessage();
      } finally {
        scope.close();
      }
    }
    return null;
  }

  private static String hash(Tensor tensor) {
    float[] values = tensor.toFloatArray();
    ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(values.length, 4));
    bytes.asFloatBuffer().put(values);
    return HexFormat.of().formatHex(Manifest.sha256().digest(bytes.array()));
  }

  // ---- what is missing

  private void fill(LatentEncoder encoder) {
    Pictures pictures = loader.source();
    Map<String, Tensor> waiting = new LinkedHashMap<>();
    Scope scope = Scope.open(); // of what waits to be written
    try (Progress bar = Progress.open("encoding", names.length)) {
      for (int i = 0; i < names.length; i++) {
        try {
          names[i] = name(pictures, i);
          encode(encoder, i, waiting);
        } catch (DatasetException e) {
          if (loader.options().broken() == BrokenImages.FAIL) {
            throw keeping(waiting, e);
          }
          failures.put(i, new Sample.Failure(i, String.valueOf(e.getMessage())));
        }
        if (waiting.size() >= PER_FILE) {
          write(waiting);
          scope.close();
          scope = Scope.open();
        }
        bar.at(i + 1L, "");
      }
      write(waiting);
    } finally {
      scope.close();
    }
  }

  /** Writes what there is before a run ends, if that can be done. */
  private DatasetException keeping(Map<String, Tensor> waiting, DatasetException reason) {
    try {
      write(waiting);
    } catch (TensorFileException e) {
      reason.addSuppressed(e);
    }
    return reason;
  }

  private String name(Pictures pictures, int index) {
    Pictures.Size size = loader.plan().sizeOf(index);
    MessageDigest digest = Manifest.sha256();
    digest.update(
        String.join(
                "\n",
                "1",
                pictures.contentHash(index),
                size.toString(),
                loader.reader().framing(index),
                Integer.toString(loader.options().unit()))
            .getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(digest.digest());
  }

  private static String variant(String name, boolean mirrored) {
    return mirrored ? name + ".mirrored" : name;
  }

  private void encode(LatentEncoder encoder, int index, Map<String, Tensor> waiting) {
    Picture seen = null;
    List<String> made = new ArrayList<>();
    for (boolean mirrored : mirrors ? new boolean[] {false, true} : new boolean[] {false}) {
      String name = variant(names[index], mirrored);
      if (entries.containsKey(name) || waiting.containsKey(name)) {
        continue;
      }
      if (seen == null) {
        seen = loader.reader().middle(index, loader.plan().sizeOf(index));
      }
      Picture shown = mirrored ? HorizontalFlip.mirrored(seen) : seen;
      Tensor moments = // [1, h, w, 2 L], in the memory order that convolutions write
          Scope.run(
              () -> {
                Tensor encoded = encoder.moments(loader.images(List.of(shown)));
                return encoded.permute(0, 2, 3, 1).contiguous().to(Device.CPU);
              });
      for (float value : moments.toFloatArray()) {
        if (!Float.isFinite(value)) {
          throw DatasetException.of(
              Path.of(loader.source().name(index)), "its latent is not finite: " + value);
        }
      }
      waiting.put(name, moments);
      made.add(name);
    }
    if (seen != null && !name(loader.source(), index).equals(names[index])) {
      made.forEach(waiting::remove);
      throw DatasetException.of(
          Path.of(loader.source().name(index)), "has changed while its latent was made");
    }
  }

  private void write(Map<String, Tensor> waiting) {
    if (waiting.isEmpty()) {
      return;
    }
    MessageDigest digest = Manifest.sha256();
    Map<String, String> metadata = new HashMap<>();
    waiting.forEach(
        (name, moments) -> {
          digest.update(name.getBytes(StandardCharsets.UTF_8));
          metadata.put(name, hash(moments));
        });
    String id = HexFormat.of().formatHex(digest.digest()).substring(0, 32);
    Path file = folder.resolve("latents-" + id + SUFFIX);
    SafeTensors.save(file, waiting, metadata);
    Set<String> written = Set.copyOf(waiting.keySet());
    waiting.clear();
    String problem = add(file);
    if (problem == null && !entries.keySet().containsAll(written)) {
      problem = "it is not there";
    }
    if (problem != null) {
      throw new TensorFileException(file, "was not written as it should be: " + problem);
    }
  }

  // ---- for batches

  /** Why a picture cannot be used; null if it can. */
  Sample.@Nullable Failure failure(int index) {
    return failures.get(index);
  }

  /** The distribution of a picture's latent, [1, h, w, 2 L], in the current scope. */
  Tensor read(int index, boolean mirrored) {
    String name = variant(names[index], mirrored);
    SafeTensors file = entries.get(name);
    if (file == null) {
      throw new IllegalStateException("no latent of " + loader.source().name(index) + " is kept");
    }
    return file.read(name);
  }

  /** Closes the files. */
  @Override
  public void close() {
    files.forEach(SafeTensors::close);
    files.clear();
    entries.clear();
  }
}
