// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.MemoryStats;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import java.util.OptionalLong;
import java.util.function.Supplier;

/** A device as the executor sees it: memory, copies and kernels. */
public interface Backend {
  /** The device this is. */
  Device device();

  /**
   * Uninitialised memory, aligned to 64 bytes, with a count of 1 that belongs to the caller.
   *
   * @param bytes the size; 0 is allowed
   * @throws io.sfumato.tensor.DeviceException if there is not enough memory, with what is in use
   */
  Storage allocate(long bytes);

  /**
   * Runs one op on this device.
   *
   * @throws io.sfumato.tensor.MissingKernelException if no kernel takes the case
   */
  void launch(Op op, Tensor[] in, Tensor[] out);

  /** Copies host memory to the device; returns when the host memory may be reused. */
  void upload(long hostAddress, long deviceAddress, long bytes);

  /** Copies device memory to the host; returns when it has arrived. */
  void download(long deviceAddress, long hostAddress, long bytes);

  /**
   * Copies memory of another device to this one, if there is a way that does not go through the
   * host's memory here.
   *
   * @param source the other device
   * @param from address there
   * @param to address here
   * @return whether it did; if not, nothing was copied
   */
  default boolean receive(Backend source, long from, long to, long bytes) {
    return false;
  }

  /** Waits until everything launched so far is done. */
  void synchronize();

  /**
   * For libraries that are called by themselves and work on this device's memory: makes the device
   * current on the calling thread, and tells where what they do must be put, to come after all that
   * was launched so far and before all that will be.
   *
   * @return the native handle of the stream, for CUDA a {@code CUstream}; empty if work here is not
   *     put on one
   */
  default OptionalLong stream() {
    return OptionalLong.empty();
  }

  /**
   * Writes down what {@code body} launches, to be done by {@link Recording#replay}, as often as
   * wanted. Before that nothing of it is done: on a device that can record (CUDA) the body runs
   * once, now, and its results have no values yet; on others it runs at every replay.
   *
   * <p>Run the body before, for what is made at the first time (states of optimisers, choices of
   * libraries) must not be made again at every replay.
   *
   * @param body the work; returns what is wanted of its results
   * @throws IllegalStateException if the body reads values back, or needs the host for an op
   */
  default Recording record(Supplier<Tensor[]> body) {
    return new Repetition(body);
  }

  /** Bytes that tensors can still take, beside those that are live; -1 if that is not known. */
  default long available() {
    return -1;
  }

  /** Bytes and buffers in use now and at most. */
  MemoryStats memory();
}
