// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.sfumato.tensor.DType;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import jcuda.JCudaVersion;
import jcuda.Pointer;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import org.jspecify.annotations.Nullable;

/**
 * cuBLAS through JCublas. Its native part was linked against CUDA 12; where the machine has CUDA
 * 13, a changed copy is loaded, from a private folder.
 */
public final class Cublas implements Blas {
  private static final int GEMM_DEFAULT = -1;
  // CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: partial sums of 16-bit products stay f32
  private static final int MATH_MODE = 16;
  private static final String BUILT_FOR = "libcublas.so.12";

  private static @Nullable String loadedFor;

  private final NativeLibrary library;
  private final Handle handle = new Handle();
  private final MemorySegment factors = Arena.global().allocate(16, 16);
  private final Pointer alpha = new Address(factors.address());
  private final Pointer beta = new Address(factors.address() + 8);

  /** A handle that tells its address. */
  private static final class Handle extends cublasHandle {
    long address() {
      return getNativePointer();
    }
  }

  /** An address on the device or the host. */
  private static final class Address extends Pointer {
    Address(long address) {
      super(address);
    }
  }

  private Cublas(NativeLibrary library, long stream, long workspace, long workspaceBytes)
      throws MissingLibraryException {
    this.library = library;
    int status = JCublas2.cublasCreate(handle);
    if (status != 0) {
      throw new MissingLibraryException("cublasCreate reported status " + status);
    }
    MethodHandle setStream = library.function("cublasSetStream_v2", JAVA_LONG, JAVA_LONG);
    try {
      status = (int) setStream.invokeExact(handle.address(), stream);
    } catch (Throwable t) {
      throw new MissingLibraryException("cublasSetStream failed", t);
    }
    if (status == 0) {
      status = JCublas2.cublasSetWorkspace(handle, new Address(workspace), workspaceBytes);
    }
    if (status == 0) {
      status = JCublas2.cublasSetMathMode(handle, MATH_MODE);
    }
    if (status != 0) {
      throw new MissingLibraryException("cuBLAS cannot be set up: status " + status);
    }
  }

  /**
   * Binds the library to a stream; parameters as for {@link CublasLt#open}.
   *
   * @param search where to look
   * @param cuda13 whether the driver is new enough for CUDA 13
   * @param stream the stream (CUstream) of the current context
   * @param workspace device memory that the calls may use
   * @param workspaceBytes its size
   * @throws MissingLibraryException if it cannot be used
   */
  public static Cublas open(
      LibrarySearch search, boolean cuda13, long stream, long workspace, long workspaceBytes)
      throws MissingLibraryException {
    NativeLibrary library = NativeLibrary.open(search, Versions.files("libcublas.so", cuda13));
    library.require(
        "cublasCreate_v2",
        "cublasSetStream_v2",
        "cublasSetWorkspace_v2",
        "cublasSetMathMode",
        "cublasGemmEx",
        "cublasGemmStridedBatchedEx");
    try {
      load(library.file(), NativesCache.ofThisUser());
      return new Cublas(library, stream, workspace, workspaceBytes);
    } catch (LinkageError | RuntimeException e) {
      throw new MissingLibraryException("JCublas cannot be loaded: " + e.getMessage(), e);
    }
  }

  /** Loads the native part of JCublas, made for the library of this name. */
  private static synchronized void load(String needed, NativesCache cache)
      throws MissingLibraryException {
    if (needed.equals(loadedFor)) {
      return;
    }
    if (loadedFor != null) {
      throw new MissingLibraryException("JCublas is loaded for " + loadedFor);
    }
    String name = "libJCublas2-" + JCudaVersion.get() + "-linux-x86_64.so";
    Path placed;
    try (InputStream in = ClassLoader.getSystemResourceAsStream("lib/" + name)) {
      if (in == null) {
        throw new MissingLibraryException(
            "lib/" + name + " is not on the class path; add org.jcuda:jcublas-natives");
      }
      byte[] object = in.readAllBytes();
      if (!needed.equals(BUILT_FOR)) {
        object = Relink.relink(object, BUILT_FOR, needed);
      }
      placed = cache.place(name, object);
    } catch (IOException | IllegalArgumentException e) {
      throw new MissingLibraryException("JCublas cannot be prepared: " + e.getMessage(), e);
    }
    JCudaLoader.load(placed, JCublas2::initialize);
    loadedFor = needed;
  }

  @Override
  public String name() {
    return library.path();
  }

  @Override
  public boolean takes(ColumnGemm call) {
    return !call.bias();
  }

  @Override
  public synchronized int gemm(
      ColumnGemm call, long a, long b, long c, long bias, double alphaValue, double betaValue) {
    if (call.dtype() == DType.F64) {
      factors.set(ValueLayout.JAVA_DOUBLE, 0, alphaValue);
      factors.set(ValueLayout.JAVA_DOUBLE, 8, betaValue);
    } else {
      factors.set(ValueLayout.JAVA_FLOAT, 0, (float) alphaValue);
      factors.set(ValueLayout.JAVA_FLOAT, 8, (float) betaValue);
    }
    int type = call.dataType();
    int ta = call.transposeA() ? 1 : 0;
    int tb = call.transposeB() ? 1 : 0;
    if (call.batch() == 1) {
      return JCublas2.cublasGemmEx_new(
          handle,
          ta,
          tb,
          call.m(),
          call.n(),
          call.k(),
          alpha,
          new Address(a),
          type,
          call.lda(),
          new Address(b),
          type,
          call.ldb(),
          beta,
          new Address(c),
          type,
          call.ldc(),
          call.computeType(),
          GEMM_DEFAULT);
    }
    return JCublas2.cublasGemmStridedBatchedEx_new(
        handle,
        ta,
        tb,
        call.m(),
        call.n(),
        call.k(),
        alpha,
        new Address(a),
        type,
        call.lda(),
        call.strideA(),
        new Address(b),
        type,
        call.ldb(),
        call.strideB(),
        beta,
        new Address(c),
        type,
        call.ldc(),
        call.strideC(),
        call.batch(),
        call.computeType(),
        GEMM_DEFAULT);
  }
}
