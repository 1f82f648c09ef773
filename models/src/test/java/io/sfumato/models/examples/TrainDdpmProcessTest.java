// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.models.ChildJvm;
import io.sfumato.models.data.LossCsv;
import io.sfumato.models.train.Checkpoint;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The main job as a process: signals in the middle of it, and what they leave. */
class TrainDdpmProcessTest {
  @TempDir Path folder;

  @BeforeAll
  static void unix() {
    assumeTrue(Files.isExecutable(Path.of("/bin/kill")), "signals are sent by kill");
  }

  private ChildJvm train(String... more) throws IOException {
    return train(List.of(), List.of(), more);
  }

  private ChildJvm train(List<String> prefix, List<String> options, String... more)
      throws IOException {
    List<String> args = new ArrayList<>(List.of("--out", out().toString(), "--threads", "1"));
    args.addAll(List.of("--steps", "1000000"));
    List<String> given = List.of(more);
    if (!given.contains("--size")) {
      args.addAll(List.of("--size", "8", "--batch", "4"));
    }
    args.addAll(given);
    return ChildJvm.start(
        prefix, options, folder.resolve("output"), TrainDdpm.class, args.toArray(String[]::new));
  }

  private Path out() {
    return folder.resolve("out");
  }

  private boolean steps(int n) {
    Path csv = out().resolve("loss.csv");
    return Files.exists(csv) && LossCsv.read(csv).size() >= n;
  }

  /** SIGTERM: the one of the signals that no shell lets a child ignore. */
  @Test
  void anInterruptedRunKeepsEverything() throws Exception {
    assertInterrupted("TERM");
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"INT", "HUP"})
  void soItIsForOtherSignals(String signal) throws Exception {
    assertInterrupted(signal);
  }

  private void assertInterrupted(String signal) throws Exception {
    try (ChildJvm child = train()) {
      child.await(() -> steps(2));
      assumeTrue(isCaught(child, signal), "SIG" + signal + " is ignored by whoever started this");
      child.signal(signal);
      assertEquals(130, child.exitCode(), child.text());
      long step = Checkpoint.readState(out().resolve("checkpoint")).step();
      String line = "interrupted at step " + step + "; the checkpoint is in " + out();
      assertEquals(1, child.text().lines().filter(l -> l.startsWith(line)).count(), child.text());
      List<LossCsv.Row> rows = LossCsv.read(out().resolve("loss.csv"));
      assertEquals(step, rows.getLast().step());
      assertTrue(ImageIO.read(out().resolve("loss.png").toFile()).getWidth() > 50);
      assertFalse(Files.exists(out().resolve("checkpoint.new")));
      assertFalse(Files.exists(out().resolve("checkpoint.old")));
    }
  }

  /** Whether the process has a handler for the signal; true where that cannot be seen. */
  private static boolean isCaught(ChildJvm child, String signal) throws IOException {
    Path status = Path.of("/proc/" + child.pid() + "/status");
    if (!Files.exists(status)) {
      return true;
    }
    int number = signal.equals("INT") ? 2 : signal.equals("HUP") ? 1 : 15;
    return Files.readAllLines(status).stream()
        .filter(l -> l.startsWith("SigCgt:"))
        .mapToLong(l -> Long.parseUnsignedLong(l.substring(7).strip(), 16))
        .allMatch(mask -> (mask >> (number - 1) & 1) == 1);
  }

  @Tag("slow")
  @Test
  void anInterruptStopsTheSamplingToo() throws Exception {
    try (ChildJvm child = train("--stop-after", "1", "--sampling-steps", "1000")) {
      child.await(() -> child.text().contains("sampling"));
      child.signal("TERM");
      assertEquals(130, child.exitCode(), child.text());
      assertTrue(child.text().contains("interrupted at step 1"), child.text());
      assertFalse(Files.exists(out().resolve("samples.png")));
    }
  }

  /** Almost all the time of such a run goes into its checkpoints. */
  @Tag("slow")
  @Test
  void aKilledRunCanBeResumed() throws Exception {
    Random random = new Random(1);
    long step = 0;
    for (int round = 0; round < 6; round++) {
      String[] more = {"--checkpoint-seconds", "0", "--resume"};
      try (ChildJvm child = train(round == 0 ? new String[] {more[0], more[1]} : more)) {
        long from = step;
        child.await(() -> steps((int) from + 2));
        Thread.sleep(random.nextInt(200));
        child.kill();
      }
      Path left = Checkpoint.find(out().resolve("checkpoint"));
      assertTrue(left != null, "no checkpoint in round " + round);
      long now = Checkpoint.readState(left).step();
      assertTrue(now > step, now + " after " + step);
      step = now;
    }
    try (ChildJvm child =
        train("--resume", "--stop-after", Long.toString(step + 1), "--sampling-steps", "1")) {
      assertEquals(0, child.exitCode(), child.text());
      assertTrue(child.text().contains("going on from step " + step), child.text());
      assertEquals(step + 1, LossCsv.read(out().resolve("loss.csv")).size());
    }
  }

  /** A limit on the size of files stands for a full disk: the system refuses to write on. */
  @Tag("slow")
  @Test
  void aCheckpointThatCannotBeWrittenLeavesTheOneBefore() throws Exception {
    try (ChildJvm child = train("--stop-after", "1", "--sampling-steps", "1")) {
      assertEquals(0, child.exitCode(), child.text());
    }
    List<String> limited = List.of("/bin/sh", "-c", "ulimit -f 10000; exec \"$@\"", "sh");
    try (ChildJvm child = train(limited, List.of(), "--resume", "--stop-after", "3")) {
      assertEquals(1, child.exitCode(), child.text());
      String last = child.text().strip().lines().toList().getLast();
      assertTrue(last.contains("optimizer.safetensors: cannot be written"), child.text());
      assertFalse(child.text().contains("\tat "), child.text());
    }
    assertFalse(Files.exists(out().resolve("checkpoint.new")));
    assertEquals(1, Checkpoint.readState(out().resolve("checkpoint")).step());
    try (ChildJvm child = train("--resume", "--stop-after", "2", "--sampling-steps", "1")) {
      assertEquals(0, child.exitCode(), child.text());
      assertTrue(child.text().contains("going on from step 1"), child.text());
    }
  }

  @Test
  void tooLittleMemoryIsOneLine() throws Exception {
    assertOutOfMemory("-Dsfumato.cpu.memory=40000000");
  }

  @Tag("slow")
  @Test
  void tooSmallAHeapIsOneLine() throws Exception {
    assertOutOfMemory("-Xmx24m");
  }

  private void assertOutOfMemory(String limit) throws Exception {
    try (ChildJvm child = train(List.of(), List.of(limit), "--size", "64", "--batch", "64")) {
      assertEquals(2, child.exitCode(), child.text());
      String last = child.text().strip().lines().toList().getLast();
      assertTrue(last.contains("out of memory"), child.text());
      assertFalse(child.text().contains("\tat "), child.text());
    }
  }
}
