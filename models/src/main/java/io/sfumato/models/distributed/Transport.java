// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import java.lang.foreign.MemorySegment;

/**
 * Carries bytes between ranks. All calls come from one thread, which also opened it; they return
 * when the bytes are there. While one waits for other ranks it calls {@link Guard#check} now and
 * then.
 */
interface Transport extends AutoCloseable {
  /** Ends a wait that is in vain, by throwing. */
  @FunctionalInterface
  interface Guard {
    /**
     * Whether to wait on.
     *
     * @throws CollectiveException with the reason why not
     */
    void check();
  }

  /** The most bytes of one rank in one call. */
  int MOST = 1 << 26;

  /** This process's number. */
  int rank();

  /** The number of processes. */
  int size();

  /** What it is. */
  String description();

  /**
   * Sends segments of {@code send} to each rank and receives one from each.
   *
   * @param sendAt where the segment for each rank begins
   * @param sendBytes its size
   * @param receiveAt where the segment from each rank goes
   * @param receiveBytes its size
   */
  void allToAll(
      MemorySegment send,
      int[] sendAt,
      int[] sendBytes,
      MemorySegment receive,
      int[] receiveAt,
      int[] receiveBytes,
      Guard guard);

  /** Everybody gets the bytes of {@code root}. */
  void broadcast(MemorySegment data, int root, Guard guard);

  /**
   * Gives everybody the segments of all ranks.
   *
   * @param own what this rank has
   * @param all where all go
   * @param at where the segment of each rank goes in {@code all}
   * @param bytes its size
   */
  void allGather(MemorySegment own, MemorySegment all, int[] at, int[] bytes, Guard guard);

  /** Returns when all ranks have called it. */
  void barrier(Guard guard);

  /** Ends all processes; may return before this one has ended. */
  void abort(int exitCode);

  /** Says good-bye. */
  @Override
  void close();
}
