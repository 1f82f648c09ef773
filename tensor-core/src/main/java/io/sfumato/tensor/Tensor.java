// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import io.sfumato.tensor.exec.Backends;
import io.sfumato.tensor.exec.Elements;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * An n-dimensional array: an immutable view (shape, strides, offset) of a storage that may be
 * shared. A tensor belongs to the scope that was open when it was made.
 *
 * <p>Methods here are arithmetic, reductions and views; everything else is in {@link
 * io.sfumato.tensor.ops.NN}, {@link Num} and {@link Shaping}. Binary operations broadcast as NumPy
 * and promote types as PyTorch do.
 */
public final class Tensor {
  private static final AtomicLong IDS = new AtomicLong(1);

  private final Storage storage;
  private final Layout layout;
  private final DType dtype;
  private final long id = IDS.getAndIncrement();

  private Tensor(Storage storage, Layout layout, DType dtype) {
    this.storage = storage;
    this.layout = layout;
    this.dtype = dtype;
  }

  // ---- construction (for executors and readers)

  /**
   * A tensor over a storage whose one count passes to {@code scope} (or stays with the caller if
   * {@code scope} is null).
   */
  public static Tensor owned(Storage storage, Layout layout, DType dtype, @Nullable Scope scope) {
    if (scope != null) {
      scope.own(storage);
    }
    return new Tensor(storage, layout, dtype);
  }

  /** Another view of the storage of {@code base}, held by the current scope. */
  public static Tensor view(Tensor base, Layout layout) {
    Scope scope = Scope.current();
    base.storage.retain();
    scope.own(base.storage);
    return new Tensor(base.storage, layout, base.dtype);
  }

  // ---- construction (for users)

  /** An uninitialised row-major tensor. */
  public static Tensor empty(TensorSpec spec) {
    return owned(
        Backends.of(spec.device()).allocate(spec.bytes()),
        Layout.contiguous(spec.shape()),
        spec.dtype(),
        Scope.current());
  }

  /** An F32 tensor on the CPU with these values in row-major order. */
  public static Tensor of(float[] values, int... shape) {
    Tensor t = empty(new TensorSpec(Shape.of(shape), DType.F32, Device.CPU));
    Elements.writeFloats(t, values);
    return t;
  }

  /** An F64 tensor on the CPU with these values in row-major order. */
  public static Tensor of(double[] values, int... shape) {
    return of(values, DType.F64, Device.CPU, shape);
  }

  /** An I64 tensor on the CPU with these values in row-major order. */
  public static Tensor of(long[] values, int... shape) {
    Tensor t = empty(new TensorSpec(Shape.of(shape), DType.I64, Device.CPU));
    Elements.writeLongs(t, values);
    return t;
  }

  /** A U8 tensor on the CPU with these values in row-major order. */
  public static Tensor of(byte[] values, int... shape) {
    Tensor t = empty(new TensorSpec(Shape.of(shape), DType.U8, Device.CPU));
    Elements.writeBytes(t, values);
    return t;
  }

  /** A tensor of any type and device with these values, rounded, in row-major order. */
  public static Tensor of(double[] values, DType dtype, Device device, int... shape) {
    Tensor t = empty(new TensorSpec(Shape.of(shape), dtype, device));
    Elements.writeDoubles(t, values);
    return t;
  }

  /** A scalar (shape []) F32 tensor on the CPU. */
  public static Tensor scalar(float value) {
    return of(new float[] {value});
  }

  /** Zeros. */
  public static Tensor zeros(TensorSpec spec) {
    return full(spec, 0);
  }

  /** F32 zeros on the CPU. */
  public static Tensor zeros(int... shape) {
    return full(0, shape);
  }

  /** F32 ones on the CPU. */
  public static Tensor ones(int... shape) {
    return full(1, shape);
  }

  /** An F32 tensor on the CPU with every element {@code value}. */
  public static Tensor full(double value, int... shape) {
    return full(new TensorSpec(Shape.of(shape), DType.F32, Device.CPU), value);
  }

  /** A tensor with every element {@code value}. */
  public static Tensor full(TensorSpec spec, double value) {
    return Shaping.full(spec, value);
  }

  /** The integers 0 to {@code n - 1} as I64 on the CPU. */
  public static Tensor arange(int n) {
    long[] values = new long[n];
    Arrays.setAll(values, i -> i);
    return of(values, n);
  }

  // ---- what it is

  /** A number that no other tensor object of this process has. */
  public long id() {
    return id;
  }

  /** The storage this is a view of. */
  public Storage storage() {
    return storage;
  }

  /** Shape, strides and offset. */
  public Layout layout() {
    return layout;
  }

  /** The dimensions. */
  public Shape shape() {
    return layout.shape();
  }

  /** One dimension; negative axes count from the end. */
  public int dim(int axis) {
    return layout.shape().dim(axis);
  }

  /** The number of dimensions. */
  public int rank() {
    return layout.shape().rank();
  }

  /** The number of elements. */
  public long numel() {
    return layout.shape().numel();
  }

  /** The element type. */
  public DType dtype() {
    return dtype;
  }

  /** Where it lives. */
  public Device device() {
    return storage.device();
  }

  /** Shape, type and device. */
  public TensorSpec spec() {
    return new TensorSpec(layout.shape(), dtype, storage.device());
  }

