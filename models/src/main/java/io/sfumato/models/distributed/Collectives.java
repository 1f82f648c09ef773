// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Tensor;

/**
 * What several processes of one run, the ranks, do together. Every rank calls the same operations
 * in the same order with tensors of the same size; each returns at once with a {@link Pending}, and
 * they are carried out in the order of the calls. One thread at a time calls.
 *
 * <p>Tensors are contiguous, on the CPU or {@link #device}, and alive until {@link Pending#await}
 * returns. Where ranks' values on the CPU are summed, they are added in the order of the ranks, and
 * 16-bit values in f32, so the result is the same on every rank and each time.
 */
public interface Collectives extends AutoCloseable {
  /** How values of several ranks become one. */
  enum Reduction {
    /** Their sum. */
    SUM,
    /** Their sum times one over their number. */
    MEAN
  }

  /** This process's number, from 0. */
  int rank();

  /** The number of processes. */
  int size();

  /** Where tensors that travel often should be, beside the CPU; the CPU if there is no other. */
  default Device device() {
    return Device.CPU;
  }

  /** What carries the messages, for people: {@code Open MPI v4.1.4, 2 ranks}. */
  String description();

  /**
   * Replaces a tensor by the ranks' sum or mean.
   *
   * @param data floating
   */
  Pending allReduce(Tensor data, Reduction reduction);

  /**
   * The part of {@link #allReduce} that each rank needs if the work goes on in shares: rank r gets
   * segment r. The other segments stay as they are.
   *
   * @param data floating, the segments of all ranks one behind the other
   * @param counts elements of each rank's segment
   */
  Pending reduceScatter(Tensor data, long[] counts, Reduction reduction);

  /**
   * Gives all ranks every segment: rank r has segment r.
   *
   * @param data of any type, the segments of all ranks one behind the other
   * @param counts elements of each rank's segment
   */
  Pending allGather(Tensor data, long[] counts);

  /** Replaces a tensor of any type by the one that {@code root} has. */
  Pending broadcast(Tensor data, int root);

  /** Waits until all ranks are here. */
  void barrier();

  /**
   * Tells everybody a message of any length, and returns everybody's, by rank. Waits as long as it
   * takes, unlike the operations on tensors, which give up: a rank may have other things to do.
   */
  byte[][] exchange(byte[] message);

  /**
   * Ends the processes of all ranks, this one included, as soon as can be.
   *
   * @param message why; printed by this rank
   * @param exitCode of the processes
   */
  void abort(String message, int exitCode);

  /** The cost so far. */
  Traffic traffic();

  /** Says good-bye; all ranks must. */
  @Override
  void close();
}
