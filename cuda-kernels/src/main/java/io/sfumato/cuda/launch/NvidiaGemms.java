// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.library.Blas;
import io.sfumato.cuda.library.ColumnGemm;
import io.sfumato.cuda.library.Cublas;
import io.sfumato.cuda.library.CublasLt;
import io.sfumato.cuda.library.LibrarySearch;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.tensor.DType;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Products by cuBLASLt, which costs the host less per call and adds a bias in the same pass, or by
 * cuBLAS. A matrix in row-major order is its transpose in column-major order, so {@code Cᵀ = Bᵀ Aᵀ}
 * is what they are asked for.
 */
final class NvidiaGemms implements Gemms {
  /** {@code false}: not used; {@code lt}: cuBLASLt alone; {@code ex}: cuBLAS alone. */
  static final String PROPERTY = "sfumato.cuda.cublas";

  private static final Logger LOG = System.getLogger(NvidiaGemms.class.getName());
  private static final long WORKSPACE_BYTES = 32L << 20; // what NVIDIA recommends for Hopper
  private static final int MOST_CALLS = 16; // of the outer batch axis, which takes a call each
  private static final int ALIGNMENT = 256;

  private final List<Blas> libraries;
  private volatile boolean failed;

  NvidiaGemms(List<Blas> libraries) {
    this.libraries = libraries;
  }

  /** The libraries of this machine for a device, or null, with one line of the log. */
  static @Nullable NvidiaGemms open(Gpu gpu) {
    String wanted = System.getProperty(PROPERTY, "true");
    if (wanted.equals("false")) {
      LOG.log(Level.INFO, "cuda: own kernels multiply matrices, because " + PROPERTY + " is false");
      return null;
    }
    if (!System.getProperty("os.name", "").equals("Linux")) {
      LOG.log(Level.INFO, "cuda: own kernels multiply matrices; cuBLAS is used on Linux only");
      return null;
    }
    gpu.enter();
    LibrarySearch search = LibrarySearch.ofThisMachine();
    boolean cuda13 = Gpu.driverVersion() >= 13000;
    long workspace = gpu.memory().allocate(WORKSPACE_BYTES);
    List<Blas> found = new ArrayList<>();
    List<String> reasons = new ArrayList<>();
    if (!wanted.equals("ex")) {
      try {
        found.add(CublasLt.open(search, cuda13, gpu.stream(), workspace, WORKSPACE_BYTES));
      } catch (MissingLibraryException e) {
        reasons.add(e.getMessage());
      }
    }
    if (!wanted.equals("lt")) {
      try {
        found.add(Cublas.open(search, cuda13, gpu.stream(), workspace, WORKSPACE_BYTES));
      } catch (MissingLibraryException e) {
        reasons.add(e.getMessage());
      }
    }
    String because = String.join("; ", reasons);
    if (found.isEmpty()) {
      gpu.memory().free(workspace);
      LOG.log(Level.INFO, "cuda: own kernels multiply matrices, because " + because);
      return null;
    }
    String names = String.join(" and ", found.stream().map(Blas::name).toList());
    LOG.log(
        Level.INFO,
        "cuda: "
            + names
            + " multiply matrices"
            + (because.isEmpty() ? "" : "; not used, because " + because));
    return new NvidiaGemms(found);
  }

  @Override
  public boolean takes(Product p) {
    ColumnGemm call = call(p);
    return call != null && libraries.stream().anyMatch(b -> b.takes(call));
  }

  @Override
  public boolean run(Gpu gpu, Product p) {
    ColumnGemm call = call(p);
    if (call == null) {
      return false;
    }
    gpu.enter();
    for (Blas blas : libraries) {
      if (blas.takes(call) && run(blas, call, p)) {
        return true;
      }
    }
    return false;
  }

  private boolean run(Blas blas, ColumnGemm call, Product p) {
    int bytes = p.dtype().bytes();
    for (int i = 0; i < p.outer(); i++) {
      int status =
          blas.gemm(
              call,
              p.b().address() + i * p.b().outer() * bytes,
              p.a().address() + i * p.a().outer() * bytes,
              p.c().address() + i * p.c().outer() * bytes,
              p.bias(),
              p.alpha(),
              p.beta());
      if (status != 0 && i > 0) {
        throw new IllegalStateException(blas.name() + " reported status " + status + " at " + p);
      }
      if (status != 0) {
        refused(blas, p, status);
        return false;
      }
    }
    return true;
  }

  private void refused(Blas blas, Product p, int status) {
    boolean unsupported = status == 15 || status == 7; // of this shape alone
    if (!unsupported) {
      failed = true;
    }
    LOG.log(
        unsupported ? Level.DEBUG : Level.WARNING,
        "cuda: "
            + (unsupported
                ? "something else multiplies matrices here"
                : "own kernels multiply matrices from now on")
            + ", because "
            + blas.name()
            + " reported status "
            + status
            + " for "
            + p);
  }

  /** The call for the transposed product, or null if it cannot be one. */
  private @Nullable ColumnGemm call(Product p) {
    if (failed || p.more() != null || p.outer() > MOST_CALLS || p.k() == 0) {
      return null;
    }
    int ldb = leading(p.b().column(), p.b().row(), p.n(), p.k());
    int ldbT = leading(p.b().row(), p.b().column(), p.k(), p.n());
    int lda = leading(p.a().column(), p.a().row(), p.k(), p.m());
    int ldaT = leading(p.a().row(), p.a().column(), p.m(), p.k());
    int ldc = leading(1, p.c().row(), p.n(), p.m());
    if ((ldb == 0 && ldbT == 0) || (lda == 0 && ldaT == 0) || ldc == 0) {
      return null;
    }
    long addresses = p.a().address() | p.b().address() | p.c().address() | p.bias() | ALIGNMENT;
    int bytes = p.dtype().bytes();
    if (p.outer() > 1) {
      addresses |= bytes * (p.a().outer() | p.b().outer() | p.c().outer());
    }
    return new ColumnGemm(
        p.dtype(),
        p.dtype() == DType.F32 && Tf32.allowed(),
        ldb == 0,
        lda == 0,
        p.n(),
        p.m(),
        p.k(),
        ldb == 0 ? ldbT : ldb,
        lda == 0 ? ldaT : lda,
        ldc,
        p.inner(),
        p.inner() == 1 ? 0 : p.b().inner(),
        p.inner() == 1 ? 0 : p.a().inner(),
        p.inner() == 1 ? 0 : p.c().inner(),
        p.bias() != 0,
        (int) Long.lowestOneBit(addresses));
  }

  /**
   * The leading dimension of a matrix of {@code columns} columns of {@code rows} elements with
   * these strides within and between columns; 0 if it is not one.
   */
  private static int leading(long within, long between, int rows, int columns) {
    if (within != 1 && rows != 1) {
      return 0;
    }
    if (columns == 1) {
      return rows;
    }
    return between >= rows && between <= Integer.MAX_VALUE ? (int) between : 0;
  }
}
