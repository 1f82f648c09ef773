// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.tensor.exec.StridedLoop;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** View algebra against index arithmetic, on random layouts. */
class LayoutTest {
  private static final int ROUNDS = 400;

  /** The position of every element, by the definition. */
  private static long[] positions(Layout l) {
    int n = (int) l.shape().numel();
    long[] p = new long[n];
    for (int k = 0; k < n; k++) {
      p[k] = l.offset();
      int rest = k;
      for (int axis = l.shape().rank() - 1; axis >= 0; axis--) {
        int d = l.shape().dim(axis);
        p[k] += rest % d * l.stride(axis);
        rest /= d;
      }
    }
    return p;
  }

  /** The row-major number of an index. */
  private static int flat(int[] index, int[] dims) {
    int k = 0;
    for (int i = 0; i < dims.length; i++) {
      k = k * dims[i] + index[i];
    }
    return k;
  }

  private static int[] index(int k, int[] dims) {
    int[] index = new int[dims.length];
    for (int i = dims.length - 1; i >= 0; i--) {
      index[i] = k % dims[i];
      k /= dims[i];
    }
    return index;
  }

  private static Layout random(SplittableRandom r) {
    int rank = r.nextInt(5);
    int[] dims = IntStream.range(0, rank).map(i -> 1 + r.nextInt(4)).toArray();
    Layout l = Layout.ordered(Shape.of(dims), shuffled(rank, r));
    if (rank > 0 && r.nextBoolean()) {
      int axis = r.nextInt(rank);
      l = l.slice(axis, r.nextInt(l.shape().dim(axis)), l.shape().dim(axis), 1 + r.nextInt(2));
    }
    if (rank > 0 && r.nextInt(4) == 0) {
      int axis = r.nextInt(rank);
      l = l.slice(axis, 0, 1, 1).expand(l.shape().with(axis, 3));
    }
    return l;
  }

  private static int[] shuffled(int n, SplittableRandom r) {
    int[] order = IntStream.range(0, n).toArray();
    for (int i = n - 1; i > 0; i--) {
      int j = r.nextInt(i + 1);
      int t = order[i];
      order[i] = order[j];
      order[j] = t;
    }
    return order;
  }

  @Test
  void loopsVisitElementsInRowMajorOrder() {
    SplittableRandom r = new SplittableRandom(1);
    for (int round = 0; round < ROUNDS; round++) {
      Layout l = random(r);
      List<Long> seen = new ArrayList<>();
      StridedLoop.forEach(l, seen::add);
      assertArrayEquals(
          positions(l), seen.stream().mapToLong(Long::longValue).toArray(), l.toString());
    }
  }

  @Test
  void permuteMovesAxes() {
    SplittableRandom r = new SplittableRandom(2);
    for (int round = 0; round < ROUNDS; round++) {
      Layout l = random(r);
      int[] order = shuffled(l.shape().rank(), r);
      Layout y = l.permute(order);
      long[] from = positions(l);
      long[] to = positions(y);
      for (int k = 0; k < to.length; k++) {
        int[] at = index(k, y.shape().dims());
        int[] source = new int[at.length];
        for (int i = 0; i < at.length; i++) {
          source[order[i]] = at[i];
        }
        assertEquals(from[flat(source, l.shape().dims())], to[k]);
      }
    }
  }

  @Test
  void sliceTakesEveryStepthElement() {
    SplittableRandom r = new SplittableRandom(3);
    for (int round = 0; round < ROUNDS; round++) {
      Layout l = random(r);
      if (l.shape().rank() == 0) {
        continue;
      }
      int axis = r.nextInt(l.shape().rank());
      int size = l.shape().dim(axis);
      int start = r.nextInt(size + 1);
      int end = start + r.nextInt(size - start + 1);
      int step = 1 + r.nextInt(3);
      Layout y = l.slice(axis, start, end, step);
      int n = 0;
      for (int i = start; i < end; i += step) {
        n++;
      }
      assertEquals(n, y.shape().dim(axis));
      long[] from = positions(l);
      long[] to = positions(y);
      for (int k = 0; k < to.length; k++) {
        int[] at = index(k, y.shape().dims());
        at[axis] = start + step * at[axis];
        assertEquals(from[flat(at, l.shape().dims())], to[k]);
      }
    }
  }

