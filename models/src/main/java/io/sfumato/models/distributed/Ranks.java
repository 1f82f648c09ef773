// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.exec.Backends;
import java.util.Map;

/**
 * Finds out whether this process is one of several: started by Open MPI's {@code mpirun}, or by
 * Slurm's {@code srun --mpi=pmix}, which say so by environment variables.
 */
public final class Ranks {
  /** A system property: seconds to wait for other ranks before the run is given up. */
  public static final String TIMEOUT = "sfumato.ranks.timeout";

  private static final double USUAL_TIMEOUT = 300;

  private Ranks() {}

  /** The number of processes that were started together, 1 for a process by itself. */
  public static int started() {
    return started(System.getenv());
  }

  static int started(Map<String, String> environment) {
    String size = environment.get("OMPI_COMM_WORLD_SIZE");
    if (size == null && environment.containsKey("PMIX_RANK")) {
      size = environment.getOrDefault("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS"));
    }
    if (size == null && environment.containsKey("PMI_RANK")) {
      size = environment.getOrDefault("PMI_SIZE", "1");
      if (number(size) > 1) {
        throw new CollectiveException(
            "this process is one of "
                + size
                + " that another launcher than Open MPI's has started (PMI_RANK is set, as by"
                + " MPICH's mpirun, or srun --mpi=pmi2); use Open MPI's mpirun, or srun"
                + " --mpi=pmix");
      }
    }
    return size == null ? 1 : number(size);
  }

  /** The number of these processes on this machine. */
  public static int onThisMachine() {
    return onThisMachine(System.getenv());
  }

  static int onThisMachine(Map<String, String> environment) {
    String local = environment.get("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (local == null && started(environment) > 1) {
      // 4(x2),3: four on each of two machines, three on the last
      local = environment.getOrDefault("SLURM_STEP_TASKS_PER_NODE", "1").split("[(,]", -1)[0];
    }
    return local == null ? 1 : Math.max(1, number(local));
  }

  /** This process's number among those on this machine, from 0. */
  public static int numberOnThisMachine() {
    return numberOnThisMachine(System.getenv());
  }

  static int numberOnThisMachine(Map<String, String> environment) {
    String local = environment.get("OMPI_COMM_WORLD_LOCAL_RANK");
    if (local == null && started(environment) > 1) {
      local = environment.get("SLURM_LOCALID");
    }
    return local == null ? 0 : number(local);
  }

  private static int number(String size) {
    try {
      return Integer.parseInt(size.strip());
    } catch (NumberFormatException e) {
      throw new CollectiveException(
          "the number of ranks is no number: " + size + " (OMPI_COMM_WORLD_SIZE, SLURM_NTASKS)", e);
    }
  }

  /**
   * Joins the ranks that were started together; {@link Alone} if it is one process. Once per
   * process, since MPI can be initialised once.
   *
   * @throws CollectiveException in one line, with the remedy, if they cannot be joined
   */
  public static Collectives join() {
    if (started() == 1) {
      return new Alone();
    }
    HostCollectives joined = new HostCollectives(() -> new Mpi(MpiLibrary.open()), timeout());
    PeerWatch.begin(joined);
    return joined;
  }

  /**
   * The same ranks, with a GPU each between which tensors travel directly, by NVIDIA's NCCL; what
   * is on the CPU, messages and the end of the run go as before. All ranks must call it.
   *
   * @param joined the ranks; closed with the result
   * @param device this rank's own, of CUDA
   * @throws CollectiveException on every rank in one line, with the remedy, if a rank cannot: it
   *     has no such device or no NCCL, or NCCL refuses
   */
  public static Collectives byNccl(Collectives joined, Device device) {
    return joined.size() == 1 ? joined : NcclCollectives.join(joined, Backends.of(device));
  }

  private static double timeout() {
    String text = System.getProperty(TIMEOUT);
    if (text == null) {
      return USUAL_TIMEOUT;
    }
    try {
      double seconds = Double.parseDouble(text);
      if (seconds > 0) {
        return seconds;
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw new CollectiveException("-D" + TIMEOUT + " must be a positive number; got " + text);
  }
}
