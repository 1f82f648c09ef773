// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Golden;
import org.junit.jupiter.api.Test;

/** The loss scale against {@code torch.amp.GradScaler}, and what it refuses. */
class LossScaleTest {
  @Test
  void followsGradScalerThroughGrowthBackoffAndTheEndOfTheRange() {
    Golden golden = new Golden("loss_scale.txt");
    double[] overflow = golden.get("overflow");
    LossScale scale = new LossScale(new LossScale.Options(0x1p125, 2, 0.5, 3));
    for (int i = 0; i < overflow.length; i++) {
      scale.update(overflow[i] != 0);
      assertEquals(golden.get("scale")[i], scale.scale(), "scale after step " + i);
      assertEquals(golden.get("good")[i], scale.goodSteps(), "good steps after step " + i);
    }
    LossScale other = new LossScale(LossScale.Options.DEFAULT);
    other.restore(scale.scale(), scale.goodSteps());
    assertEquals(scale.scale(), other.scale());
    assertEquals(scale.goodSteps(), other.goodSteps());
  }

  @Test
  void wrongNumbersAreNamedTogether() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> new LossScale.Options(0, 0.5, 1.5, 0))
            .getMessage();
    for (String word : new String[] {"initial", "growth", "backoff", "interval"}) {
      assertTrue(message.contains(word), message);
    }
  }
}
