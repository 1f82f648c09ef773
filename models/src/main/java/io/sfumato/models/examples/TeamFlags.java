// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.examples;

import io.sfumato.models.cli.Checked;
import io.sfumato.models.cli.Problems;
import io.sfumato.models.cli.Together;
import io.sfumato.models.distributed.CollectiveException;
import io.sfumato.models.distributed.Collectives;
import io.sfumato.models.distributed.ParallelOptions;
import io.sfumato.models.distributed.Ranks;
import io.sfumato.tensor.Device;
import picocli.CommandLine.Option;

/** Options of training by several processes, which mpirun starts. */
final class TeamFlags implements Checked, Together {
  private static final double MIB = 1048576;

  @Option(
      names = "--zero",
      description =
          "With mpirun: each process keeps the optimizer's state of a share of the parameters"
              + " (ZeRO stage 1).")
  private boolean zero;

  @Option(
      names = "--communication",
      description =
          "With mpirun: how gradients travel, mpi (by the host's memory) or nccl (from GPU to"
              + " GPU).",
      defaultValue = "mpi")
  private String communication = "mpi";

  @Option(
      names = "--bucket-mb",
      description = "With mpirun: MiB of gradients that are sent together.",
      defaultValue = "25")
  private double bucketMb = 25;

  @Option(
      names = "--check-ranks",
      description =
          "With mpirun: steps from one check that all processes have the same parameters to the"
              + " next; 0 for checks at the start and at checkpoints only.",
      defaultValue = "100")
  private int checkSteps = 100;

  @Override
  public void check(Problems problems) {
    problems.require(
        bucketMb > 0 && bucketMb <= 1024,
        "--bucket-mb must be above 0, and 1024 at most; got " + bucketMb);
    problems.require(
        communication.equals("mpi") || communication.equals("nccl"),
        "--communication must be mpi or nccl; got " + communication);
    problems.require(checkSteps >= 0, "--check-ranks must not be negative; got " + checkSteps);
  }

  /** Joins the processes that were started together, each with its device. */
  Collectives join(Device device) {
    Collectives joined = Ranks.join();
    if (communication.equals("mpi")) {
      return joined;
    }
    try {
      return Ranks.byNccl(joined, device);
    } catch (CollectiveException e) {
      joined.close(); // all ranks have the same reason
      throw e;
    }
  }

  /** The values. */
  ParallelOptions options() {
    long bytes = Math.max(1, Math.round(bucketMb * MIB));
    return new ParallelOptions(bytes, zero, checkSteps);
  }
}
