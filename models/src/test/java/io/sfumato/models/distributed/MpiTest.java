// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MpiTest {
  private static final String MAIN = RankPrograms.class.getName();

  @TempDir Path folder;

  @Test
  void twoProcessesDoEveryOperationAlike() {
    Path output = folder.resolve("output.txt");
    Process run = Mpirun.start(output, 2, List.of(), MAIN, "all");
    Mpirun.Ended ended = Mpirun.await(run, output, 60);
    assertEquals(0, ended.exitCode(), ended.output());
    assertTrue(ended.output().contains("Open MPI"), ended.output());
    assertTrue(ended.output().contains("[0, 0, 1, 1, 1] [1, 1, 1, 1, 1]"), ended.output());
    Matcher checks = Pattern.compile("rank (\\d) check (\\S+)").matcher(ended.output());
    assertTrue(checks.find(), ended.output());
    String one = checks.group(2);
    assertTrue(checks.find(), ended.output());
    assertEquals(one, checks.group(2));
  }

  @Test
  void theOtherRankEndsWithinSecondsOfAKillAndSaysWho() throws Exception {
    Path output = folder.resolve("output.txt");
    Process run = Mpirun.start(output, 2, List.of(), MAIN, "wait");
    Pattern line = Pattern.compile("rank 1 is process (\\d+)\\.");
    Matcher process = line.matcher("");
    for (int i = 0; i < 600 && run.isAlive() && !process.reset(Mpirun.read(output)).find(); i++) {
      Thread.sleep(50);
    }
    long pid = Long.parseLong(process.group(1));
    ProcessHandle.of(pid).orElseThrow().destroyForcibly();
    Mpirun.Ended ended = Mpirun.await(run, output, 20);
    assertTrue(ended.exitCode() != 0, ended.output());
    assertTrue(ended.seconds() < 10, "took " + ended.seconds() + " s");
    assertTrue(
        ended.output().contains("rank 1 (process " + pid + ") is gone")
            || ended.output().contains("process rank 1"), // mpirun's own words, if it was quicker
        ended.output());
  }

  @Test
  void aMissingLibraryIsOneLineWithTheRemedy() {
    Path output = folder.resolve("output.txt");
    Process run =
        Mpirun.start(
            output, 2, List.of("-Dsfumato.mpi.library=/nowhere/libmpi.so.40"), MAIN, "all");
    Mpirun.Ended ended = Mpirun.await(run, output, 60);
    assertEquals(2, ended.exitCode(), ended.output());
    String line =
        "MPI: the library was not found (tried /nowhere/libmpi.so.40); install Open MPI (Debian,"
            + " Ubuntu: apt-get install openmpi-bin)";
    assertTrue(ended.output().contains(line), ended.output());
  }

  @Test
  void aLibraryThatIsNoOpenMpiIsRefused() {
    Path output = folder.resolve("output.txt");
    Process run = Mpirun.start(output, 2, List.of("-Dsfumato.mpi.library=libm.so.6"), MAIN, "all");
    Mpirun.Ended ended = Mpirun.await(run, output, 60);
    assertTrue(ended.output().contains("libm.so.6 is no MPI library"), ended.output());
  }

  @Test
  void twoProcessesHaveTheLossesOfOneWithTheDoubledBatch() {
    double[] alone = TinyRun.losses(new Alone(), ParallelOptions.usual(), DType.F64, 4, 4);
    Path output = folder.resolve("output.txt");
    Process run = Mpirun.start(output, 2, List.of(), MAIN, "losses", "F64", "4", "4", "true");
    Mpirun.Ended ended = Mpirun.await(run, output, 100);
    assertEquals(0, ended.exitCode(), ended.output());
    for (int rank = 0; rank < 2; rank++) {
      Matcher line =
          Pattern.compile("losses of rank " + rank + ": \\[(.*?)\\]\\.").matcher(ended.output());
      assertTrue(line.find(), ended.output());
      String[] losses = line.group(1).split(", ", -1);
      for (int s = 0; s < 4; s++) {
        assertEquals(alone[s], Double.parseDouble(losses[s]), 1e-13 * alone[s], "step " + s);
      }
    }
  }

  @Test
  void aProgramThatIsTheWorkOfOneProcessSaysSo() {
    Path output = folder.resolve("output.txt");
    Process run =
        Mpirun.start(output, 2, List.of(), "io.sfumato.models.cli.Sfumato", "inspect", "x");
    Mpirun.Ended ended = Mpirun.await(run, output, 60);
    assertEquals(2, ended.exitCode(), ended.output());
    String line =
        "mpirun has started 2 processes, and sfumato inspect is the work of one; start it without"
            + " mpirun. Those that train share the work";
    assertTrue(ended.output().contains(line), ended.output());
  }

  @Test
  void aRankThatFailsEndsTheOthersWithItsReason() {
    Path output = folder.resolve("output.txt");
    Process run = Mpirun.start(output, 2, List.of(), MAIN, "throw");
    Mpirun.Ended ended = Mpirun.await(run, output, 60);
    assertTrue(ended.exitCode() != 0, ended.output());
    assertTrue(ended.output().contains("rank 1: this rank has lost its way"), ended.output());
  }
}
