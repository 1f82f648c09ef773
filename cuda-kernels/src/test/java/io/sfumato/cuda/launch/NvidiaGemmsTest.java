// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.library.Blas;
import io.sfumato.cuda.library.Cublas;
import io.sfumato.cuda.library.CublasLt;
import io.sfumato.cuda.library.LibrarySearch;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.cuda.library.NativesCache;
import io.sfumato.cuda.testing.EmulatorBuild;
import io.sfumato.cuda.testing.EmulatorControl;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Products by cuBLAS and cuBLASLt, which on a machine without a GPU are libraries made for the test
 * that compute on the host: what they are asked for, for all orders of operands.
 */
class NvidiaGemmsTest {
  private static final Device GPU = new Device("cuda", 0);
  private static final long WORKSPACE = 1 << 20;

  @TempDir static Path folder;

  private final SplittableRandom random = new SplittableRandom(11);
  private final Gpu gpu = Gpu.of(0);

  @BeforeAll
  static void build() throws Exception {
    assumeTrue(EmulatorControl.isEmulated(), "on a GPU the real libraries serve all tests");
    Path source = EmulatorBuild.moduleFolder().resolve("src/test/emulator/fake_cublas.cpp");
    for (String name : List.of("libcublas.so.13", "libcublasLt.so.13")) {
      Path map = Files.writeString(folder.resolve(name + ".map"), name + " { global: *; };\n");
      Process p =
          new ProcessBuilder(
                  "g++",
                  "-O1",
                  "-std=c++20",
                  "-shared",
                  "-fPIC",
                  "-Wl,-soname," + name,
                  "-Wl,--version-script=" + map,
                  source + "",
                  "-o",
                  folder.resolve(name) + "")
              .inheritIO()
              .start();
      assertEquals(0, p.waitFor(), "g++");
    }
    System.setProperty(LibrarySearch.PROPERTY, folder + "");
    System.setProperty(NativesCache.PROPERTY, folder.resolve("cache") + "");
  }

  @AfterEach
  void restore() {
    System.clearProperty(LibrarySearch.PROPERTY);
    System.clearProperty(NativesCache.PROPERTY);
    Tf32.allow(false);
  }

  private enum Kind {
    LT,
    EX;

    Blas open(Gpu gpu) throws MissingLibraryException {
      System.setProperty(LibrarySearch.PROPERTY, folder + "");
      System.setProperty(NativesCache.PROPERTY, folder.resolve("cache") + "");
      long workspace = gpu.memory().allocate(WORKSPACE);
      LibrarySearch search = LibrarySearch.ofThisMachine();
      return this == LT
          ? CublasLt.open(search, true, gpu.stream(), workspace, WORKSPACE)
          : Cublas.open(search, true, gpu.stream(), workspace, WORKSPACE);
    }
  }

  private Tensor tensor(DType dtype, int n) {
    double[] values = new double[n];
    for (int i = 0; i < n; i++) {
      values[i] = random.nextGaussian();
    }
    return Tensor.of(values, dtype, GPU, n);
  }

  @ParameterizedTest
  @EnumSource
  void asksForWhatOwnKernelsCompute(Kind kind) throws Exception {
    NvidiaGemms nvidia = new NvidiaGemms(List.of(kind.open(gpu)));
    for (DType dtype : new DType[] {DType.F32, DType.BF16, DType.F16, DType.F64}) {
      for (int orders = 0; orders < 4; orders++) {
        boolean a = orders % 2 == 0;
        boolean b = orders < 2;
        Scope.run(() -> compare(nvidia, kind, dtype, a, b));
      }
    }
  }

