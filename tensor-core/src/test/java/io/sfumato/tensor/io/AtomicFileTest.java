// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import static io.sfumato.tensor.io.TensorFiles.assertSays;
import static io.sfumato.tensor.io.TensorFiles.names;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir private Path folder;
  private Path file;

  @BeforeEach
  void oldFile() throws IOException {
    file = Files.writeString(folder.resolve("x.bin"), "old");
  }

  private void assertOldAndNothingElse() throws IOException {
    assertEquals(List.of("x.bin"), names(folder));
    assertEquals("old", Files.readString(file));
  }

  private static void put(FileChannel out, String text) throws IOException {
    AtomicFile.writeFully(out, ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void replacesAndCreates() throws IOException {
    AtomicFile.write(file, out -> put(out, "new"));
    AtomicFile.write(folder.resolve("y.bin"), out -> put(out, ""));
    assertEquals("new", Files.readString(file));
    assertEquals(List.of("x.bin", "y.bin"), names(folder));
  }

  @Test
  void anExceptionInTheMiddleLeavesTheOldFile() throws IOException {
    IOException broken = new IOException("broken");
    TensorFileException e =
        assertThrows(
            TensorFileException.class,
            () ->
                AtomicFile.write(
                    file,
                    out -> {
                      put(out, "half");
                      assertEquals("old", Files.readString(file));
                      assertEquals(2, names(folder).size());
                      throw broken;
                    }));
    assertSays(e, file, "cannot be written", "broken");
    assertSame(broken, e.getCause());
    assertOldAndNothingElse();
  }

  @Test
  void otherThrowablesPassThrough() throws IOException {
    for (Throwable t : List.of(new IllegalStateException("x"), new StackOverflowError("y"))) {
      assertSame(
          t,
          assertThrows(
              Throwable.class,
              () ->
                  AtomicFile.write(
                      file,
                      out -> {
                        put(out, "half");
                        if (t instanceof RuntimeException r) {
                          throw r;
                        }
                        throw (Error) t;
                      })));
      assertOldAndNothingElse();
    }
  }

  @Test
  void aFullDiskLeavesTheOldFile() throws IOException {
    Path full = Path.of("/dev/full"); // every write fails as on a full disk
    assumeTrue(Files.isWritable(full), "there is no /dev/full");
    TensorFileException e =
        assertThrows(
            TensorFileException.class,
            () ->
                AtomicFile.write(
                    file,
                    out -> {
                      put(out, "half");
                      try (FileChannel device = FileChannel.open(full, StandardOpenOption.WRITE)) {
                        put(device, "rest");
                      }
                    }));
    assertSays(e, file, "No space left on device");
    assertOldAndNothingElse();
  }

  @Test
  void aFileBeyondTheSystemsLimitLeavesTheOldFile() throws IOException {
    assertThrows(
        TensorFileException.class,
        () ->
            AtomicFile.write(
                file,
                out -> {
                  put(out, "half");
                  out.write(ByteBuffer.allocate(1), Long.MAX_VALUE - 1);
                }));
    assertOldAndNothingElse();
  }

  @Test
  void aClosedChannelLeavesTheOldFile() throws IOException {
    assertThrows(TensorFileException.class, () -> AtomicFile.write(file, FileChannel::close));
    assertOldAndNothingElse();
  }

  @Test
  void aMissingFolderIsNamed() throws IOException {
    Path missing = folder.resolve("none");
    TensorFileException e =
        assertThrows(
            TensorFileException.class,
            () -> AtomicFile.write(missing.resolve("y.bin"), out -> put(out, "new")));
    assertSays(e, missing.resolve("y.bin"), "there is no folder " + missing);
    assertOldAndNothingElse();
  }

  @Test
  void aFolderThatVanishesIsNamed() throws IOException {
    Path vanishing = Files.createDirectory(folder.resolve("sub"));
    Path target = vanishing.resolve("y.bin");
    TensorFileException e =
        assertThrows(
            TensorFileException.class,
            () ->
                AtomicFile.write(
                    target,
                    out -> {
                      put(out, "new");
                      for (String name : names(vanishing)) {
                        Files.delete(vanishing.resolve(name));
                      }
                      Files.delete(vanishing);
                    }));
    assertSays(e, target, "there is no folder " + vanishing);
    assertOldAndNothingElse();
  }

  @Test
  void aFolderThatForbidsWritingIsNamed() throws IOException {
    assumeTrue(Files.getFileStore(folder).supportsFileAttributeView(PosixFileAttributeView.class));
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("r-xr-xr-x"));
    try {
      assumeFalse(Files.isWritable(folder), "the superuser may write anywhere");
      TensorFileException e =
          assertThrows(
              TensorFileException.class, () -> AtomicFile.write(file, out -> put(out, "new")));
      assertSays(e, file, "AccessDenied");
    } finally {
      Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
    }
    assertOldAndNothingElse();
  }

  @Test
  void aFileSystemThatTakesNoFilesIsNamed() throws IOException {
    assumeTrue(Files.isDirectory(Path.of("/proc/self")), "there is no /proc");
    Path target = Path.of("/proc/self/y.bin");
    assertSays(
        assertThrows(
            TensorFileException.class, () -> AtomicFile.write(target, out -> put(out, "new"))),
        target,
        "cannot be written");
  }

  @Test
  void aFolderIsNotReplaced() throws IOException {
    Path sub = Files.createDirectory(folder.resolve("sub"));
    assertSays(
        assertThrows(
            TensorFileException.class, () -> AtomicFile.write(sub, out -> put(out, "new"))),
        sub,
        "cannot be written");
    assertTrue(Files.isDirectory(sub));
    assertEquals(List.of("sub", "x.bin"), names(folder));
  }

  @Test
  void whatIsNoPathOfAFileIsRefused() {
    for (Path path : List.of(Path.of("/"), Path.of(""))) {
      assertThrows(TensorFileException.class, () -> AtomicFile.write(path, out -> put(out, "new")));
    }
  }

  @Test
  void longNamesAndRelativePathsWork() throws IOException {
    for (String name : List.of("n".repeat(250), "é😀".repeat(30))) {
      AtomicFile.write(folder.resolve(name), out -> put(out, "new"));
      assertEquals("new", Files.readString(folder.resolve(name)));
    }
    Path relative = Path.of("").toAbsolutePath().relativize(folder).resolve("x.bin");
    AtomicFile.write(relative, out -> put(out, "relative"));
    assertEquals("relative", Files.readString(file));
  }

  @Test
  void aSymbolicLinkIsReplacedNotFollowed() throws IOException {
    Path link = folder.resolve("link");
    Files.createSymbolicLink(link, file);
    AtomicFile.write(link, out -> put(out, "new"));
    assertEquals("old", Files.readString(file));
    assertEquals("new", Files.readString(link));
  }

  @Test
  void permissionsFollowTheUmask() throws IOException {
    assumeTrue(Files.getFileStore(folder).supportsFileAttributeView(PosixFileAttributeView.class));
    Path plain = Files.writeString(folder.resolve("plain"), "");
    AtomicFile.write(folder.resolve("atomic"), out -> put(out, ""));
    assertEquals(
        Files.getPosixFilePermissions(plain),
        Files.getPosixFilePermissions(folder.resolve("atomic")));
  }

  @Test
  void ofConcurrentWritersOneWinsWhole() throws Exception {
    int writers = 4;
    int size = 100_000;
    AtomicFile.write(file, out -> AtomicFile.writeFully(out, ByteBuffer.allocate(size)));
    try (ExecutorService pool = Executors.newFixedThreadPool(writers)) {
      List<Future<?>> done = new ArrayList<>();
      for (int w = 1; w <= writers; w++) {
        byte[] content = new byte[size];
        Arrays.fill(content, (byte) w);
        done.add(
            pool.submit(
                () -> {
                  for (int i = 0; i < 15; i++) {
                    AtomicFile.write(
                        file,
                        out -> {
                          AtomicFile.writeFully(out, ByteBuffer.wrap(content, 0, size / 2));
                          AtomicFile.writeFully(out, ByteBuffer.wrap(content, size / 2, size / 2));
                        });
                  }
                }));
      }
      while (done.stream().anyMatch(f -> !f.isDone())) {
        byte[] seen = Files.readAllBytes(file);
        assertEquals(size, seen.length);
        byte[] uniform = new byte[size];
        Arrays.fill(uniform, seen[0]);
        assertEquals(-1, Arrays.mismatch(seen, uniform));
      }
      for (Future<?> f : done) {
        f.get(60, TimeUnit.SECONDS);
      }
    }
    assertEquals(List.of("x.bin"), names(folder));
  }
}
