// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.testing;

import io.sfumato.cuda.driver.Gpu;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Memory of the first device, for tests that launch kernels themselves. */
public final class DeviceArray implements AutoCloseable {
  private final Gpu gpu = Gpu.of(0);
  private final long address;
  private final long bytes;

  /** Memory with undefined contents. */
  public DeviceArray(long bytes) {
    this.bytes = bytes;
    address = gpu.memory().allocate(bytes);
  }

  /** Memory with a copy of an array of primitives, seen as a heap segment. */
  public static DeviceArray of(MemorySegment values) {
    DeviceArray d = new DeviceArray(values.byteSize());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment host = arena.allocate(values.byteSize(), 64).copyFrom(values);
      d.gpu.upload(host.address(), d.address, d.bytes);
      d.gpu.synchronize();
    }
    return d;
  }

  /** Memory with these floats. */
  public static DeviceArray of(float... values) {
    return of(MemorySegment.ofArray(values));
  }

  /** Where it lies. */
  public long address() {
    return address;
  }

  private MemorySegment download(Arena arena) {
    MemorySegment host = arena.allocate(bytes, 64);
    gpu.download(address, host.address(), bytes);
    return host;
  }

  /** The contents. */
  public float[] floats() {
    try (Arena arena = Arena.ofConfined()) {
      return download(arena).toArray(ValueLayout.JAVA_FLOAT);
    }
  }

  /** The contents. */
  public double[] doubles() {
    try (Arena arena = Arena.ofConfined()) {
      return download(arena).toArray(ValueLayout.JAVA_DOUBLE);
    }
  }

  /** The contents. */
  public long[] longs() {
    try (Arena arena = Arena.ofConfined()) {
      return download(arena).toArray(ValueLayout.JAVA_LONG);
    }
  }

  /** The contents. */
  public int[] ints() {
    try (Arena arena = Arena.ofConfined()) {
      return download(arena).toArray(ValueLayout.JAVA_INT);
    }
  }

  /** The contents. */
  public short[] shorts() {
    try (Arena arena = Arena.ofConfined()) {
      return download(arena).toArray(ValueLayout.JAVA_SHORT);
    }
  }

  @Override
  public void close() {
    gpu.memory().free(address);
  }
}
