// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda;

import static io.sfumato.cuda.DeviceAgreement.check;
import static io.sfumato.cuda.DeviceAgreement.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.AdamWStep;
import io.sfumato.tensor.ops.CopyAll;
import io.sfumato.tensor.ops.EmaStep;
import io.sfumato.tensor.ops.LionStep;
import io.sfumato.tensor.ops.RunningAverage;
import io.sfumato.tensor.ops.SgdStep;
import io.sfumato.tensor.ops.SquaredNorm;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Optimiser steps over more tensors than one table takes, of many sizes and types. */
class UpdateKernelsTest {
  private static final double F32 = 2e-6;

  /** {@code lists} tensors each of some shapes; the last list positive if asked for. */
  private static Tensor[] tensors(int lists, boolean positive, DType... types) {
    List<int[]> shapes = new ArrayList<>();
    for (int i = 0; i < 170; i++) {
      shapes.add(new int[] {1 + i % 13});
    }
    shapes.add(new int[] {0, 3});
    shapes.add(new int[] {3, 6001});
    shapes.add(new int[] {2, 8192});
    shapes.add(new int[] {2, 4, 7});
    Tensor[] all = new Tensor[lists * shapes.size()];
    for (int l = 0; l < lists; l++) {
      for (int k = 0; k < shapes.size(); k++) {
        Tensor t = normal(types[l], 100 * l + k, shapes.get(k));
        if (k % 7 == 3) { // not aligned to 16 bytes
          int[] shape = shapes.get(k).clone();
          shape[0]++;
          t = normal(types[l], 100 * l + k, shape).slice(0, 1, shape[0]);
        }
        all[l * shapes.size() + k] = positive && l == lists - 1 ? t.square() : t;
      }
    }
    return all;
  }

  @Test
  void adamw() throws Throwable {
    try (Scope scope = Scope.open()) {
      DType f = DType.F32;
      DType h = DType.BF16;
      for (boolean decoupled : new boolean[] {true, false}) {
        Tensor[] in = tensors(4, true, f, f, f, f);
        int count = in.length / 4;
        check(F32, new AdamWStep(count, 1e-2, 0.9, 0.99, 1e-6, 0.1, decoupled, 3, 0.5), in);
      }
      Tensor[] mixed = tensors(4, true, h, h, f, f);
      int count = mixed.length / 4;
      check(F32, new AdamWStep(count, 1e-2, 0.9, 0.99, 1e-6, 0.1, true, 1, 1), mixed);
      Tensor[] f16 = tensors(4, true, f, DType.F16, f, h);
      check(F32, new AdamWStep(count, 1e-2, 0.9, 0.99, 1e-6, 0.1, true, 1, 1), f16);
    }
  }

  @Test
  void adamwWithLimitAndAverages() throws Throwable {
    try (Scope scope = Scope.open()) {
      DType f = DType.F32;
      DType h = DType.BF16;
      for (double norm : new double[] {4e4, 1e-4, Double.POSITIVE_INFINITY}) {
        for (DType[] types :
            new DType[][] {{f, f, f, f, f}, {f, h, f, f, h}, {DType.F64, DType.F64}}) {
          DType p = types[0];
          DType[] five = types.length == 5 ? types : new DType[] {p, p, p, p, p};
          Tensor square = Tensor.of(new double[] {norm}, p, Device.CPU).reshape();
          double tolerance = p == f ? F32 : 1e-14;
          Tensor[] averaged = positive(tensors(5, false, five), 3);
          int count = averaged.length / 5;
          check(tolerance, step(count, 7.0, 0.9), with(averaged, square));
          check(tolerance, step(count, null, 0.9), averaged);
          check(
              tolerance, step(count, 7.0, null), with(Arrays.copyOf(averaged, 4 * count), square));
        }
      }
      Tensor one = normal(f, 1, 40);
      check(F32, step(1, 1.0, null), one, normal(f, 2, 40), one, one.square(), Tensor.scalar(9));
    }
  }

  private static AdamWStep step(int count, @Nullable Double maxNorm, @Nullable Double decay) {
    return new AdamWStep(count, 1e-2, 0.9, 0.99, 1e-6, 0.1, true, 3, 0.5, maxNorm, decay);
  }

  private static Tensor[] positive(Tensor[] lists, int which) {
    int count = lists.length / 5;
    for (int k = which * count; k < (which + 1) * count; k++) {
      lists[k] = lists[k].square();
    }
    return lists;
  }

  private static Tensor[] with(Tensor[] lists, Tensor last) {
    Tensor[] all = Arrays.copyOf(lists, lists.length + 1);
    all[lists.length] = last;
    return all;
  }

  @Test
  void sgdAndLion() throws Throwable {
    try (Scope scope = Scope.open()) {
      DType f = DType.F32;
      Tensor[] three = tensors(3, false, f, f, f);
      int count = three.length / 3;
      check(F32, new SgdStep(count, 0.1, 0.9, true, 0.01, 0.5), three);
      check(F32, new SgdStep(count, 0.1, 0.9, false, 0.01, 0.5), three);
      check(F32, new LionStep(count, 0.01, 0.9, 0.99, 0.1, 0.5), three);
      check(F32, new SgdStep(count, 0.1, 0, false, 0.01, 1), tensors(2, false, f, DType.BF16));
    }
  }

  @Test
  void averagesCopiesAndNorms() throws Throwable {
    try (Scope scope = Scope.open()) {
      DType f = DType.F32;
      Tensor[] two = tensors(2, false, f, f);
      int count = two.length / 2;
      check(F32, new EmaStep(count, 0.95), two);
      check(F32, new EmaStep(count, 0.95), tensors(2, false, f, DType.BF16));
      check(0, new CopyAll(count), tensors(2, false, DType.BF16, f));
      check(0, new CopyAll(count), tensors(2, false, DType.F16, f));
      check(F32, new SquaredNorm(), two);
      check(F32, new SquaredNorm(), tensors(2, false, f, DType.BF16));
      check(1e-14, new SquaredNorm(), tensors(1, false, DType.F64));
      check(F32, new RunningAverage(0.1), normal(f, 1, 77), normal(f, 2, 77));
    }
  }

  @Test
  void parametersThatDoNotLieDense() throws Throwable {
    try (Scope scope = Scope.open()) {
      Tensor[] in = new Tensor[8];
      for (int i = 0; i < 8; i++) {
        Tensor t = normal(DType.F32, i, 6, 40).slice(1, 3, 33);
        in[i] = i % 3 == 0 ? t.contiguous() : t;
      }
      in[6] = in[6].square();
      in[7] = in[7].square();
      check(F32, new AdamWStep(2, 1e-2, 0.9, 0.99, 1e-6, 0.1, true, 3, 1), in);
    }
  }
}