  /**
   * The address of element (0, 0, …); for kernels.
   *
   * @throws UseAfterFreeException if the storage has been freed
   */
  public long address() {
    return storage.address() + layout.offset() * dtype.bytes();
  }

  // ---- values

  /**
   * The only element.
   *
   * @throws ShapeException if there is not exactly one
   */
  public double item() {
    if (numel() != 1) {
      throw new ShapeException("item needs exactly one element; got " + spec());
    }
    return Elements.doubles(this)[0];
  }

  /** The elements in row-major order, converted to float. */
  public float[] toFloatArray() {
    return Elements.floats(this);
  }

  /** The elements in row-major order, converted to double. */
  public double[] toDoubleArray() {
    return Elements.doubles(this);
  }

  /** The elements in row-major order, converted to long (towards zero). */
  public long[] toLongArray() {
    return Elements.longs(this);
  }

  /** The elements of a U8 or BOOL tensor in row-major order. */
  public byte[] toByteArray() {
    return Elements.bytes(this);
  }

  /**
   * This tensor on another device; itself if it is there already. Not recorded by autograd: move
   * data before the region that is differentiated.
   *
   * @throws DeviceException if there is no such device
   */
  public Tensor to(Device device) {
    return device().equals(device) ? this : Elements.transfer(this, device);
  }

  // ---- arithmetic

  /** {@code this + other}. */
  public Tensor add(Tensor other) {
    return Num.add(this, other);
  }

  /** {@code this + value}. */
  public Tensor add(double value) {
    return Num.affine(this, 1, value);
  }

  /** {@code this - other}. */
  public Tensor sub(Tensor other) {
    return Num.sub(this, other);
  }

  /** {@code this - value}. */
  public Tensor sub(double value) {
    return Num.affine(this, 1, -value);
  }

  /** {@code this * other}. */
  public Tensor mul(Tensor other) {
    return Num.mul(this, other);
  }

  /** {@code this * value}. */
  public Tensor mul(double value) {
    return Num.affine(this, value, 0);
  }

  /** {@code this / other}. */
  public Tensor div(Tensor other) {
    return Num.div(this, other);
  }

  /** {@code this / value}. */
  public Tensor div(double value) {
    return Num.affine(this, 1 / value, 0);
  }

  /** {@code -this}. */
  public Tensor neg() {
    return Num.affine(this, -1, 0);
  }

  /** The matrix product {@code this · other}, as {@link Num#matmul}. */
  public Tensor matmul(Tensor other) {
    return Num.matmul(this, other);
  }

  /** {@code this} to the power {@code exponent}. */
  public Tensor pow(double exponent) {
    return Num.pow(this, exponent);
  }

  /** {@code e^this}. */
  public Tensor exp() {
    return Num.exp(this);
  }

  /** Natural logarithm. */
  public Tensor log() {
    return Num.log(this);
  }

  /** Square root. */
  public Tensor sqrt() {
    return Num.sqrt(this);
  }

  /** {@code this²}. */
  public Tensor square() {
    return Num.square(this);
  }

  /** Absolute value. */
  public Tensor abs() {
    return Num.abs(this);
  }

  /** The elements rounded to another type; this tensor if it has that type already. */
  public Tensor to(DType other) {
    return Num.cast(this, other);
  }

  // ---- reductions; no axes means all of them

  /** The sum over some axes, which disappear. */
  public Tensor sum(int... axes) {
    return Num.sum(this, axes);
  }

  /** The mean over some axes, which disappear. */
  public Tensor mean(int... axes) {
    return Num.mean(this, axes);
  }

  /** The largest element over some axes, which disappear. */
  public Tensor max(int... axes) {
    return Num.max(this, axes);
  }

  /** The smallest element over some axes, which disappear. */
  public Tensor min(int... axes) {
    return Num.min(this, axes);
  }

  // ---- views and moves

  /** The same elements in another shape; one dimension may be -1. A copy if strides demand it. */
  public Tensor reshape(int... shape) {
    return Shaping.reshape(this, shape);
  }

  /** Axis {@code i} of the result is axis {@code order[i]} of this. */
  public Tensor permute(int... order) {
    return Shaping.permute(this, order);
  }

  /** Two axes exchanged. */
  public Tensor transpose(int a, int b) {
    return Shaping.transpose(this, a, b);
  }

  /** Elements {@code start} to {@code end - 1} of one axis. */
  public Tensor slice(int axis, int start, int end) {
    return Shaping.slice(this, axis, start, end, 1);
  }

  /** One index of an axis, which disappears. */
  public Tensor select(int axis, int index) {
    return Shaping.select(this, axis, index);
  }

  /** Broadcast to a shape without copying. */
  public Tensor expand(int... shape) {
    return Shaping.expand(this, Shape.of(shape));
  }

  /** An axis of size 1 inserted before {@code axis}. */
  public Tensor unsqueeze(int axis) {
    return Shaping.unsqueeze(this, axis);
  }

  /** An axis of size 1 removed. */
  public Tensor squeeze(int axis) {
    return Shaping.squeeze(this, axis);
  }

  /** This tensor if it lies in row-major order, else a copy that does. */
  public Tensor contiguous() {
    return Shaping.contiguous(this);
  }

  @Override
  public String toString() {
    return "Tensor "
        + spec()
        + (numel() <= 16 && storage.isLive() && device().isCpu()
            ? " " + Arrays.toString(toDoubleArray())
            : "");
  }
}