  /** Products of 5 x 6 x 7, two along the outer batch axis and three along the inner one. */
  private void compare(NvidiaGemms nvidia, Kind kind, DType dtype, boolean aRows, boolean bRows) {
    int m = 5;
    int n = 6;
    int k = 7;
    Tensor x = tensor(dtype, 600);
    Tensor y = tensor(dtype, 700);
    Tensor bias = tensor(dtype, n);
    double[] old = tensor(dtype, 6 * 9 * 9).toDoubleArray();
    Tensor own = Tensor.of(old, dtype, GPU, old.length);
    Tensor other = Tensor.of(old, dtype, GPU, old.length);
    Matrices a = new Matrices(x.address(), aRows ? 9 : 1, aRows ? 1 : 8, 200, 60);
    Matrices b = new Matrices(y.address(), bRows ? 7 : 1, bRows ? 1 : 10, 300, 0);
    Matrices c = new Matrices(own.address(), 9, 1, 3 * 81, 81);
    Product p = Product.of(dtype, m, n, k, a, b, c).batches(2, 3).scaled(0.5, 2);
    if (kind == Kind.LT) {
      p = p.plusBias(bias.address());
    }
    assertTrue(new OwnGemms().run(gpu, p));
    assertTrue(nvidia.run(gpu, p.on(a, b, c.at(other.address()))), "taken");
    double[] expected = own.toDoubleArray();
    double[] got = other.toDoubleArray();
    double scale = dtype == DType.BF16 ? 0x1p-7 : dtype == DType.F16 ? 0x1p-10 : 0x1p-20;
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], got[i], scale * (1 + Math.abs(expected[i])), p + " at " + i);
    }
  }

  @Test
  void rowsAndColumnsOfOneElementHaveAnyStride() throws Exception {
    NvidiaGemms nvidia = new NvidiaGemms(List.of(Kind.LT.open(gpu)));
    Scope.run(
        () -> {
          for (int[] shape : new int[][] {{1, 4, 5}, {4, 1, 5}, {4, 5, 1}, {1, 1, 1}, {1, 1, 6}}) {
            int m = shape[0];
            int n = shape[1];
            int k = shape[2];
            Tensor x = tensor(DType.F32, m * k);
            Tensor y = tensor(DType.F32, k * n);
            Tensor own = tensor(DType.F32, m * n);
            Tensor other = tensor(DType.F32, m * n);
            Matrices a = Matrices.rowMajor(x.address(), k);
            Matrices b = Matrices.of(y.address(), 1, k);
            Product p = Product.of(DType.F32, m, n, k, a, b, Matrices.rowMajor(own.address(), n));
            assertTrue(new OwnGemms().run(gpu, p));
            assertTrue(nvidia.run(gpu, p.on(a, b, Matrices.rowMajor(other.address(), n))));
            double[] expected = own.toDoubleArray();
            double[] got = other.toDoubleArray();
            for (int i = 0; i < expected.length; i++) {
              assertEquals(expected[i], got[i], 1e-5, p + " at " + i);
            }
          }
        });
  }

  @Test
  void whatTheLibraryCannotDoIsLeftToOwnKernels() throws Exception {
    NvidiaGemms nvidia = new NvidiaGemms(List.of(Kind.LT.open(gpu)));
    Scope.run(
        () -> {
          Tensor x = tensor(DType.F32, 400);
          Matrices a = Matrices.rowMajor(x.address(), 13);
          Matrices c = Matrices.rowMajor(tensor(DType.F32, 16).address(), 4);
          Product refused =
              Product.of(DType.F32, 4, 4, 13, a, Matrices.rowMajor(x.address(), 4), c);
          assertFalse(nvidia.run(gpu, refused), "no algorithm");
          Matrices gaps = Matrices.of(x.address(), 20, 2);
          Product strided =
              Product.of(DType.F32, 4, 4, 5, gaps, Matrices.rowMajor(x.address(), 4), c);
          assertFalse(nvidia.takes(strided), "no unit stride");
          Matrices repeated = Matrices.of(x.address(), 0, 1);
          assertFalse(nvidia.takes(strided.on(repeated, strided.b(), c)), "equal rows");
          assertFalse(
              nvidia.takes(Product.of(DType.F32, 4, 4, 0, a, Matrices.rowMajor(x.address(), 4), c)),
              "no products");
          assertTrue(
              nvidia.run(
                  gpu, Product.of(DType.F32, 4, 4, 5, a, Matrices.rowMajor(x.address(), 4), c)),
              "goes on after a refusal");
        });
  }

  @Test
  void absentLibrariesAreReportedWithTheRemedy() {
    System.setProperty(LibrarySearch.PROPERTY, folder.resolve("empty") + "");
    LibrarySearch search = LibrarySearch.ofThisMachine();
    MissingLibraryException e =
        assertThrows(
            MissingLibraryException.class, () -> CublasLt.open(search, false, gpu.stream(), 0, 0));
    assertTrue(e.getMessage().contains("libcublasLt.so.12 was not found"), e.getMessage());
    assertTrue(e.getMessage().contains(LibrarySearch.PROPERTY), e.getMessage());
  }
}
