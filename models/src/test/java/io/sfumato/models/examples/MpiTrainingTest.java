// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.sfumato.models.data.LossCsv;
import io.sfumato.models.distributed.Mpirun;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The programs under a real mpirun; mvn -Pslow, since each JVM compiles the whole of a U-Net. */
@Tag("slow")
class MpiTrainingTest {
  @TempDir Path folder;

  private static String[] options(Path out, int batch, String... more) {
    List<String> options =
        new ArrayList<>(
            List.of("--steps", "6", "--size", "16", "--batch", "" + batch, "--device", "cpu"));
    options.addAll(List.of("--samples-per-class", "1", "--out", out.toString()));
    options.addAll(List.of(more));
    return options.toArray(String[]::new);
  }

  private Mpirun.Ended together(Class<?> program, Path out, String... more) {
    Path output = folder.resolve("output.txt");
    List<String> command = new ArrayList<>(List.of(program.getName()));
    command.addAll(List.of(options(out, 4, more)));
    Process run = Mpirun.start(output, 2, List.of(), command.toArray(String[]::new));
    return Mpirun.await(run, output, 300);
  }

  private static void assertSame(List<LossCsv.Row> wanted, List<LossCsv.Row> got, double relative) {
    assertEquals(wanted.size(), got.size());
    for (int i = 0; i < wanted.size(); i++) {
      double loss = wanted.get(i).loss();
      assertEquals(loss, got.get(i).loss(), relative * Math.abs(loss), "step " + (i + 1));
    }
  }

  private static List<LossCsv.Row> losses(Path run) {
    return LossCsv.read(run.resolve("loss.csv"));
  }

  @Test
  void twoProcessesTrainAsOneWithTheDoubledBatchAndGoOnAsOne() {
    String[] ddim = {"--sampler", "ddim"};
    Path one = folder.resolve("one");
    assertEquals(0, TrainDdpm.run(options(one, 8, ddim)));

    Path two = folder.resolve("two");
    Mpirun.Ended ended = together(TrainDdpm.class, two, ddim);
    assertEquals(0, ended.exitCode(), ended.output());
    assertTrue(ended.output().contains("communication: "), ended.output());
    assertEquals(1, ended.output().split("parameters\n", -1).length - 1, ended.output());
    assertTrue(Files.exists(two.resolve("samples.png")));
    assertSame(losses(one), losses(two), 1e-6);

    Path three = folder.resolve("three");
    ended = together(TrainDdpm.class, three, "--sampler", "ddim", "--zero", "--stop-after", "3");
    assertEquals(0, ended.exitCode(), ended.output());
    assertEquals(0, TrainDdpm.run(options(three, 8, "--sampler", "ddim", "--resume")));
    assertSame(losses(one), losses(three), 1e-6);
  }

  /** Programs of one stage or two; what comes beside the training comes once. */
  static Stream<Arguments> programs() {
    return Stream.of(
        arguments(TrainVae.class, List.of("."), List.of()),
        arguments(TrainVqVae.class, List.of("autoencoder", "."), List.of()),
        arguments(TrainAutoencoder.class, List.of("."), List.of("--discriminator-start", "2")),
        arguments(TrainGan.class, List.of("."), List.of()),
        arguments(
            TrainLatentDiffusion.class,
            List.of("autoencoder", "."),
            List.of("--sampling-steps", "2", "--cache-latents")),
        arguments(FinetuneLora.class, List.of("base", "."), List.of("--sampling-steps", "2")));
  }

  @ParameterizedTest
  @MethodSource("programs")
  void everyProgramTrainsAsOneProcessWithTheDoubledBatch(
      Class<?> program, List<String> runs, List<String> more) throws Exception {
    String[] options = more.toArray(String[]::new);
    Path one = folder.resolve("one");
    Method run = program.getDeclaredMethod("run", String[].class);
    assertEquals(0, run.invoke(null, (Object) options(one, 8, options)));
    Path two = folder.resolve("two");
    Mpirun.Ended ended = together(program, two, options);
    assertEquals(0, ended.exitCode(), ended.output());
    for (String part : runs) {
      assertSame(losses(one.resolve(part)), losses(two.resolve(part)), 1e-5);
    }
    assertEquals(
        runs.size(), ended.output().split("communication: ", -1).length - 1, ended.output());
    assertEquals(files(one), files(two));
  }

  private static List<String> files(Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      return all.filter(Files::isRegularFile)
          .map(f -> folder.relativize(f).toString())
          .filter(f -> !f.startsWith("latents"))
          .sorted()
          .toList();
    }
  }
}
