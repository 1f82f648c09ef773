// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Set;

/**
 * Files that the system's loader needs on disk, each in a folder named by the hash of its bytes. A
 * file is read back and compared before it is used, and appears under its name only when it is
 * complete; so several processes may share the cache, and a damaged file is written anew.
 */
public final class NativesCache {
  /** The system property that names the cache's folder. */
  public static final String PROPERTY = "sfumato.cuda.cache";

  private final Path folder;

  NativesCache(Path folder) {
    this.folder = folder;
  }

  /** The cache of this user: the property, XDG_CACHE_HOME, or .cache in the home folder. */
  public static NativesCache ofThisUser() {
    return new NativesCache(folderOfThisUser());
  }

  /** Its folder. */
  static Path folderOfThisUser() {
    String named = System.getProperty(PROPERTY);
    if (named != null) {
      return Path.of(named).resolve("natives");
    }
    String caches = System.getenv("XDG_CACHE_HOME");
    Path base =
        caches != null && !caches.isBlank()
            ? Path.of(caches)
            : Path.of(System.getProperty("user.home", ".")).resolve(".cache");
    return base.resolve("sfumato").resolve("natives");
  }

  /**
   * Puts a file into the cache unless it is there.
   *
   * @param name its name
   * @param bytes what it holds
   * @return its path
   */
  public Path place(String name, byte[] bytes) throws IOException {
    byte[] wanted = hash(bytes);
    Path own = folder.resolve(HexFormat.of().formatHex(wanted, 0, 16));
    Path file = own.resolve(name);
    if (Files.isRegularFile(file) && Arrays.equals(hash(Files.readAllBytes(file)), wanted)) {
      return file;
    }
    Set<PosixFilePermission> owner = PosixFilePermissions.fromString("rwx------");
    Files.createDirectories(own, PosixFilePermissions.asFileAttribute(owner));
    Path part = Files.createTempFile(own, name, ".part");
    try {
      Files.write(part, bytes);
      Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(part);
    }
    return file;
  }

  private static byte[] hash(byte[] bytes) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(bytes);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has it
    }
  }
}
