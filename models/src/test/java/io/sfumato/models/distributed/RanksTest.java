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

  @Test
  void ranksOfOneMachineAreCounted() {
    Map<String, String> mpirun =
        Map.of(
            "OMPI_COMM_WORLD_SIZE", "8",
            "OMPI_COMM_WORLD_LOCAL_SIZE", "4",
            "OMPI_COMM_WORLD_LOCAL_RANK", "3");
    assertEquals(4, Ranks.onThisMachine(mpirun));
    assertEquals(3, Ranks.numberOnThisMachine(mpirun));
    Map<String, String> srun =
        Map.of(
            "PMIX_RANK", "5",
            "SLURM_NTASKS", "11",
            "SLURM_STEP_TASKS_PER_NODE", "4(x2),3",
            "SLURM_LOCALID", "1");
    assertEquals(4, Ranks.onThisMachine(srun));
    assertEquals(1, Ranks.numberOnThisMachine(srun));
    assertEquals(1, Ranks.onThisMachine(Map.of("SLURM_LOCALID", "1")));
    assertEquals(0, Ranks.numberOnThisMachine(Map.of("SLURM_LOCALID", "1")));
  }
}
