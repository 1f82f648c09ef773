// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.sfumato.models.train.StepResult;
import io.sfumato.models.train.Trainee;
import io.sfumato.tensor.DType;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Whatever is trained: several ranks have the losses, and the norms of the gradients, of one
 * process with the whole batch. With statistics of batches, codebooks of averages, penalties on
 * gradients, and two models that learn from each other.
 */
class EveryTrainerTest {
  private static final int BATCH = 6;
  private static final int STEPS = 4;

  @SuppressWarnings("ArrayRecordComponent") // a result, never compared
  private record Run(double[] losses, double[] norms) {}

  private static Run run(Collectives ranks, String kind, DType type, int accumulate, boolean zero) {
    Team team = new Team(ranks, ParallelOptions.usual().zero(zero).checkSteps(1));
    try (TinyTrainers all = new TinyTrainers(team, type, BATCH);
        Trainee own = all.trainer(kind, accumulate)) {
      team.begin(Map.of());
      double[] losses = new double[STEPS];
      double[] norms = new double[STEPS];
      if (!team.leads()) {
        team.follow(own);
        return new Run(losses, norms);
      }
      Trainee led = team.leading(own);
      for (int s = 0; s < STEPS; s++) {
        StepResult result = led.step(1e-3);
        losses[s] = result.loss();
        norms[s] = result.gradientNorm();
      }
      team.end();
      return new Run(losses, norms);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "vae,F64,2,1,false,1e-12",
    "vae,F32,3,1,true,1e-6",
    "vqvae,F64,3,1,false,1e-11",
    "vqvae,F64,2,2,false,1e-11",
    "prior,F64,3,1,true,1e-12",
    "kl,F64,2,1,false,1e-9",
    "kl,F64,3,2,true,1e-9",
    "vq,F64,3,1,false,1e-12",
    "gan,F64,3,1,false,1e-9",
    "gan,F64,2,2,true,1e-9",
    "r1,F64,2,1,false,1e-9",
    "wgan,F64,2,1,false,1e-9",
    "adapter,F64,2,1,true,1e-12",
    "adapter,F32,3,1,false,1e-6"
  })
  void ranksTrainAsOneProcessWithTheWholeBatch(
      String kind, DType type, int ranks, int accumulate, boolean zero, double tolerance) {
    Run alone = run(new Alone(), kind, type, accumulate, false);
    assertNotEquals(alone.losses[0], alone.losses[1]);
    Run led = ThreadRanks.run(ranks, c -> run(c, kind, type, accumulate, zero)).getFirst();
    for (int s = 0; s < STEPS; s++) {
      String step = "step " + (s + 1);
      assertEquals(alone.losses[s], led.losses[s], tolerance * Math.abs(alone.losses[s]), step);
      assertEquals(alone.norms[s], led.norms[s], 100 * tolerance * alone.norms[s], step);
    }
  }
}
