// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * One launch of a kernel, filled in call by call: grid, block, dynamic shared memory, arguments in
 * the order of the kernel's parameters. {@link #run} starts it on the device's compute stream and
 * does not wait.
 */
public final class Launch {
  private static final int MOST_ARGUMENTS = 64;
  private static final int SLOTS = 1024; // 8 bytes each; CUDA takes 4 KB, newer drivers 32 KB
  private static final ThreadLocal<MemorySegment> BUFFER =
      ThreadLocal.withInitial(
          () -> Arena.ofAuto().allocate(8L * (SLOTS + MOST_ARGUMENTS), 64)); // lives while held

  private final Gpu gpu;
  private final KernelModules.Function function;
  private final int[] grid = {1, 1, 1};
  private final int[] block = {1, 1, 1};
  private int shared;
  private long[] slots = new long[24];
  private int used;
  private final int[] starts = new int[MOST_ARGUMENTS];
  private final int[] sizes = new int[MOST_ARGUMENTS]; // in bytes
  private int count;

  Launch(Gpu gpu, KernelModules.Function function) {
    this.gpu = gpu;
    this.function = function;
  }

  /** Blocks in x. */
  public Launch grid(long x) {
    return grid(x, 1, 1);
  }

  /** Blocks in x and y. */
  public Launch grid(long x, long y) {
    return grid(x, y, 1);
  }

  /**
   * Blocks in x, y and z.
   *
   * @throws ShapeException beyond 2³¹ - 1, 65535 and 65535
   */
  public Launch grid(long x, long y, long z) {
    if (x < 1 || x > Integer.MAX_VALUE || y < 1 || y > 65535 || z < 1 || z > 65535) {
      throw new ShapeException(
          function.name() + " cannot have a grid of " + x + " x " + y + " x " + z + " blocks");
    }
    grid[0] = (int) x;
    grid[1] = (int) y;
    grid[2] = (int) z;
    return this;
  }

  /** Threads per block. */
  public Launch block(int x) {
    return block(x, 1);
  }

  /** Threads per block in x and y. */
  public Launch block(int x, int y) {
    block[0] = x;
    block[1] = y;
    return this;
  }

  /** Dynamic shared memory per block in bytes. */
  public Launch shared(int bytes) {
    shared = bytes;
    return this;
  }

  /** An address on the device; 0 is a null pointer. */
  public Launch pointer(long address) {
    return i64(address);
  }

  /** The address of a tensor's element (0, 0, …). */
  public Launch pointer(Tensor t) {
    return i64(t.address());
  }

  /**
   * A 32-bit integer.
   *
   * @throws ArithmeticException if it does not fit
   */
  public Launch i32(long value) {
    start(1, 4);
    slots[used++] = Math.toIntExact(value) & 0xffffffffL;
    return this;
  }

  /** A 64-bit integer. */
  public Launch i64(long value) {
    start(1, 8);
    slots[used++] = value;
    return this;
  }

  /** A float. */
  public Launch f32(double value) {
    start(1, 4);
    slots[used++] = Float.floatToRawIntBits((float) value) & 0xffffffffL;
    return this;
  }

  /** A double. */
  public Launch f64(double value) {
    return i64(Double.doubleToRawLongBits(value));
  }

  /** A struct of 64-bit integers, by value. */
  public Launch longs(long... values) {
    start(values.length, 8 * values.length);
    System.arraycopy(values, 0, slots, used, values.length);
    used += values.length;
    return this;
  }

  /** A struct of 32-bit integers, by value. */
  public Launch ints(int... values) {
    int n = (values.length + 1) / 2;
    start(n, 4 * values.length);
    for (int i = 0; i < n; i++) {
      long low = values[2 * i] & 0xffffffffL;
      long high = 2 * i + 1 < values.length ? (long) values[2 * i + 1] << 32 : 0;
      slots[used++] = low | high;
    }
    return this;
  }

  private void start(int n, int bytes) {
    if (count == MOST_ARGUMENTS || used + n > SLOTS) {
      throw new IllegalStateException(function.name() + " has too many arguments");
    }
    if (used + n > slots.length) {
      slots = Arrays.copyOf(slots, Math.max(used + n, 2 * slots.length));
    }
    sizes[count] = bytes;
    starts[count++] = used;
  }

  /**
   * Starts the kernel.
   *
   * @throws CudaException if the driver refuses; an error while it runs is reported by a later call
   */
  public void run() {
    gpu.enter();
    function.allowShared(shared);
    if (!function.isChecked()) {
      function.check(Arrays.stream(sizes, 0, count).boxed().toList());
    }
    Capture capture = gpu.capture();
    if (capture != null && capture.isUpdating()) {
      capture.update(this);
      return;
    }
    int code = Driver.launch(function.handle(), grid, block, shared, gpu.stream(), arguments());
    if (code != 0) {
      throw gpu.failed(new CudaException(code, toString(), Driver.name(code), Driver.text(code)));
    }
    if (capture != null) {
      capture.launched(this);
    } else if (Gpu.SYNCHRONOUS) {
      gpu.synchronizeAfter(this);
    }
  }

  /** Gives a captured launch the shape and arguments of this one. */
  void setIn(long exec, long node) {
    GraphDriver.setKernel(exec, node, function.handle(), grid, block, shared, arguments());
  }

  /** Whether this starts the same kernel. */
  boolean isLike(Launch other) {
    return function == other.function && count == other.count;
  }

  /** Whether this is the same launch: kernel, shape, arguments. */
  boolean isSameAs(Launch other) {
    return isLike(other)
        && shared == other.shared
        && Arrays.equals(grid, other.grid)
        && Arrays.equals(block, other.block)
        && Arrays.equals(slots, 0, used, other.slots, 0, other.used);
  }

  /** Lays the arguments out; the address of the pointers to them. */
  private long arguments() {
    long buffer = BUFFER.get().address();
    for (int i = 0; i < used; i++) {
      Memory.putLong(buffer + 8L * i, slots[i]);
    }
    long pointers = buffer + 8L * SLOTS;
    for (int i = 0; i < count; i++) {
      Memory.putLong(pointers + 8L * i, buffer + 8L * starts[i]);
    }
    return pointers;
  }

  /** Kernel, grid, block and shared memory, for messages. */
  @Override
  public String toString() {
    return "launch of "
        + function.name()
        + " (grid "
        + Arrays.toString(grid)
        + ", block "
        + Arrays.toString(block)
        + ", "
        + shared
        + " bytes of shared memory)";
  }
}
