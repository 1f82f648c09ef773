// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.models.data.LossCsv;
import io.sfumato.models.train.DiffusionTrainer;
import io.sfumato.models.train.Interrupts;
import io.sfumato.models.train.Trainee;
import io.sfumato.models.train.TrainingRun;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.ops.Updates;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TeamTest {
  private static final int STEPS = 4;
  private static final int BATCH = 6;

  @ParameterizedTest
  @CsvSource({"2,F64,false,1e-13", "3,F64,true,1e-13", "2,F32,false,1e-6", "3,F32,true,1e-6"})
  void ranksHaveTheLossesOfOneProcessWithTheWholeBatch(
      int ranks, DType type, boolean zero, double tolerance) {
    double[] alone = TinyRun.losses(new Alone(), ParallelOptions.usual(), type, BATCH, STEPS);
    assertNotEquals(alone[0], alone[1]);
    ParallelOptions options = ParallelOptions.usual().zero(zero).bucketBytes(2000).checkSteps(1);
    for (double[] losses :
        ThreadRanks.run(ranks, c -> TinyRun.losses(c, options, type, BATCH, STEPS))) {
      for (int s = 0; s < STEPS; s++) {
        assertEquals(alone[s], losses[s], tolerance * alone[s], "step " + (s + 1));
      }
    }
  }

  /** Two steps as ranks, a checkpoint, and the rest of the steps as others. */
  private static List<double[]> part(
      int ranks, boolean zero, Path from, Path to, long first, int steps) {
    return ThreadRanks.run(
        ranks,
        c -> {
          Team team = new Team(c, ParallelOptions.usual().zero(zero));
          try (DiffusionTrainer own = TinyRun.trainer(team, DType.F64, BATCH)) {
            team.begin(Map.of());
            if (!team.leads()) {
              team.follow(own);
              return new double[0];
            }
            Trainee led = team.leading(own);
            if (from != null) {
              led.restore(from, first);
            }
            double[] losses = new double[steps];
            for (int s = 0; s < steps; s++) {
              losses[s] = led.step(1e-2).loss();
            }
            led.save(to);
            assertTrue(team.cost().startsWith("communication: "), team.cost());
            team.end();
            return losses;
          }
        });
  }

  @ParameterizedTest
  @CsvSource({"3,true,2,true", "2,true,1,false", "1,false,3,true"})
  void aCheckpointOfSomeRanksIsGoneOnFromByOthers(
      int before, boolean zeroBefore, int after, boolean zeroAfter, @TempDir Path folder)
      throws Exception {
    double[] alone = TinyRun.losses(new Alone(), ParallelOptions.usual(), DType.F64, BATCH, STEPS);
    Path saved = Files.createDirectory(folder.resolve("saved"));
    Path last = Files.createDirectory(folder.resolve("last"));
    double[] one = part(before, zeroBefore, null, saved, 0, 2).getFirst();
    double[] two = part(after, zeroAfter, saved, last, 2, 2).getFirst();
    for (int s = 0; s < STEPS; s++) {
      double loss = s < 2 ? one[s] : two[s - 2];
      assertEquals(alone[s], loss, 1e-12 * alone[s], "step " + (s + 1));
    }
  }

  @Test
  void aRunOfTwoRanksWritesOnceWhatOneProcessWrites(@TempDir Path folder) throws Exception {
    TrainingRun.Options options = TrainingRun.Options.steps(STEPS).checkpointSteps(2);
    List<List<LossCsv.Row>> losses = new ArrayList<>();
    for (int ranks : new int[] {1, 2}) {
      Path out = folder.resolve("" + ranks);
      try (Interrupts interrupts = Interrupts.catchSignals()) {
        TrainingRun run = new TrainingRun(out, options, interrupts);
        if (ranks == 1) {
          TinyRun.train(new Alone(), DType.F64, BATCH, run);
        } else {
          ThreadRanks.run(
              2,
              c -> {
                TinyRun.train(c, DType.F64, BATCH, run);
                return c;
              });
        }
      }
      losses.add(LossCsv.read(out.resolve("loss.csv")));
      List<String> metrics = Files.readAllLines(out.resolve("metrics.jsonl"));
      assertEquals(STEPS, metrics.size());
      for (String line : metrics) {
        assertEquals(ranks == 2, line.contains("\"communication_bytes\":"), line);
      }
      assertTrue(Files.exists(out.resolve("checkpoint/training/optimizer.safetensors")));
    }
    assertEquals(STEPS, losses.get(0).size());
    for (int s = 0; s < STEPS; s++) {
      double alone = losses.get(0).get(s).loss();
      assertEquals(alone, losses.get(1).get(s).loss(), 1e-13 * alone);
    }
  }

  @Test
  void settingsThatDifferAreNamedOnEveryRank() {
    List<String> said =
        ThreadRanks.run(
            3,
            c -> {
              Map<String, String> own =
                  c.rank() == 1
                      ? Map.of("seed", "1", "pictures", "100", "version", "0.1")
                      : Map.of("seed", "0", "pictures", "100", "batch = size", "8");
              Team team = new Team(c, ParallelOptions.usual());
              return assertThrows(CollectiveException.class, () -> team.begin(own)).getMessage();
            });
    for (String message : said) {
      assertEquals(
          "the ranks differ in their settings: batch = size is 8 on rank 0 and absent on rank 1;"
              + " seed is 0 on rank 0 and 1 on rank 1; version is absent on rank 0 and 0.1 on"
              + " rank 1",
          message);
    }
  }

  @Test
  void whatOneRankChangesByItselfIsFoundAtTheNextCheck() {
    List<String> said =
        ThreadRanks.run(
            2,
            c -> {
              Team team = new Team(c, ParallelOptions.usual().checkSteps(2));
              try (DiffusionTrainer own = TinyRun.trainer(team, DType.F32, BATCH)) {
                team.begin(Map.of());
                return assertThrows(
                        CollectiveException.class,
                        () -> {
                          if (!team.leads()) {
                            team.follow(own);
                            return;
                          }
                          Trainee led = team.leading(own);
                          led.step(1e-2);
                          var first = own.updates().getFirst().parameters().getFirst();
                          Updates.copy(first.value(), first.value().mul(1.5));
                          led.step(1e-2);
                        })
                    .getMessage();
              }
            });
    said.forEach(message -> assertTrue(message.contains("conv_in.weight of rank 1"), message));
  }

  @Test
  void losesNothingToBatchesThatCannotBeShared() {
    assertArrayEquals(new boolean[] {true, true}, new boolean[] {refuses(4), refuses(5)});
  }

  private static boolean refuses(int ranks) {
    AssertionError error =
        assertThrows(
            AssertionError.class,
            () ->
                ThreadRanks.run(
                    ranks, c -> TinyRun.losses(c, ParallelOptions.usual(), DType.F32, BATCH, 1)));
    return error.getMessage().contains("a batch of 6 cannot be shared out equally");
  }
}
