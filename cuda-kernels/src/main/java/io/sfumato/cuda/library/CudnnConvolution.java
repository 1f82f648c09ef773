// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DeviceException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import jcuda.Pointer;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnActivationDescriptor;
import jcuda.jcudnn.cudnnActivationMode;
import jcuda.jcudnn.cudnnConvolutionBwdDataAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionBwdFilterAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionDescriptor;
import jcuda.jcudnn.cudnnConvolutionFwdAlgo;
import jcuda.jcudnn.cudnnConvolutionFwdAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionMode;
import jcuda.jcudnn.cudnnDataType;
import jcuda.jcudnn.cudnnDeterminism;
import jcuda.jcudnn.cudnnFilterDescriptor;
import jcuda.jcudnn.cudnnMathType;
import jcuda.jcudnn.cudnnNanPropagation;
import jcuda.jcudnn.cudnnTensorDescriptor;
import jcuda.jcudnn.cudnnTensorFormat;

/**
 * One of the three products of a convolution over images, by cuDNN: its descriptors, the algorithm
 * chosen for it, and the memory that needs. Images are [images, rows, columns, channels], weights
 * [out, kh, kw, in/groups], sums f32.
 */
public final class CudnnConvolution {
  /** Which product. */
  public enum Kind {
    /** y from x and w. */
    FORWARD,
    /** dx from dy and w. */
    INPUT,
    /** dw from dy and x. */
    WEIGHT
  }

  /**
   * The sizes of a convolution.
   *
   * @param dtype f32, bf16 or f16
   * @param x images, channels, rows, columns of x
   * @param w out, in/groups, rows, columns of the kernel
   * @param y images, channels, rows, columns of y
   * @param padding rows above (and below) and columns left (and right)
   * @param stride of rows and columns
   * @param dilation of rows and columns
   * @param groups groups of channels
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  public record Sizes(
      DType dtype,
      int[] x,
      int[] w,
      int[] y,
      int[] padding,
      int[] stride,
      int[] dilation,
      int groups) {}

  private static final int MOST_ALGORITHMS = 10;
  private static final long MOST_WORKSPACE = 512L << 20;
  private static final Pointer ONE = Pointer.to(new float[] {1});
  private static final Pointer ZERO = Pointer.to(new float[] {0});

  private final Cudnn cudnn;
  private final Gpu gpu;
  private final Kind kind;
  private final cudnnTensorDescriptor x = new cudnnTensorDescriptor();
  private final cudnnTensorDescriptor y = new cudnnTensorDescriptor();
  private final cudnnTensorDescriptor bias = new cudnnTensorDescriptor();
  private final cudnnFilterDescriptor w = new cudnnFilterDescriptor();
  private final cudnnConvolutionDescriptor how = new cudnnConvolutionDescriptor();
  private final cudnnActivationDescriptor identity = new cudnnActivationDescriptor();
  private final Algorithm algorithm;
  private final int count;

  /** What cuDNN's heuristics name. */
  private record Algorithm(int number, long workspace, boolean deterministic, int math) {}