  @Test
  void expandRepeats() {
    SplittableRandom r = new SplittableRandom(4);
    for (int round = 0; round < ROUNDS; round++) {
      Layout l = random(r);
      int extra = r.nextInt(3);
      int rank = l.shape().rank();
      int[] target = new int[extra + rank];
      for (int i = 0; i < target.length; i++) {
        int d = i < extra ? 1 : l.shape().dim(i - extra);
        target[i] = d == 1 ? 1 + r.nextInt(3) : d;
      }
      Layout y = l.expand(Shape.of(target));
      long[] from = positions(l);
      long[] to = positions(y);
      for (int k = 0; k < to.length; k++) {
        int[] at = Arrays.copyOfRange(index(k, target), extra, target.length);
        for (int i = 0; i < rank; i++) {
          at[i] = l.shape().dim(i) == 1 ? 0 : at[i];
        }
        assertEquals(from[flat(at, l.shape().dims())], to[k]);
      }
    }
  }

  @Test
  void reshapeKeepsRowMajorOrderOrSaysNo() {
    SplittableRandom r = new SplittableRandom(5);
    int views = 0;
    for (int round = 0; round < 4 * ROUNDS; round++) {
      Layout l = random(r);
      Shape target = regrouped(l.shape(), r);
      Layout y = l.reshape(target);
      if (y == null) {
        assertTrue(!l.isContiguous(), l.toString());
        assertTrue(!isAffine(positions(l), target), l + " to " + target + " has a view");
        continue;
      }
      views++;
      assertEquals(target, y.shape());
      assertArrayEquals(positions(l), positions(y), l + " to " + target);
    }
    assertTrue(views > ROUNDS);
  }

  /** Whether positions in row-major order of {@code target} are given by some strides. */
  private static boolean isAffine(long[] positions, Shape target) {
    int[] dims = target.dims();
    long[] strides = new long[dims.length];
    int step = 1;
    for (int i = dims.length - 1; i >= 0; i--) {
      strides[i] = dims[i] > 1 ? positions[step] - positions[0] : 0;
      step *= dims[i];
    }
    return Arrays.equals(positions, positions(Layout.of(target, strides, positions[0])));
  }

  /** A random shape with the same number of elements. */
  private static Shape regrouped(Shape shape, SplittableRandom r) {
    List<Integer> factors = new ArrayList<>();
    for (int d : shape.dims()) {
      for (int f = 2; d > 1; f++) {
        while (d % f == 0) {
          factors.add(f);
          d /= f;
        }
      }
    }
    List<Integer> dims = new ArrayList<>();
    for (int f : factors) {
      if (!dims.isEmpty() && r.nextBoolean()) {
        dims.set(dims.size() - 1, dims.getLast() * f);
      } else {
        dims.add(f);
      }
      if (r.nextInt(5) == 0) {
        dims.add(1);
      }
    }
    return Shape.of(dims.stream().mapToInt(Integer::intValue).toArray());
  }

  @Test
  void selectAndUnsqueeze() {
    SplittableRandom r = new SplittableRandom(6);
    for (int round = 0; round < ROUNDS; round++) {
      Layout l = random(r);
      int axis = r.nextInt(l.shape().rank() + 1);
      Layout y = l.unsqueeze(axis);
      assertArrayEquals(positions(l), positions(y));
      assertEquals(l, reselect(y, axis));
      assertEquals(positions(l).length == 0 ? 0 : max(positions(l)) + 1, l.extent());
    }
  }

  private static Layout reselect(Layout y, int axis) {
    return y.select(axis, 0);
  }

  private static long max(long[] positions) {
    return Arrays.stream(positions).max().orElseThrow();
  }

  @Test
  void denseMeansEveryPositionOnce() {
    SplittableRandom r = new SplittableRandom(7);
    for (int round = 0; round < ROUNDS; round++) {
      Layout l = random(r);
      long[] p = positions(l);
      Arrays.sort(p);
      boolean dense = true;
      for (int i = 0; i < p.length; i++) {
        dense &= p[i] == l.offset() + i;
      }
      assertEquals(dense, l.isDense(), l.toString());
      if (dense) {
        assertTrue(l.like(l.shape()).sameStrides(l));
        assertEquals(0, l.like(l.shape()).offset());
      }
    }
  }

  @Test
  void emptyShapesReshapeFreely() {
    Layout l = Layout.contiguous(Shape.of(0, 3));
    assertNotNull(l.reshape(Shape.of(3, 0, 2)));
    assertThrows(ShapeException.class, () -> l.reshape(Shape.of(3)));
    assertEquals(0, l.extent());
  }

  @Test
  void badViewsSayWhat() {
    Layout l = Layout.contiguous(Shape.of(2, 3));
    assertThrows(ShapeException.class, () -> l.slice(1, 2, 5, 1));
    assertThrows(ShapeException.class, () -> l.slice(1, 0, 2, 0));
    assertThrows(ShapeException.class, () -> l.select(0, 2));
    assertThrows(ShapeException.class, () -> l.permute(0));
    assertThrows(ShapeException.class, () -> l.expand(Shape.of(3)));
    assertThrows(ShapeException.class, () -> Layout.of(Shape.of(2), new long[2], 0));
  }
}
