// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.LogCapture;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** Which checkpoints stay, and which one is read when files are missing or damaged. */
class CheckpointTest {
  @TempDir Path folder;
  @RegisterExtension final LogCapture log = new LogCapture("io.sfumato.models");

  private Path checkpoint() {
    return folder.resolve("checkpoint");
  }

  private void save(long step, int keep) {
    Checkpoint.save(
        checkpoint(),
        keep,
        new Checkpoint.State(step, step, Map.of("a", "b"), List.of("c")),
        to -> write(to.resolve("model/weights"), "weights of step " + step));
  }

  private static void write(Path file, String text) {
    try {
      Files.createDirectories(file.getParent());
      Files.writeString(file, text);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private List<String> history() throws IOException {
    Path history = folder.resolve("checkpoint-history");
    if (!Files.exists(history)) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(history)) {
      return all.map(p -> p.getFileName().toString()).sorted().toList();
    }
  }

  private long found() {
    return Checkpoint.readState(Checkpoint.find(checkpoint())).step();
  }

  @Test
  void asManyOlderOnesStayAsAreWanted() throws Exception {
    assertNull(Checkpoint.find(checkpoint()));
    for (int step = 1; step <= 4; step++) {
      save(10 * step, 2);
    }
    assertEquals(List.of("step-000000020", "step-000000030"), history());
    save(50, 0);
    assertEquals(List.of(), history());
    assertEquals(50, found());
  }

  @Test
  void checkpointsFormALine() {
    save(1, 1);
    Manifest first = Manifest.read(checkpoint());
    assertNull(first.parent());
    save(2, 1);
    Manifest second = Manifest.read(checkpoint());
    assertEquals(first.id(), second.parent());
    assertNotEquals(first.id(), second.id());
    assertEquals(2, second.step());
  }

  @Test
  void theNewestWholeOneIsRead() throws Exception {
    save(1, 2);
    save(2, 2);
    save(3, 2);
    Files.writeString(checkpoint().resolve("model/weights"), "weights of step 4"); // same size
    assertEquals(2, found());
    String line = log.lines().getLast();
    assertTrue(line.contains("model/weights is damaged"), line);
    assertTrue(line.endsWith("step-000000002 instead"), line);
    Files.delete(folder.resolve("checkpoint-history/step-000000002/model/weights"));
    assertEquals(1, found());
    Files.writeString(
        folder.resolve("checkpoint-history/step-000000001/training/manifest.json"), "{}");
    String message =
        assertThrows(IllegalArgumentException.class, () -> Checkpoint.find(checkpoint()))
            .getMessage();
    assertTrue(message.contains("no checkpoint is whole"), message);
    assertTrue(message.contains("model/weights is missing"), message);
    assertTrue(message.contains("its id does not fit"), message);
  }

  /** A file cut off, one that a manifest claims outside of the folder. */
  @Test
  void whatIsWrongIsNamed() throws Exception {
    save(1, 0);
    Files.writeString(checkpoint().resolve("model/weights"), "weights");
    assertEquals(
        "model/weights has 7 bytes instead of 17", Manifest.problem(checkpoint()).toString());
    Files.delete(checkpoint().resolve("training/manifest.json"));
    assertTrue(Manifest.problem(checkpoint()).contains("manifest.json"));
  }

  /** A run that was killed between the two renames. */
  @Test
  void aCompleteOneUnderItsTemporaryNameIsTheNewest() throws Exception {
    save(7, 1);
    save(8, 1);
    Files.move(checkpoint(), folder.resolve("checkpoint.new"));
    assertEquals(8, found());
    assertTrue(Files.notExists(folder.resolve("checkpoint.new")));
    Files.move(checkpoint(), folder.resolve("checkpoint.new"));
    Files.delete(folder.resolve("checkpoint.new/model/weights")); // not complete
    assertEquals(7, found());
    save(9, 1);
    assertEquals(9, found());
    assertTrue(Files.notExists(folder.resolve("checkpoint.new")));
  }

  /** A damaged one is kept aside, never in place of an older whole one. */
  @Test
  void savingOverADamagedOneKeepsTheOlder() throws Exception {
    save(1, 1);
    save(2, 1);
    Files.writeString(checkpoint().resolve("training/manifest.json"), "no json");
    save(3, 1);
    assertEquals(3, found());
    assertEquals(List.of("damaged", "step-000000001"), history());
  }

  @Test
  void aNewRunInTheSameFolderDoesNotKeepThoseOfTheOldOne() throws Exception {
    save(100, 3);
    save(200, 3);
    save(5, 3);
    assertEquals(List.of(), history());
    assertEquals(5, found());
  }

  @Test
  void aFolderHasOneRunAtATime() throws Exception {
    try (RunLock lock = RunLock.take(folder)) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> RunLock.take(folder)).getMessage();
      long pid = ProcessHandle.current().pid();
      assertTrue(message.contains("another run writes here (process " + pid + ")"), message);
    }
    RunLock.take(folder).close();
  }
}