  /** With the algorithm of this rank, or the best if there are fewer. */
  private CudnnConvolution(Cudnn cudnn, Kind kind, Sizes s, boolean tf32, int rank) {
    this.cudnn = cudnn;
    this.gpu = cudnn.gpu();
    this.kind = kind;
    int type = type(s.dtype());
    images(x, type, s.x());
    images(y, type, s.y());
    images(bias, type, new int[] {1, s.y()[1], 1, 1});
    check(JCudnn.cudnnCreateFilterDescriptor(w));
    int nhwc = cudnnTensorFormat.CUDNN_TENSOR_NHWC;
    int[] k = s.w();
    check(JCudnn.cudnnSetFilter4dDescriptor(w, type, nhwc, k[0], k[1], k[2], k[3]));
    check(JCudnn.cudnnCreateConvolutionDescriptor(how));
    check(
        JCudnn.cudnnSetConvolution2dDescriptor(
            how,
            s.padding()[0],
            s.padding()[1],
            s.stride()[0],
            s.stride()[1],
            s.dilation()[0],
            s.dilation()[1],
            cudnnConvolutionMode.CUDNN_CROSS_CORRELATION,
            cudnnDataType.CUDNN_DATA_FLOAT));
    check(JCudnn.cudnnSetConvolutionGroupCount(how, s.groups()));
    math(
        s.dtype() != DType.F32
            ? cudnnMathType.CUDNN_TENSOR_OP_MATH
            : tf32 ? cudnnMathType.CUDNN_DEFAULT_MATH : cudnnMathType.CUDNN_FMA_MATH);
    check(JCudnn.cudnnCreateActivationDescriptor(identity));
    check(
        JCudnn.cudnnSetActivationDescriptor(
            identity,
            cudnnActivationMode.CUDNN_ACTIVATION_IDENTITY,
            cudnnNanPropagation.CUDNN_PROPAGATE_NAN,
            0));
    List<Algorithm> ranked = ranked();
    algorithm = ranked.get(rank < ranked.size() ? rank : 0);
    count = ranked.size();
    math(algorithm.math());
  }

  /**
   * A convolution ready to run, by each of the algorithms that cuDNN's heuristics rank highest,
   * best first. Algorithms that give other digits from run to run are left out unless there are no
   * others.
   *
   * @param most the number of algorithms wanted
   * @param tf32 whether f32 may be rounded to tf32
   * @throws DeviceException if cuDNN refuses
   */
  public static List<CudnnConvolution> prepare(
      Cudnn cudnn, Kind kind, Sizes s, boolean tf32, int most) {
    synchronized (cudnn) {
      cudnn.gpu().enter();
      List<CudnnConvolution> found = new ArrayList<>();
      found.add(new CudnnConvolution(cudnn, kind, s, tf32, 0));
      for (int rank = 1; rank < Math.min(most, found.getFirst().count); rank++) {
        found.add(new CudnnConvolution(cudnn, kind, s, tf32, rank));
      }
      return found;
    }
  }

  /** The number of its algorithm among those of its kind. */
  public int algorithm() {
    return algorithm.number();
  }

  /**
   * Computes {@code out}.
   *
   * @param in x of a forward product, else dy
   * @param other w, or x for the gradient of the weight
   * @param out what is computed
   */
  public void run(long in, long other, long out) {
    synchronized (cudnn) {
      gpu.enter();
      try (Scratch scratch = gpu.scratch(algorithm.workspace())) {
        check(launch(new At(in), new At(other), new At(out), new At(scratch.address())));
      }
    }
  }

  /**
   * Computes {@code y = x * w + b} in one kernel, by the one algorithm that can.
   *
   * @throws DeviceException if cuDNN refuses
   */
  public void runWithBias(long in, long weight, long b, long out) {
    int fused = cudnnConvolutionFwdAlgo.CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    synchronized (cudnn) {
      gpu.enter();
      long[] bytes = new long[1];
      check(
          JCudnn.cudnnGetConvolutionForwardWorkspaceSize(
              cudnn.handle(), x, w, how, y, fused, bytes));
      try (Scratch scratch = gpu.scratch(bytes[0])) {
        At result = new At(out);
        check(
            JCudnn.cudnnConvolutionBiasActivationForward(
                cudnn.handle(),
                ONE,
                x,
                new At(in),
                w,
                new At(weight),
                how,
                fused,
                new At(scratch.address()),
                bytes[0],
                ZERO,
                y,
                result,
                bias,
                new At(b),
                identity,
                y,
                result));
      }
    }
  }

  private int launch(At in, At other, At out, At scratch) {
    return switch (kind) {
      case FORWARD ->
          JCudnn.cudnnConvolutionForward(
              cudnn.handle(),
              ONE,
              x,
              in,
              w,
              other,
              how,
              algorithm.number(),
              scratch,
              algorithm.workspace(),
              ZERO,
              y,
              out);
      case INPUT ->
          JCudnn.cudnnConvolutionBackwardData(
              cudnn.handle(),
              ONE,
              w,
              other,
              y,
              in,
              how,
              algorithm.number(),
              scratch,
              algorithm.workspace(),
              ZERO,
              x,
              out);
      case WEIGHT ->
          JCudnn.cudnnConvolutionBackwardFilter(
              cudnn.handle(),
              ONE,
              x,
              other,
              y,
              in,
              how,
              algorithm.number(),
              scratch,
              algorithm.workspace(),
              ZERO,
              w,
              out);
    };
  }

