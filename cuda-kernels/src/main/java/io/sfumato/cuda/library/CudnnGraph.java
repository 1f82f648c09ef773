// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import io.sfumato.cuda.library.CudnnConvolution.Kind;
import io.sfumato.cuda.library.CudnnConvolution.Sizes;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DeviceException;
import java.util.ArrayList;
import java.util.List;

/**
 * The graph of operations that is one product of a convolution, with a sum of a bias after it if
 * there is one. Sizes are given in the order images, channels, rows, columns; the strides tell that
 * channels lie innermost.
 */
final class CudnnGraph {
  // What the tensors are called among each other.
  private static final int ID_IN = 1;
  private static final int ID_OTHER = 2;
  private static final int ID_OUT = 3;
  private static final int ID_BIAS = 4;
  private static final int ID_SUM = 5;

  // cudnnBackendAttributeName_t
  private static final int POINTWISE_MODE = 0;
  private static final int POINTWISE_PRECISION = 1;
  private static final int CONVOLUTION_PRECISION = 100;
  private static final int CONVOLUTION_MODE = 101;
  private static final int CONVOLUTION_DILATIONS = 102;
  private static final int CONVOLUTION_STRIDES = 103;
  private static final int CONVOLUTION_PADDING_AFTER = 104;
  private static final int CONVOLUTION_PADDING_BEFORE = 105;
  private static final int CONVOLUTION_AXES = 106;
  private static final int FORWARD_ALPHA = 700;
  private static final int FORWARD_BETA = 701;
  private static final int FORWARD_HOW = 702;
  private static final int FORWARD_W = 703;
  private static final int FORWARD_X = 704;
  private static final int FORWARD_Y = 705;
  private static final int INPUT_ALPHA = 706;
  private static final int INPUT_BETA = 707;
  private static final int INPUT_HOW = 708;
  private static final int INPUT_W = 709;
  private static final int INPUT_DX = 710;
  private static final int INPUT_DY = 711;
  private static final int WEIGHT_ALPHA = 712;
  private static final int WEIGHT_BETA = 713;
  private static final int WEIGHT_HOW = 714;
  private static final int WEIGHT_DW = 715;
  private static final int WEIGHT_X = 716;
  private static final int WEIGHT_DY = 717;
  private static final int ADD_HOW = 750;
  private static final int ADD_X = 751;
  private static final int ADD_B = 752;
  private static final int ADD_Y = 753;
  private static final int GRAPH_HANDLE = 800;
  private static final int GRAPH_OPERATIONS = 801;
  private static final int TENSOR_ALIGNMENT = 900;
  private static final int TENSOR_DTYPE = 901;
  private static final int TENSOR_SIZES = 902;
  private static final int TENSOR_STRIDES = 903;
  private static final int TENSOR_ID = 906;
  private static final int TENSOR_VIRTUAL = 907;

  private static final int ADD = 0;
  private static final int CROSS_CORRELATION = 1;
  private static final int FLOAT = 0; // cudnnDataType_t
  private static final int HALF = 2;
  private static final int BFLOAT16 = 9;
  private static final int ALIGNMENT = 16;

  private final CudnnBackend backend;
  private final boolean bias;
  private final List<Long> made = new ArrayList<>();
  private final long descriptor;
  private int users = 1;

  CudnnGraph(CudnnBackend backend, long handle, Kind kind, Sizes s, boolean bias) {
    this.backend = backend;
    this.bias = bias;
    try {
      long[] operations = operations(kind, s);
      descriptor = create(CudnnBackend.GRAPH);
      backend.set(descriptor, GRAPH_HANDLE, CudnnBackend.TYPE_HANDLE, handle);
      backend.set(descriptor, GRAPH_OPERATIONS, CudnnBackend.TYPE_DESCRIPTOR, operations);
      backend.end(descriptor, "the graph");
    } catch (DeviceException e) {
      release();
      throw e;
    }
  }

  long descriptor() {
    return descriptor;
  }

  boolean hasBias() {
    return bias;
  }

  /** The names of what is read, of the other operand, of what is computed, and of the bias. */
  long[] ids() {
    return bias
        ? new long[] {ID_IN, ID_OTHER, ID_OUT, ID_BIAS}
        : new long[] {ID_IN, ID_OTHER, ID_OUT};
  }

  /** Counts one more user. */
  void retain() {
    users++;
  }

  /** Frees the descriptors if that was the last user. */
  void release() {
    users--;
    if (users == 0) {
      made.reversed().forEach(backend::destroy);
      made.clear();
    }
  }

