// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Einsum against loops over all letters. */
class EinsumTest {
  private static final String LETTERS = "abcdefghijklmnopqrstuvwxyz";

  /** Equation, the same one written out with letters only, and shapes. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "ij,jk->ik | ij,jk->ik | 3 4, 4 5",
        "ij,jk | ij,jk->ik | 2 3, 3 4",
        "ba | ba->ab | 2 3",
        "bhid,bhjd->bhij | bhid,bhjd->bhij | 2 2 3 4, 2 2 5 4",
        "bhij,bhjd->bhid | bhij,bhjd->bhid | 2 2 3 4, 2 2 4 3",
        "...ij,...jk->...ik | abij,bjk->abik | 2 3 2 4, 3 4 2",
        "ii->i | ii->i | 4 4",
        "ii | ii-> | 3 3",
        "iji->ji | iji->ji | 3 2 3",
        "iii->i | iii->i | 3 3 3",
        "ij->ji | ij->ji | 3 4",
        "ij-> | ij-> | 3 4",
        "ij->j | ij->j | 3 4",
        "i,j->ij | i,j->ij | 3, 4",
        "i,i-> | i,i-> | 5, 5",
        "ij,ij->i | ij,ij->i | 3 4, 3 4",
        "bij,bjk,bkl->bil | bij,bjk,bkl->bil | 2 2 3, 2 3 4, 2 4 2",
        "nchw,nc->nchw | nchw,nc->nchw | 2 3 2 2, 2 3",
        "nchw,oc->nohw | nchw,oc->nohw | 2 3 2 2, 4 3",
        "ijk,jil->kl | ijk,jil->kl | 2 3 4, 3 2 5",
        "...i,i->... | abi,i->ab | 2 3 4, 4",
        "a,b,c->cab | a,b,c->cab | 2, 3, 2",
        "ij,k->k | ij,k->k | 2 3, 4",
        "... | ab->ab | 2 3",
        "i...->... | iab->ab | 2 3 4",
        "ij,jk->ik | ij,jk->ik | 3 0, 0 5"
      })
  void agreesWithLoops(String equation, String plain, String shapes) {
    Scope.run(
        () -> {
          SplittableRandom random = new SplittableRandom(7);
          String[] parts = shapes.split(",");
          Tensor[] x = new Tensor[parts.length];
          for (int i = 0; i < x.length; i++) {
            String[] dims = parts[i].trim().split(" ");
            int[] shape = new int[dims.length];
            for (int d = 0; d < shape.length; d++) {
              shape[d] = Integer.parseInt(dims[d]);
            }
            double[] values = new double[Math.toIntExact(Shape.of(shape).numel())];
            java.util.Arrays.setAll(values, k -> random.nextGaussian());
            x[i] = Tensor.of(values, DType.F64, Device.CPU, shape);
          }
          Tensor got = Num.einsum(equation, x);
          double[] want = loops(plain, x, got.shape());
          assertArrayEquals(want, got.toDoubleArray(), 1e-12);
        });
  }

  @Test
  void stretchesSizeOne() {
    Scope.run(
        () -> {
          Tensor a = Tensor.of(new double[] {1, 2}, 2, 1);
          Tensor b = Tensor.of(new double[] {3, 4, 5}, 3);
          Tensor c = Num.einsum("ij,j->i", a, b);
          assertArrayEquals(new double[] {12, 24}, c.toDoubleArray());
        });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "ij,jk->ik | one term for each operand; got 2 terms, 1 operands",
        "ijk | operand 0 must have 3 dimensions for term 'ijk'; got 2",
        "...ijk | operand 0 must have at least 3 dimensions",
        "i1 | must consist of letters and one '...'; got 'i1'",
        "ij->ik | occur on the left and only once in the output; got 'k'",
        "ij->ii | only once in the output; got 'i'",
        "ii | repeated letter 'i' must name equal sizes in operand 0; got [2, 3]"
      })
  void saysWhatIsWrong(String equation, String part) {
    Scope.run(
        () -> {
          Tensor x = Tensor.zeros(2, 3);
          ShapeException e = assertThrows(ShapeException.class, () -> Num.einsum(equation, x));
          String message = String.valueOf(e.getMessage());
          assertTrue(message.startsWith("einsum '" + equation + "': "), message);
          assertTrue(message.contains(part), message);
        });
  }

  @Test
  void saysWhichLetterDiffers() {
    Scope.run(
        () -> {
          Tensor a = Tensor.zeros(2, 3);
          Tensor b = Tensor.zeros(4, 5);
          ShapeException e =
              assertThrows(ShapeException.class, () -> Num.einsum("ij,jk->ik", a, b));
          assertEquals(
              "einsum 'ij,jk->ik': letter 'j' must name one size; got 3 and 4", e.getMessage());
        });
  }

  private static double[] loops(String equation, Tensor[] x, Shape result) {
    String[] sides = equation.split("->", -1);
    String[] terms = sides[0].split(",");
    int[] sizes = new int[LETTERS.length()];
    for (int i = 0; i < terms.length; i++) {
      for (int d = 0; d < terms[i].length(); d++) {
        sizes[LETTERS.indexOf(terms[i].charAt(d))] = x[i].dim(d);
      }
    }
    String used =
        sides[0]
            .replace(",", "")
            .chars()
            .distinct()
            .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
            .toString();
    double[][] data = new double[x.length][];
    long all = 1;
    for (int i = 0; i < x.length; i++) {
      data[i] = x[i].toDoubleArray();
    }
    for (char c : used.toCharArray()) {
      all *= sizes[LETTERS.indexOf(c)];
    }
    double[] y = new double[Math.toIntExact(result.numel())];
    int[] index = new int[LETTERS.length()];
    for (long n = 0; n < all; n++) {
      long rest = n;
      for (char c : used.toCharArray()) {
        int letter = LETTERS.indexOf(c);
        index[letter] = (int) (rest % sizes[letter]);
        rest /= sizes[letter];
      }
      double product = 1;
      for (int i = 0; i < x.length; i++) {
        product *= data[i][at(terms[i], index, sizes)];
      }
      y[at(sides[1], index, sizes)] += product;
    }
    return y;
  }

  private static int at(String letters, int[] index, int[] sizes) {
    int position = 0;
    for (char c : letters.toCharArray()) {
      int letter = LETTERS.indexOf(c);
      position = position * sizes[letter] + index[letter];
    }
    return position;
  }
}
