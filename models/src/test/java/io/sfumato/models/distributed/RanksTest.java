// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;

class RanksTest {
  @Test
  void launchersAreKnownByTheirVariables() {
    assertEquals(1, Ranks.started(Map.of()));
    assertEquals(3, Ranks.started(Map.of("OMPI_COMM_WORLD_SIZE", "3", "PMIX_RANK", "0")));
    assertEquals(4, Ranks.started(Map.of("PMIX_RANK", "0", "SLURM_NTASKS", "4")));
    assertEquals(
        2,
        Ranks.started(Map.of("PMIX_RANK", "0", "SLURM_NTASKS", "4", "SLURM_STEP_NUM_TASKS", "2")));
    assertEquals(1, Ranks.started(Map.of("SLURM_NTASKS", "4"))); // a script, not a step
    assertEquals(1, Ranks.started(Map.of("PMI_RANK", "0", "PMI_SIZE", "1")));
  }

  @Test
  void anotherLauncherIsRefused() {
    String said =
        assertThrows(
                CollectiveException.class,
                () -> Ranks.started(Map.of("PMI_RANK", "0", "PMI_SIZE", "2")))
            .getMessage();
    assertTrue(said.contains("MPICH") && said.contains("srun --mpi=pmix"), said);
  }
}
