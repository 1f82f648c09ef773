// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DType;
import java.io.Serial;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * cuBLASLt, which JCuda does not bind, by {@code java.lang.foreign}: products with a bias in the
 * same pass. For each shape the descriptors and the algorithm that the library recommends are made
 * once; a later call passes addresses only.
 */
public final class CublasLt implements Blas {
  // cublasLtMatmulDescAttributes_t
  private static final int DESC_TRANSA = 3;
  private static final int DESC_TRANSB = 4;
  private static final int DESC_EPILOGUE = 7;
  private static final int DESC_BIAS_POINTER = 8;
  // cublasLtMatrixLayoutAttribute_t
  private static final int LAYOUT_BATCH_COUNT = 5;
  private static final int LAYOUT_BATCH_OFFSET = 6;
  // cublasLtMatmulPreferenceAttributes_t
  private static final int PREFER_WORKSPACE = 1;
  private static final int PREFER_REDUCTIONS = 3;
  private static final int PREFER_ALIGNMENT_A = 5; // B, C and D follow
  private static final int REDUCE_IN_COMPUTE_TYPE =
      3; // in place or with a workspace, not in C's type
  private static final int EPILOGUE_BIAS = 4;
  private static final int NOT_SUPPORTED = 15;
  // cublasLtMatmulHeuristicResult_t: 64 bytes of algorithm, size of the workspace, status, …
  private static final long RESULT_BYTES = 96;
  private static final long RESULT_WORKSPACE = 64;
  private static final long RESULT_STATUS = 72;

  private final NativeLibrary library;
  private final long stream;
  private final long workspace;
  private final long workspaceBytes;
  private final MethodHandle matmul;
  private final MethodHandle setDesc;
  private final MethodHandle createDesc;
  private final MethodHandle createLayout;
  private final MethodHandle setLayout;
  private final MethodHandle createPreference;
  private final MethodHandle setPreference;
  private final MethodHandle destroyPreference;
  private final MethodHandle heuristic;
  private final long handle;
  private final MemorySegment factors = Arena.global().allocate(16, 16);
  private final MemorySegment biasPointer = Arena.global().allocate(8, 8);
  private final Map<ColumnGemm, Plan> plans = new HashMap<>();

  /** What is made once for a shape; status other than 0: it cannot be done. */
  private record Plan(
      int status, long desc, long a, long b, long c, MemorySegment algorithm, long workspace) {}