  private long[] operations(Kind kind, Sizes s) {
    int type = type(s.dtype());
    long how = convolution(s);
    return switch (kind) {
      case FORWARD -> {
        long x = tensor(ID_IN, type, s.x(), false);
        long w = tensor(ID_OTHER, type, s.w(), false);
        long sum = bias ? tensor(ID_SUM, FLOAT, s.y(), true) : tensor(ID_OUT, type, s.y(), false);
        long o = create(CudnnBackend.OPERATION_FORWARD);
        scale(o, FORWARD_ALPHA, FORWARD_BETA);
        refer(o, FORWARD_HOW, how);
        refer(o, FORWARD_X, x);
        refer(o, FORWARD_W, w);
        refer(o, FORWARD_Y, sum);
        backend.end(o, "the convolution");
        yield bias ? new long[] {o, addition(sum, type, s.y())} : new long[] {o};
      }
      case INPUT -> {
        long o = create(CudnnBackend.OPERATION_BACKWARD_INPUT);
        scale(o, INPUT_ALPHA, INPUT_BETA);
        refer(o, INPUT_HOW, how);
        refer(o, INPUT_DY, tensor(ID_IN, type, s.y(), false));
        refer(o, INPUT_W, tensor(ID_OTHER, type, s.w(), false));
        refer(o, INPUT_DX, tensor(ID_OUT, type, s.x(), false));
        backend.end(o, "the gradient of x");
        yield new long[] {o};
      }
      case WEIGHT -> {
        long o = create(CudnnBackend.OPERATION_BACKWARD_WEIGHT);
        scale(o, WEIGHT_ALPHA, WEIGHT_BETA);
        refer(o, WEIGHT_HOW, how);
        refer(o, WEIGHT_DY, tensor(ID_IN, type, s.y(), false));
        refer(o, WEIGHT_X, tensor(ID_OTHER, type, s.x(), false));
        refer(o, WEIGHT_DW, tensor(ID_OUT, type, s.w(), false));
        backend.end(o, "the gradient of w");
        yield new long[] {o};
      }
    };
  }

  private long convolution(Sizes s) {
    long how = create(CudnnBackend.CONVOLUTION);
    backend.choose(how, CONVOLUTION_PRECISION, CudnnBackend.TYPE_DATA_TYPE, FLOAT);
    backend.choose(how, CONVOLUTION_MODE, CudnnBackend.TYPE_CONVOLUTION_MODE, CROSS_CORRELATION);
    backend.set(how, CONVOLUTION_AXES, CudnnBackend.TYPE_INT64, 2);
    backend.set(how, CONVOLUTION_PADDING_BEFORE, CudnnBackend.TYPE_INT64, wide(s.padding()));
    backend.set(how, CONVOLUTION_PADDING_AFTER, CudnnBackend.TYPE_INT64, wide(s.padding()));
    backend.set(how, CONVOLUTION_STRIDES, CudnnBackend.TYPE_INT64, wide(s.stride()));
    backend.set(how, CONVOLUTION_DILATIONS, CudnnBackend.TYPE_INT64, wide(s.dilation()));
    backend.end(how, "the convolution's description");
    return how;
  }

  /** y = sum + bias. */
  private long addition(long sum, int type, int[] sizes) {
    long how = create(CudnnBackend.POINTWISE);
    backend.choose(how, POINTWISE_MODE, CudnnBackend.TYPE_POINTWISE_MODE, ADD);
    backend.choose(how, POINTWISE_PRECISION, CudnnBackend.TYPE_DATA_TYPE, FLOAT);
    backend.end(how, "the description of the bias");
    long o = create(CudnnBackend.OPERATION_POINTWISE);
    refer(o, ADD_HOW, how);
    refer(o, ADD_X, sum);
    refer(o, ADD_B, tensor(ID_BIAS, type, new int[] {1, sizes[1], 1, 1}, false));
    refer(o, ADD_Y, tensor(ID_OUT, type, sizes, false));
    backend.end(o, "the bias");
    return o;
  }

  /** [images, channels, rows, columns] with channels innermost; also [out, in, kh, kw]. */
  private long tensor(int id, int type, int[] sizes, boolean virtual) {
    long c = sizes[1];
    long row = c * sizes[3];
    long t = create(CudnnBackend.TENSOR);
    backend.choose(t, TENSOR_DTYPE, CudnnBackend.TYPE_DATA_TYPE, type);
    backend.set(t, TENSOR_SIZES, CudnnBackend.TYPE_INT64, wide(sizes));
    backend.set(t, TENSOR_STRIDES, CudnnBackend.TYPE_INT64, row * sizes[2], 1, row, c);
    backend.set(t, TENSOR_ID, CudnnBackend.TYPE_INT64, id);
    backend.set(t, TENSOR_ALIGNMENT, CudnnBackend.TYPE_INT64, ALIGNMENT);
    backend.flag(t, TENSOR_VIRTUAL, virtual);
    backend.end(t, "a tensor");
    return t;
  }

  private void scale(long operation, int alpha, int beta) {
    backend.scale(operation, alpha, 1);
    backend.scale(operation, beta, 0);
  }

  private void refer(long operation, int attribute, long to) {
    backend.set(operation, attribute, CudnnBackend.TYPE_DESCRIPTOR, to);
  }

  private long create(int type) {
    long d = backend.create(type);
    made.add(d);
    return d;
  }

  private static long[] wide(int[] sizes) {
    long[] all = new long[sizes.length];
    for (int i = 0; i < all.length; i++) {
      all[i] = sizes[i];
    }
    return all;
  }

  private static int type(DType dtype) {
    return switch (dtype) {
      case F32 -> FLOAT;
      case BF16 -> BFLOAT16;
      case F16 -> HALF;
      default -> throw new DeviceException("cuDNN is not used for " + dtype);
    };
  }
}
