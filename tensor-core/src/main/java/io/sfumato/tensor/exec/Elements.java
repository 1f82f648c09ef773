// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.cpu.Memory;
import java.util.function.LongConsumer;

/** Moves values between Java arrays and tensors of any type, layout and device. */
public final class Elements {
  private Elements() {}

  // ---- one element

  /** The element of type {@code dtype} at an address on the host, as double. */
  public static double get(DType dtype, long address) {
    return switch (dtype) {
      case F64 -> Memory.getDouble(address);
      case F32 -> Memory.getFloat(address);
      case BF16 -> bf16ToFloat(Memory.getShort(address));
      case F16 -> Float.float16ToFloat(Memory.getShort(address));
      case I64 -> Memory.getLong(address);
      case I32 -> Memory.getInt(address);
      case U8, BOOL -> Memory.getByte(address) & 0xff;
    };
  }

  /** Stores {@code value}, rounded to {@code dtype}, at an address on the host. */
  public static void put(DType dtype, long address, double value) {
    switch (dtype) {
      case F64 -> Memory.putDouble(address, value);
      case F32 -> Memory.putFloat(address, (float) value);
      case BF16 -> Memory.putShort(address, floatToBf16((float) value));
      case F16 -> Memory.putShort(address, Float.floatToFloat16((float) value));
      case I64 -> Memory.putLong(address, (long) value);
      case I32 -> Memory.putInt(address, (int) value);
      case U8 -> Memory.putByte(address, (byte) (long) value);
      case BOOL -> Memory.putByte(address, (byte) (value != 0 ? 1 : 0));
    }
  }

  /** The float whose upper half is {@code bits}. */
  public static float bf16ToFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** The bfloat16 nearest to {@code value}, ties to even; NaN stays NaN. */
  public static short floatToBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
  }

  // ---- arrays

  /** The elements in row-major order as double. */
  public static double[] doubles(Tensor t) {
    double[] values = new double[count(t)];
    onHost(
        t,
        h -> {
          int[] k = {0};
          DType dtype = t.dtype();
          forEach(h, dtype, t.layout(), a -> values[k[0]++] = get(dtype, a));
        });
    return values;
  }

  /** The elements in row-major order as float. */
  public static float[] floats(Tensor t) {
    float[] values = new float[count(t)];
    onHost(
        t,
        h -> {
          int[] k = {0};
          DType dtype = t.dtype();
          forEach(h, dtype, t.layout(), a -> values[k[0]++] = (float) get(dtype, a));
        });
    return values;
  }

  /** The elements in row-major order as long, towards zero. */
  public static long[] longs(Tensor t) {
    long[] values = new long[count(t)];
    onHost(
        t,
        h -> {
          int[] k = {0};
          DType dtype = t.dtype();
          forEach(
              h,
              dtype,
              t.layout(),
              a -> values[k[0]++] = dtype == DType.I64 ? Memory.getLong(a) : (long) get(dtype, a));
        });
    return values;
  }

  /**
   * The elements of a U8 or BOOL tensor in row-major order.
   *
   * @throws DTypeException for another type
   */
  public static byte[] bytes(Tensor t) {
    if (t.dtype().bytes() != 1) {
      throw new DTypeException("bytes can be read from u8 and bool only; got " + t.spec());
    }
    byte[] values = new byte[count(t)];
    onHost(
        t,
        h -> {
          int[] k = {0};
          forEach(h, t.dtype(), t.layout(), a -> values[k[0]++] = Memory.getByte(a));
        });
    return values;
  }

  /** Fills a row-major tensor with {@code values}. */
  public static void writeFloats(Tensor t, float[] values) {
    checkLength(t, values.length);
    fromHost(
        t,
        h -> {
          for (int i = 0; i < values.length; i++) {
            Memory.putFloat(h + 4L * i, values[i]);
          }
        });
  }

  /** Fills a row-major tensor with {@code values}, rounded to its type. */
  public static void writeDoubles(Tensor t, double[] values) {
    checkLength(t, values.length);
    DType dtype = t.dtype();
    fromHost(
        t,
        h -> {
          for (int i = 0; i < values.length; i++) {
            put(dtype, h + (long) dtype.bytes() * i, values[i]);
          }
        });
  }

  /** Fills a row-major I64 tensor with {@code values}. */
  public static void writeLongs(Tensor t, long[] values) {
    checkLength(t, values.length);
    fromHost(
        t,
        h -> {
          for (int i = 0; i < values.length; i++) {
            Memory.putLong(h + 8L * i, values[i]);
          }
        });
  }

  /** Fills a row-major U8 or BOOL tensor with {@code values}. */
  public static void writeBytes(Tensor t, byte[] values) {
    checkLength(t, values.length);
    fromHost(
        t,
        h -> {
          for (int i = 0; i < values.length; i++) {
            Memory.putByte(h + i, values[i]);
          }
        });
  }

  /** A row-major copy on another device, in the current scope. */
  public static Tensor transfer(Tensor t, Device device) {
    Tensor source = t.contiguous();
    Tensor target = Tensor.empty(new TensorSpec(t.shape(), t.dtype(), device));
    long bytes = t.spec().bytes();
    if (device.isCpu()) {
      Backends.of(t.device()).download(source.address(), target.address(), bytes);
    } else if (!Backends.of(device)
        .receive(Backends.of(t.device()), source.address(), target.address(), bytes)) {
      fromHost(target, h -> onHost(source, s -> Memory.copy(s + offsetBytes(source), h, bytes)));
    }
    return target;
  }

  private static long offsetBytes(Tensor t) {
    return t.layout().offset() * t.dtype().bytes();
  }

  // ---- helpers

  private static int count(Tensor t) {
    if (t.numel() > Integer.MAX_VALUE - 8) {
      throw new ShapeException("too many elements for one Java array; got " + t.spec());
    }
    return (int) t.numel();
  }

  private static void checkLength(Tensor t, int length) {
    if (length != t.numel()) {
      throw new ShapeException(
          "values must number " + t.numel() + " for shape " + t.shape() + "; got " + length);
    }
  }

  /** Calls {@code body} with the host address of the storage of {@code t} (a copy if elsewhere). */
  private static void onHost(Tensor t, LongConsumer body) {
    if (t.device().isCpu()) {
      body.accept(t.storage().address());
      return;
    }
    var staging = Backends.of(Device.CPU).allocate(t.storage().bytes());
    try {
      Backends.of(t.device())
          .download(t.storage().address(), staging.address(), t.storage().bytes());
      body.accept(staging.address());
    } finally {
      staging.release();
    }
  }

  /**
   * Calls {@code body} with host memory to fill, then moves it to the whole storage of {@code t}.
   */
  private static void fromHost(Tensor t, LongConsumer body) {
    if (t.device().isCpu()) {
      body.accept(t.address());
      return;
    }
    var staging = Backends.of(Device.CPU).allocate(t.spec().bytes());
    try {
      body.accept(staging.address());
      Backends.of(t.device()).upload(staging.address(), t.address(), t.spec().bytes());
    } finally {
      staging.release();
    }
  }

  private static void forEach(long base, DType dtype, Layout layout, LongConsumer body) {
    int size = dtype.bytes();
    StridedLoop.forEach(layout, p -> body.accept(base + p * size));
  }
}
