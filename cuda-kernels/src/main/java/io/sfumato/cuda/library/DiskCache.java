// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What was computed once and is wanted again by later processes, in files named by the hash of a
 * key. It only ever saves time: an entry that is damaged or of another key is removed and counts as
 * missing, and a folder that cannot be written keeps nothing, each with one line of the log. An
 * entry appears when it is complete, so several processes may share the folder. Beyond the limit
 * those that were not used for longest go.
 */
public final class DiskCache {
  /** The system property with the most megabytes that a cache may take. */
  public static final String LIMIT = "sfumato.cuda.cache.limit";

  private static final Logger LOG = System.getLogger(DiskCache.class.getName());
  private static final long LIMIT_BY_DEFAULT = 512;
  private static final byte[] MAGIC = "sfumato-cache 1\n".getBytes(StandardCharsets.US_ASCII);
  private static final int HASH = 32;

  private final Path folder;
  private final long limit;
  private boolean told; // that it cannot be written

  /**
   * A cache.
   *
   * @param folder where it is; made when something is put into it
   * @param limit the most bytes
   */
  DiskCache(Path folder, long limit) {
    this.folder = folder;
    this.limit = limit;
  }

  /**
   * A cache of this user, beside the unpacked libraries.
   *
   * @param name what it is for
   */
  public static DiskCache ofThisUser(String name) {
    long megabytes = Long.getLong(LIMIT, LIMIT_BY_DEFAULT);
    return new DiskCache(NativesCache.folderOfThisUser().resolveSibling(name), megabytes << 20);
  }

  /**
   * What was put under a key, or null.
   *
   * @param key a text that names all that the value depends on
   */
  public byte @Nullable [] get(String key) {
    Path file = file(key);
    byte[] all;
    try {
      if (!Files.isRegularFile(file)) {
        return null;
      }
      all = Files.readAllBytes(file);
    } catch (IOException e) {
      LOG.log(Level.WARNING, "the cache entry {0} cannot be read ({1})", file, e.toString());
      return null;
    }
    int start = MAGIC.length + 2 * HASH;
    byte[] value = all.length < start ? new byte[0] : Arrays.copyOfRange(all, start, all.length);
    byte[] head = head(key, value);
    if (!Arrays.equals(head, Arrays.copyOf(all, head.length))) {
      LOG.log(Level.WARNING, "the cache entry {0} is damaged; it is made anew", file);
      delete(file);
      return null;
    }
    try {
      Files.setLastModifiedTime(file, FileTime.from(Instant.now()));
    } catch (IOException e) {
      LOG.log(Level.DEBUG, "{0} keeps its time ({1})", file, e.toString());
    }
    return value;
  }

  /** Puts a value under a key. */
  public void put(String key, byte[] value) {
    Path file = file(key);
    try {
      Set<PosixFilePermission> owner = PosixFilePermissions.fromString("rwx------");
      Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(owner));
      Path part = Files.createTempFile(folder, "entry", ".part");
      try {
        byte[] head = head(key, value);
        byte[] all = Arrays.copyOf(head, head.length + value.length);
        System.arraycopy(value, 0, all, head.length, value.length);
        Files.write(part, all);
        Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      } finally {
        Files.deleteIfExists(part);
      }
      shrink(file);
    } catch (IOException | UncheckedIOException e) {
      tell(e);
    }
  }

  private synchronized void tell(Exception e) {
    if (!told) {
      told = true;
      LOG.log(
          Level.WARNING,
          "nothing is kept in {0} for later processes ({1}); name another folder with -D{2}=…",
          folder,
          e.toString(),
          NativesCache.PROPERTY);
    }
  }

  /** Removes what was not used for longest, and what broken-off processes left. */
  private void shrink(Path newest) throws IOException {
    record Entry(Path file, long bytes, FileTime used) {}
    List<Entry> entries = new ArrayList<>();
    long sum = 0;
    Instant old = Instant.now().minusSeconds(3600);
    try (Stream<Path> files = Files.list(folder)) {
      for (Path f : files.toList()) {
        try {
          Entry e = new Entry(f, Files.size(f), Files.getLastModifiedTime(f));
          if (f.toString().endsWith(".part")) {
            if (e.used.toInstant().isBefore(old)) {
              delete(f);
            }
          } else {
            entries.add(e);
            sum += e.bytes;
          }
        } catch (IOException gone) { // another process removed it
          continue;
        }
      }
    }
    entries.sort(Comparator.comparing(Entry::used));
    for (Entry e : entries) {
      if (sum <= limit) {
        return;
      }
      if (!e.file.equals(newest)) {
        delete(e.file);
        sum -= e.bytes;
      }
    }
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      LOG.log(Level.DEBUG, "{0} stays ({1})", file, e.toString());
    }
  }

  private Path file(String key) {
    return folder.resolve(HexFormat.of().formatHex(hash(bytes(key)), 0, 16));
  }

  /** What stands before a value: the kind of file, the hash of the key and that of the value. */
  private static byte[] head(String key, byte[] value) {
    byte[] head = Arrays.copyOf(MAGIC, MAGIC.length + 2 * HASH);
    System.arraycopy(hash(bytes(key)), 0, head, MAGIC.length, HASH);
    System.arraycopy(hash(value), 0, head, MAGIC.length + HASH, HASH);
    return head;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] hash(byte[] bytes) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(bytes);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has it
    }
  }
}
