// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.distributed;

import io.sfumato.tensor.Tensor;

/** The one rank of a run in one process: nothing is ever sent. */
public final class Alone implements Collectives {
  /** One rank. */
  public Alone() {}

  @Override
  public int rank() {
    return 0;
  }

  @Override
  public int size() {
    return 1;
  }

  @Override
  public String description() {
    return "one process";
  }

  @Override
  public Pending allReduce(Tensor data, Reduction reduction) {
    return Pending.DONE;
  }

  @Override
  public Pending reduceScatter(Tensor data, long[] counts, Reduction reduction) {
    return Pending.DONE;
  }

  @Override
  public Pending allGather(Tensor data, long[] counts) {
    return Pending.DONE;
  }

  @Override
  public Pending broadcast(Tensor data, int root) {
    return Pending.DONE;
  }

  @Override
  public void barrier() {}

  @Override
  public byte[][] exchange(byte[] message) {
    return new byte[][] {message.clone()};
  }

  /** Throws the message: alone, a failure is an exception like any other. */
  @Override
  public void abort(String message, int exitCode) {
    throw new CollectiveException(message);
  }

  @Override
  public Traffic traffic() {
    return new Traffic(0, 0, 0, 0);
  }

  @Override
  public void close() {}
}
