// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DeviceException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The functions of cuDNN's backend, by {@code java.lang.foreign}: descriptors of tensors,
 * operations, graphs and plans, whose attributes are set one by one before they are final. A
 * descriptor is named by its address. Numbers are those of {@code cudnn_graph.h} of cuDNN 9.
 *
 * <p>Not thread-safe: callers hold the lock of {@link Cudnn}.
 */
final class CudnnBackend {
  // cudnnBackendDescriptorType_t
  static final int POINTWISE = 0;
  static final int CONVOLUTION = 1;
  static final int ENGINE = 2;
  static final int ENGINE_CONFIG = 3;
  static final int HEURISTIC = 4;
  static final int PLAN = 5;
  static final int OPERATION_FORWARD = 10;
  static final int OPERATION_BACKWARD_WEIGHT = 11;
  static final int OPERATION_BACKWARD_INPUT = 12;
  static final int OPERATION_POINTWISE = 13;
  static final int GRAPH = 15;
  static final int VARIANT_PACK = 16;
  static final int TENSOR = 17;

  // cudnnBackendAttributeType_t
  static final int TYPE_HANDLE = 0;
  static final int TYPE_DATA_TYPE = 1;
  static final int TYPE_BOOLEAN = 2;
  static final int TYPE_INT64 = 3;
  static final int TYPE_FLOAT = 4;
  static final int TYPE_POINTER = 6;
  static final int TYPE_CONVOLUTION_MODE = 7;
  static final int TYPE_HEURISTIC_MODE = 8;
  static final int TYPE_NUMERICAL_NOTE = 11;
  static final int TYPE_POINTWISE_MODE = 14;
  static final int TYPE_DESCRIPTOR = 15;

  private static final int MESSAGE_BYTES = 1024;
  private static final int MOST_DESCRIPTORS = 256;

  private final MethodHandle create;
  private final MethodHandle destroy;
  private final MethodHandle set;
  private final MethodHandle get;
  private final MethodHandle end;
  private final MethodHandle execute;
  private final MethodHandle message;
  private final MemorySegment values = Arena.global().allocate(8L * MOST_DESCRIPTORS, 16);
  private final MemorySegment count = Arena.global().allocate(JAVA_LONG);
  private final MemorySegment text = Arena.global().allocate(MESSAGE_BYTES);

  CudnnBackend(NativeLibrary library) throws MissingLibraryException {
    create = library.function("cudnnBackendCreateDescriptor", JAVA_INT, ADDRESS);
    destroy = library.function("cudnnBackendDestroyDescriptor", JAVA_LONG);
    set =
        library.function(
            "cudnnBackendSetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS);
    get =
        library.function(
            "cudnnBackendGetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS, ADDRESS);
    end = library.function("cudnnBackendFinalize", JAVA_LONG);
    execute = library.function("cudnnBackendExecute", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    message = library.function("cudnnGetLastErrorString", ADDRESS, JAVA_LONG); // returns nothing
  }

  /** A new descriptor of a type. */
  long create(int type) {
    int status;
    try {
      status = (int) create.invokeExact(type, values);
    } catch (Throwable t) {
      throw rethrown(t);
    }
    check(status, "cudnnBackendCreateDescriptor of type " + type);
    return values.get(JAVA_LONG, 0);
  }

  /** Frees a descriptor. */
  void destroy(long descriptor) {
    try {
      int ignored = (int) destroy.invokeExact(descriptor);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /** Sets an attribute of 64-bit values: integers, addresses, descriptors, or the handle. */
  void set(long descriptor, int attribute, int type, long... of) {
    MemorySegment.copy(of, 0, values, JAVA_LONG, 0, of.length);
    set(descriptor, attribute, type, of.length);
  }

  /** Sets an attribute that is a number of an enumeration. */
  void choose(long descriptor, int attribute, int type, int value) {
    values.set(JAVA_INT, 0, value);
    set(descriptor, attribute, type, 1);
  }

  /** Sets an attribute that is a factor. */
  void scale(long descriptor, int attribute, float value) {
    values.set(JAVA_FLOAT, 0, value);
    set(descriptor, attribute, TYPE_FLOAT, 1);
  }

  /** Sets an attribute that is true or false. */
  void flag(long descriptor, int attribute, boolean value) {
    values.set(JAVA_BOOLEAN, 0, value);
    set(descriptor, attribute, TYPE_BOOLEAN, 1);
  }

  private void set(long descriptor, int attribute, int type, long n) {
    int status;
    try {
      status = (int) set.invokeExact(descriptor, attribute, type, n, values);
    } catch (Throwable t) {
      throw rethrown(t);
    }
    check(status, "cudnnBackendSetAttribute of attribute " + attribute);
  }

  /** Makes a descriptor final. */
  void end(long descriptor, String what) {
    int status;
    try {
      status = (int) end.invokeExact(descriptor);
    } catch (Throwable t) {
      throw rethrown(t);
    }
    check(status, what);
  }

  /** How many values an attribute has. */
  int count(long descriptor, int attribute, int type) {
    return get(descriptor, attribute, type, 0, MemorySegment.NULL);
  }

  /** One 64-bit value. */
  long number(long descriptor, int attribute) {
    get(descriptor, attribute, TYPE_INT64, 1, values);
    return values.get(JAVA_LONG, 0);
  }

  /** At most {@code most} numbers of an enumeration. */
  int[] choices(long descriptor, int attribute, int type, int most) {
    int[] all = new int[Math.min(most, get(descriptor, attribute, type, most, values))];
    MemorySegment.copy(values, JAVA_INT, 0, all, 0, all.length);
    return all;
  }

  /**
   * Fills descriptors that the caller has made; tells how many there were for it, at most as many
   * as given.
   */
  int descriptors(long descriptor, int attribute, long... into) {
    if (into.length > MOST_DESCRIPTORS) {
      throw new IllegalArgumentException("at most " + MOST_DESCRIPTORS + " descriptors");
    }
    MemorySegment.copy(into, 0, values, JAVA_LONG, 0, into.length);
    return Math.min(into.length, get(descriptor, attribute, TYPE_DESCRIPTOR, into.length, values));
  }

  private int get(long descriptor, int attribute, int type, long n, MemorySegment into) {
    int status;
    try {
      count.set(JAVA_LONG, 0, 0);
      status = (int) get.invokeExact(descriptor, attribute, type, n, count, into);
    } catch (Throwable t) {
      throw rethrown(t);
    }
    check(status, "cudnnBackendGetAttribute of attribute " + attribute);
    return Math.toIntExact(count.get(JAVA_LONG, 0));
  }

  /** Queues the work of a plan. */
  void execute(long handle, long plan, long pack) {
    int status;
    try {
      status = (int) execute.invokeExact(handle, plan, pack);
    } catch (Throwable t) {
      throw rethrown(t);
    }
    check(status, "cudnnBackendExecute");
  }

  private void check(int status, String what) {
    if (status != 0) {
      String why = "";
      try {
        text.set(JAVA_BYTE, 0, (byte) 0);
        int ignored = (int) message.invokeExact(text, (long) MESSAGE_BYTES - 1);
        why = text.getString(0).strip();
      } catch (Throwable t) {
        throw rethrown(t);
      }
      throw new DeviceException(
          what + ": cuDNN reports status " + status + (why.isEmpty() ? "" : ", " + why));
    }
  }

  private static RuntimeException rethrown(Throwable t) {
    if (t instanceof Error e) {
      throw e;
    }
    return t instanceof RuntimeException e ? e : new IllegalStateException(t);
  }
}
