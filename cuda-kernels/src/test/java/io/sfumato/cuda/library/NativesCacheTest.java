// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The cache of native libraries. */
class NativesCacheTest {
  private static final byte[] BYTES = "a library, more or less".getBytes();

  @TempDir Path folder;

  @Test
  void aFileIsWrittenOnceForItsOwnerAlone() throws IOException {
    NativesCache cache = new NativesCache(folder.resolve("a/b"));
    Path placed = cache.place("lib.so", BYTES);
    assertArrayEquals(BYTES, Files.readAllBytes(placed));
    assertEquals(
        "rwx------",
        PosixFilePermissions.toString(Files.getPosixFilePermissions(placed.getParent())));
    FileTime old = FileTime.fromMillis(1_000_000);
    Files.setLastModifiedTime(placed, old);
    assertEquals(placed, cache.place("lib.so", BYTES));
    assertEquals(old, Files.getLastModifiedTime(placed));
    assertNotEquals(placed.getParent(), cache.place("lib.so", new byte[] {1}).getParent());
  }

  @Test
  void whatIsCutOffOrChangedIsWrittenAnew() throws IOException {
    NativesCache cache = new NativesCache(folder);
    Path placed = cache.place("lib.so", BYTES);
    Files.write(placed, new byte[] {1, 2, 3});
    assertArrayEquals(BYTES, Files.readAllBytes(cache.place("lib.so", BYTES)));
    byte[] changed = BYTES.clone();
    changed[5]++;
    Files.write(placed, changed);
    assertArrayEquals(BYTES, Files.readAllBytes(cache.place("lib.so", BYTES)));
    Files.write(placed, new byte[0]);
    assertArrayEquals(BYTES, Files.readAllBytes(cache.place("lib.so", BYTES)));
  }

  @Test
  void manyAtOnceAllSeeTheWholeFileAndLeaveNothingElse() throws Exception {
    byte[] large = new byte[1 << 20];
    java.util.Arrays.fill(large, (byte) 42);
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try {
      List<Future<byte[]>> seen = new ArrayList<>();
      for (int i = 0; i < 32; i++) {
        seen.add(
            pool.submit(() -> Files.readAllBytes(new NativesCache(folder).place("lib.so", large))));
      }
      for (Future<byte[]> f : seen) {
        assertArrayEquals(large, f.get());
      }
    } finally {
      pool.shutdownNow();
    }
    try (Stream<Path> files = Files.walk(folder)) {
      assertEquals(1, files.filter(Files::isRegularFile).count());
    }
  }
}
