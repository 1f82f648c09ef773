// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.cuda.testing.Logged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The cache on disk: damage, other keys, writers at once, folders that cannot be written. */
public class DiskCacheTest {
  @TempDir Path folder;

  /** A cache in a folder, for tests of what uses one. */
  public static DiskCache cache(Path folder) {
    return new DiskCache(folder, 1 << 20);
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  private static byte[] value(int seed, int length) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) seed);
    return bytes;
  }

  @Test
  void givesBackWhatWasPut() throws IOException {
    DiskCache cache = cache(folder.resolve("a/b"));
    assertNull(cache.get("key"));
    cache.put("key", value(1, 100));
    cache.put("none", new byte[0]);
    assertArrayEquals(value(1, 100), cache(folder.resolve("a/b")).get("key"));
    assertArrayEquals(new byte[0], cache.get("none"));
    assertNull(cache.get("another key"));
    cache.put("key", value(2, 3));
    assertArrayEquals(value(2, 3), cache.get("key"));
  }

  @Test
  void damageIsFoundAndMadeAnew() throws IOException {
    DiskCache cache = cache(folder);
    cache.put("key", value(1, 100));
    Path file = files().getFirst();
    byte[] whole = Files.readAllBytes(file);
    for (int length : new int[] {0, 10, 60, whole.length - 1}) {
      Files.write(file, Arrays.copyOf(whole, length));
      List<String> log = log(() -> assertNull(cache.get("key"), "cut to " + length));
      assertEquals(1, log.size(), log + "");
      assertTrue(log.getFirst().contains("is damaged; it is made anew"), log + "");
      assertEquals(List.of(), files());
      assertEquals(List.of(), log(() -> assertNull(cache.get("key"))), "told once");
    }
    for (int at : new int[] {0, 20, 60, whole.length - 1}) {
      byte[] changed = whole.clone();
      changed[at] ^= 4;
      Files.write(file, changed);
      log(() -> assertNull(cache.get("key"), "byte " + at));
    }
    cache.put("other", value(3, 5)); // a file of another key under this one's name
    Files.move(files().getFirst(), file);
    log(() -> assertNull(cache.get("key"), "of another key"));
  }

  @Test
  void severalProcessesMayWriteAtOnce() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    List<Future<?>> jobs = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int seed = i;
      jobs.add(
          pool.submit(
              () -> {
                DiskCache own = cache(folder); // as another process has
                for (int round = 0; round < 50; round++) {
                  own.put("key", value(seed, 10_000 + seed));
                  byte[] got = own.get("key");
                  assertTrue(got != null && got.length == 10_000 + got[0], "whole");
                }
              }));
    }
    for (Future<?> job : jobs) {
      job.get();
    }
    pool.shutdown();
    assertEquals(1, files().size(), "nothing is left over");
  }

  @Test
  void aFolderThatCannotBeWrittenKeepsNothing() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "no folder");
    DiskCache cache = cache(file.resolve("cache"));
    List<String> log =
        log(
            () -> {
              cache.put("key", value(1, 3));
              cache.put("key", value(1, 3));
              assertNull(cache.get("key"));
            });
    assertEquals(1, log.size(), log + "");
    assertTrue(log.getFirst().contains("nothing is kept in " + file.resolve("cache")), log + "");
    assertTrue(log.getFirst().contains("-Dsfumato.cuda.cache=…"), log + "");
  }

  @Test
  void whatWasNotUsedForLongestGoes() throws IOException {
    DiskCache cache = new DiskCache(folder, 3500);
    for (int i = 0; i < 3; i++) {
      cache.put("key " + i, value(i, 1000));
      for (Path f : files()) {
        FileTime before = Files.getLastModifiedTime(f);
        Files.setLastModifiedTime(f, FileTime.from(before.toInstant().minusSeconds(10)));
      }
    }
    assertArrayEquals(value(0, 1000), cache.get("key 0")); // used now
    Path left = Files.createFile(folder.resolve("entry1.part"));
    Files.setLastModifiedTime(left, FileTime.from(Instant.now().minusSeconds(10_000)));
    cache.put("key 3", value(3, 1000));
    assertArrayEquals(value(0, 1000), cache.get("key 0"));
    assertNull(cache.get("key 1"));
    assertArrayEquals(value(2, 1000), cache.get("key 2"));
    assertArrayEquals(value(3, 1000), cache.get("key 3"));
    assertTrue(Files.notExists(left), "left by a process that broke off");
    cache.put("large", value(4, 9000));
    assertArrayEquals(value(4, 9000), cache.get("large"), "the newest stays");
    assertEquals(1, files().size());
  }

  private static List<String> log(Runnable body) {
    return Logged.by(DiskCache.class, body);
  }
}