  private CublasLt(NativeLibrary library, long stream, long workspace, long workspaceBytes)
      throws MissingLibraryException {
    this.library = library;
    this.stream = stream;
    this.workspace = workspace;
    this.workspaceBytes = workspaceBytes;
    createDesc = library.function("cublasLtMatmulDescCreate", ADDRESS, JAVA_INT, JAVA_INT);
    setDesc =
        library.function("cublasLtMatmulDescSetAttribute", JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG);
    createLayout =
        library.function(
            "cublasLtMatrixLayoutCreate", ADDRESS, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    setLayout =
        library.function(
            "cublasLtMatrixLayoutSetAttribute", JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG);
    createPreference = library.function("cublasLtMatmulPreferenceCreate", ADDRESS);
    setPreference =
        library.function(
            "cublasLtMatmulPreferenceSetAttribute", JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG);
    destroyPreference = library.function("cublasLtMatmulPreferenceDestroy", JAVA_LONG);
    heuristic =
        library.function(
            "cublasLtMatmulAlgoGetHeuristic",
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            ADDRESS,
            ADDRESS);
    matmul =
        library.function(
            "cublasLtMatmul",
            JAVA_LONG, // handle
            JAVA_LONG, // description
            ADDRESS, // alpha
            JAVA_LONG, // A
            JAVA_LONG,
            JAVA_LONG, // B
            JAVA_LONG,
            ADDRESS, // beta
            JAVA_LONG, // C
            JAVA_LONG,
            JAVA_LONG, // D
            JAVA_LONG,
            ADDRESS, // algorithm
            JAVA_LONG, // workspace
            JAVA_LONG,
            JAVA_LONG); // stream
    MethodHandle create = library.function("cublasLtCreate", ADDRESS);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(8, 8);
      int status = (int) create.invokeExact(out);
      if (status != 0) {
        throw new MissingLibraryException("cublasLtCreate reported status " + status);
      }
      handle = out.get(JAVA_LONG, 0);
    } catch (MissingLibraryException e) {
      throw e;
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  /**
   * Binds the library to a stream.
   *
   * @param search where to look
   * @param cuda13 whether the driver is new enough for CUDA 13
   * @param stream the stream (CUstream) of the current context
   * @param workspace device memory that the calls may use
   * @param workspaceBytes its size
   * @throws MissingLibraryException if it cannot be used
   */
  public static CublasLt open(
      LibrarySearch search, boolean cuda13, long stream, long workspace, long workspaceBytes)
      throws MissingLibraryException {
    NativeLibrary library = NativeLibrary.open(search, Versions.files("libcublasLt.so", cuda13));
    return new CublasLt(library, stream, workspace, workspaceBytes);
  }

  @Override
  public String name() {
    return library.path();
  }

  @Override
  public boolean takes(ColumnGemm call) {
    return true;
  }

  @Override
  public synchronized int gemm(
      ColumnGemm call, long a, long b, long c, long bias, double alpha, double beta) {
    try {
      Plan plan = plans.get(call);
      if (plan == null) {
        try {
          plan = plan(call, bias);
        } catch (StatusException e) {
          plan = new Plan(e.status, 0, 0, 0, 0, MemorySegment.NULL, 0);
        }
        plans.put(call, plan);
      }
      if (plan.status != 0) {
        return plan.status;
      }
      if (call.bias()) {
        biasPointer.set(JAVA_LONG, 0, bias);
        check((int) setDesc.invokeExact(plan.desc, DESC_BIAS_POINTER, biasPointer, 8L));
      }
      boolean wide = call.dtype() == DType.F64;
      if (wide) {
        factors.set(ValueLayout.JAVA_DOUBLE, 0, alpha);
        factors.set(ValueLayout.JAVA_DOUBLE, 8, beta);
      } else {
        factors.set(ValueLayout.JAVA_FLOAT, 0, (float) alpha);
        factors.set(ValueLayout.JAVA_FLOAT, 8, (float) beta);
      }
      return (int)
          matmul.invokeExact(
              handle,
              plan.desc,
              factors,
              a,
              plan.a,
              b,
              plan.b,
              factors.asSlice(8),
              c,
              plan.c,
              c,
              plan.c,
              plan.algorithm,
              workspace,
              plan.workspace,
              stream);
    } catch (Throwable t) {
      throw rethrown(t);
    }
  }

  private Plan plan(ColumnGemm call, long bias) throws Throwable {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(8, 8);
      check((int) createDesc.invokeExact(out, call.computeType(), call.scaleType()));
      long desc = out.get(JAVA_LONG, 0);
      describe(arena, desc, DESC_TRANSA, call.transposeA() ? 1 : 0);
      describe(arena, desc, DESC_TRANSB, call.transposeB() ? 1 : 0);
      if (call.bias()) {
        describe(arena, desc, DESC_EPILOGUE, EPILOGUE_BIAS);
        biasPointer.set(JAVA_LONG, 0, bias); // its alignment counts
        check((int) setDesc.invokeExact(desc, DESC_BIAS_POINTER, biasPointer, 8L));
      }
      boolean ta = call.transposeA();
      boolean tb = call.transposeB();
      long a =
          layout(
              arena,
              call,
              ta ? call.k() : call.m(),
              ta ? call.m() : call.k(),
              call.lda(),
              call.strideA());
      long b =
          layout(
              arena,
              call,
              tb ? call.n() : call.k(),
              tb ? call.k() : call.n(),
              call.ldb(),
              call.strideB());
      long c = layout(arena, call, call.m(), call.n(), call.ldc(), call.strideC());
      check((int) createPreference.invokeExact(out));
      long preference = out.get(JAVA_LONG, 0);
      prefer(preference, PREFER_WORKSPACE, arena.allocateFrom(JAVA_LONG, workspaceBytes));
      prefer(preference, PREFER_REDUCTIONS, arena.allocateFrom(JAVA_INT, REDUCE_IN_COMPUTE_TYPE));
      for (int i = 0; i < 4; i++) {
        MemorySegment alignment = arena.allocateFrom(JAVA_INT, call.alignment());
        prefer(preference, PREFER_ALIGNMENT_A + i, alignment);
      }
      MemorySegment result = Arena.global().allocate(RESULT_BYTES, 8);
      MemorySegment count = arena.allocate(JAVA_INT);
      int status =
          (int) heuristic.invokeExact(handle, desc, a, b, c, c, preference, 1, result, count);
      check((int) destroyPreference.invokeExact(preference));
      if (status == 0 && count.get(JAVA_INT, 0) < 1) {
        status = NOT_SUPPORTED;
      }
      if (status == 0) {
        status = result.get(JAVA_INT, RESULT_STATUS);
      }
      return new Plan(status, desc, a, b, c, result, result.get(JAVA_LONG, RESULT_WORKSPACE));
    }
  }

  private void describe(Arena arena, long desc, int attribute, int value) throws Throwable {
    MemorySegment x = arena.allocateFrom(JAVA_INT, value);
    check((int) setDesc.invokeExact(desc, attribute, x, 4L));
  }

  private void prefer(long preference, int attribute, MemorySegment value) throws Throwable {
    check((int) setPreference.invokeExact(preference, attribute, value, value.byteSize()));
  }

  private long layout(Arena arena, ColumnGemm call, long rows, long columns, long ld, long stride)
      throws Throwable {
    MemorySegment out = arena.allocate(8, 8);
    check((int) createLayout.invokeExact(out, call.dataType(), rows, columns, ld));
    long layout = out.get(JAVA_LONG, 0);
    if (call.batch() > 1) {
      MemorySegment count = arena.allocateFrom(JAVA_INT, call.batch());
      check((int) setLayout.invokeExact(layout, LAYOUT_BATCH_COUNT, count, 4L));
      MemorySegment offset = arena.allocateFrom(JAVA_LONG, stride);
      check((int) setLayout.invokeExact(layout, LAYOUT_BATCH_OFFSET, offset, 8L));
    }
    return layout;
  }

  private static void check(int status) {
    if (status != 0) {
      throw new StatusException(status);
    }
  }

  /** A call that makes a plan failed. */
  private static final class StatusException extends RuntimeException {
    @Serial private static final long serialVersionUID = 1L;

    private final int status;

    StatusException(int status) {
      super("cuBLASLt reported status " + status);
      this.status = status;
    }
  }

  private static RuntimeException rethrown(Throwable t) {
    if (t instanceof Error e) {
      throw e;
    }
    return t instanceof RuntimeException e ? e : new IllegalStateException(t);
  }

  /** For tests: the shapes that have been planned. */
  synchronized List<ColumnGemm> planned() {
    return List.copyOf(plans.keySet());
  }
}