  private List<Algorithm> ranked() {
    int[] n = new int[1];
    int most = MOST_ALGORITHMS;
    List<Algorithm> all = new ArrayList<>();
    switch (kind) {
      case FORWARD -> {
        cudnnConvolutionFwdAlgoPerf[] found = new cudnnConvolutionFwdAlgoPerf[most];
        Arrays.setAll(found, i -> new cudnnConvolutionFwdAlgoPerf());
        check(
            JCudnn.cudnnGetConvolutionForwardAlgorithm_v7(
                cudnn.handle(), x, w, how, y, most, n, found));
        for (int i = 0; i < n[0]; i++) {
          var f = found[i];
          add(all, f.status, f.algo, f.memory, f.determinism, f.mathType);
        }
      }
      case INPUT -> {
        cudnnConvolutionBwdDataAlgoPerf[] found = new cudnnConvolutionBwdDataAlgoPerf[most];
        Arrays.setAll(found, i -> new cudnnConvolutionBwdDataAlgoPerf());
        check(
            JCudnn.cudnnGetConvolutionBackwardDataAlgorithm_v7(
                cudnn.handle(), w, y, how, x, most, n, found));
        for (int i = 0; i < n[0]; i++) {
          var f = found[i];
          add(all, f.status, f.algo, f.memory, f.determinism, f.mathType);
        }
      }
      case WEIGHT -> {
        cudnnConvolutionBwdFilterAlgoPerf[] found = new cudnnConvolutionBwdFilterAlgoPerf[most];
        Arrays.setAll(found, i -> new cudnnConvolutionBwdFilterAlgoPerf());
        check(
            JCudnn.cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                cudnn.handle(), x, y, how, w, most, n, found));
        for (int i = 0; i < n[0]; i++) {
          var f = found[i];
          add(all, f.status, f.algo, f.memory, f.determinism, f.mathType);
        }
      }
    }
    if (all.isEmpty()) {
      throw new DeviceException("cuDNN has no algorithm for it");
    }
    List<Algorithm> same = all.stream().filter(Algorithm::deterministic).toList();
    return same.isEmpty() ? all : same;
  }

  private static void add(
      List<Algorithm> all, int status, int number, long memory, int determinism, int math) {
    if (status == 0 && memory <= MOST_WORKSPACE) {
      boolean same = determinism == cudnnDeterminism.CUDNN_DETERMINISTIC;
      all.add(new Algorithm(number, memory, same, math));
    }
  }

  private void math(int type) {
    check(JCudnn.cudnnSetConvolutionMathType(how, type));
  }

  private static void images(cudnnTensorDescriptor t, int type, int[] sizes) {
    check(JCudnn.cudnnCreateTensorDescriptor(t));
    int nhwc = cudnnTensorFormat.CUDNN_TENSOR_NHWC;
    check(JCudnn.cudnnSetTensor4dDescriptor(t, nhwc, type, sizes[0], sizes[1], sizes[2], sizes[3]));
  }

  private static int type(DType dtype) {
    return switch (dtype) {
      case F32 -> cudnnDataType.CUDNN_DATA_FLOAT;
      case BF16 -> cudnnDataType.CUDNN_DATA_BFLOAT16;
      case F16 -> cudnnDataType.CUDNN_DATA_HALF;
      default -> throw new DeviceException("cuDNN is not used for " + dtype);
    };
  }

  private static void check(int status) {
    if (status != 0) {
      throw new DeviceException("cuDNN refuses with status " + status);
    }
  }

  /** An address on the device. */
  private static final class At extends Pointer {
    At(long address) {
      super(address);
    }
  }
}
