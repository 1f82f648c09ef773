// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.LossCsv;
import io.sfumato.models.distributed.Mpirun;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The programs under a real mpirun; mvn -Pslow, since each JVM compiles the whole of a U-Net. */
@Tag("slow")
class MpiTrainingTest {
  @TempDir Path folder;

  private static String[] options(Path out, int batch, String... more) {
    List<String> options =
        new ArrayList<>(
            List.of("--steps", "6", "--size", "8", "--batch", "" + batch, "--device", "cpu"));
    options.addAll(List.of("--samples-per-class", "1", "--sampler", "ddim"));
    options.addAll(List.of("--out", out.toString()));
    options.addAll(List.of(more));
    return options.toArray(String[]::new);
  }

  private Mpirun.Ended together(Path out, String... more) {
    Path output = folder.resolve("output.txt");
    List<String> command = new ArrayList<>(List.of(TrainDdpm.class.getName()));
    command.addAll(List.of(options(out, 4, more)));
    Process run = Mpirun.start(output, 2, List.of(), command.toArray(String[]::new));
    return Mpirun.await(run, output, 300);
  }

  private static void assertSame(List<LossCsv.Row> wanted, List<LossCsv.Row> got) {
    assertEquals(wanted.size(), got.size());
    for (int i = 0; i < wanted.size(); i++) {
      assertEquals(wanted.get(i).loss(), got.get(i).loss(), 1e-6 * wanted.get(i).loss());
    }
  }

  @Test
  void twoProcessesTrainAsOneWithTheDoubledBatchAndGoOnAsOne() {
    Path one = folder.resolve("one");
    assertEquals(0, TrainDdpm.run(options(one, 8)));
    List<LossCsv.Row> alone = LossCsv.read(one.resolve("loss.csv"));

    Path two = folder.resolve("two");
    Mpirun.Ended ended = together(two);
    assertEquals(0, ended.exitCode(), ended.output());
    assertTrue(ended.output().contains("communication: "), ended.output());
    assertEquals(1, ended.output().split("parameters\n", -1).length - 1, ended.output());
    assertTrue(Files.exists(two.resolve("samples.png")));
    assertSame(alone, LossCsv.read(two.resolve("loss.csv")));

    Path three = folder.resolve("three");
    ended = together(three, "--zero", "--stop-after", "3");
    assertEquals(0, ended.exitCode(), ended.output());
    assertEquals(0, TrainDdpm.run(options(three, 8, "--resume")));
    assertSame(alone, LossCsv.read(three.resolve("loss.csv")));
  }

  @Test
  void programsThatTrainInOneProcessSaySo() {
    Path output = folder.resolve("output.txt");
    Process run =
        Mpirun.start(
            output,
            2,
            List.of(),
            TrainGan.class.getName(),
            "--out",
            folder.resolve("gan").toString());
    Mpirun.Ended ended = Mpirun.await(run, output, 100);
    assertEquals(2, ended.exitCode(), ended.output());
    assertTrue(ended.output().contains("trains in one process"), ended.output());
    assertFalse(Files.exists(folder.resolve("gan")));
  }
}
