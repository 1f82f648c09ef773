// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.NotDifferentiableException;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backward;
import io.sfumato.tensor.exec.Dense;
import io.sfumato.tensor.exec.Differentiable;
import io.sfumato.tensor.exec.Saved;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Scaled dot-product attention (Vaswani et al. 2017), {@code softmax(scale q kᵀ + mask) v} per
 * head, without the matrix of weights in memory (Dao et al. 2022). Inputs: q [B, H, Lq, D], k [B,
 * H, Lk, D], v [B, H, Lk, Dv], and a mask broadcastable to [B, H, Lq, Lk] if there is one. Outputs:
 * [B, H, Lq, Dv], in memory [B, Lq, H, Dv]; and the logarithm of the sum of the exponentials of
 * each row, [B, H, Lq], in the accumulator's type. A row that sees no key gives 0, and negative
 * infinity as logarithm.
 *
 * @param scale factor of the products of queries and keys
 * @param causal whether query i sees keys j &lt;= i only
 * @param mask whether there is a mask, and what it means
 */
public record Attention(double scale, boolean causal, Mask mask) implements Differentiable {
  /** What a mask means. */
  public enum Mask {
    /** There is none. */
    NONE,
    /** BOOL, true where a key may be seen. */
    KEEP,
    /** Of the type of q, added to the scaled products. */
    ADD
  }

  @Override
  public String name() {
    return "attention";
  }

  @Override
  public List<TensorSpec> infer(List<TensorSpec> in) {
    check(in);
    TensorSpec q = in.get(0);
    TensorSpec out = q.with(q.shape().with(3, in.get(2).shape().dim(3)));
    return List.of(out, q.with(q.shape().without(3)).with(q.dtype().accumulator()));
  }

  /** Checks q, k, v and the mask at the front of a list of inputs. */
  void check(List<TensorSpec> in) {
    Require.oneFloatingType(in.subList(0, 3));
    Shape q = in.get(0).shape();
    Shape k = in.get(1).shape();
    Shape v = in.get(2).shape();
    if (q.rank() != 4
        || k.rank() != 4
        || v.rank() != 4
        || !k.equals(Shape.of(q.dim(0), q.dim(1), k.dim(2), q.dim(3)))
        || !v.equals(Shape.of(q.dim(0), q.dim(1), k.dim(2), v.dim(3)))) {
      throw new ShapeException(
          "inputs must have shapes q [B, H, Lq, D], k [B, H, Lk, D] and v [B, H, Lk, Dv]");
    }
    if (mask == Mask.NONE) {
      return;
    }
    TensorSpec m = in.get(3);
    DType wanted = mask == Mask.KEEP ? DType.BOOL : in.getFirst().dtype();
    if (m.dtype() != wanted) {
      throw new DTypeException("mask must be bool or have the type of q");
    }
    Shape scores = Shape.of(q.dim(0), q.dim(1), q.dim(2), k.dim(2));
    if (!m.shape().broadcastsTo(scores)) {
      throw new ShapeException("mask must broadcast to [B, H, Lq, Lk] = " + scores);
    }
  }

  @Override
  public Layout layout(int output, TensorSpec spec, List<Layout> in) {
    return output == 0 ? Layout.ordered(spec.shape(), 0, 2, 1, 3) : Layout.contiguous(spec.shape());
  }

  @Override
  public void reference(Dense[] in, Dense[] out) {
    double[] s = scores(in[0], in[1], mask == Mask.NONE ? null : in[3]);
    int keys = in[1].dim(2);
    int width = in[2].dim(3);
    int queries = in[0].dim(2);
    double[] y = out[0].data();
    for (int row = 0; row < out[1].numel(); row++) {
      double max = max(s, row * keys, keys);
      double sum = sumExp(s, row * keys, keys, max);
      out[1].data()[row] = max + Math.log(sum);
      for (int j = 0; j < keys && sum != 0; j++) {
        double p = Math.exp(s[row * keys + j] - max) / sum;
        for (int d = 0; d < width; d++) {
          y[row * width + d] += p * in[2].data()[(row / queries * keys + j) * width + d];
        }
      }
    }
  }

  /** The matrix {@code scale q kᵀ + mask}, negative infinity where a key is hidden. */
  double[] scores(Dense q, Dense k, @Nullable Dense given) {
    int queries = q.dim(2);
    int keys = k.dim(2);
    int width = q.dim(3);
    Shape shape = q.shape().with(3, keys);
    double[] s = new double[Math.toIntExact(shape.numel())];
    double[] m = given == null ? s : given.expand(shape).data();
    for (int row = 0; keys > 0 && row < s.length / keys; row++) {
      for (int j = 0; j < keys; j++) {
        int at = row * keys + j;
        double sum = 0;
        for (int d = 0; d < width; d++) {
          sum += q.data()[row * width + d] * k.data()[(row / queries * keys + j) * width + d];
        }
        boolean hidden = (causal && j > row % queries) || (mask == Mask.KEEP && m[at] == 0);
        double added = mask == Mask.ADD ? m[at] : 0;
        s[at] = hidden ? Double.NEGATIVE_INFINITY : scale * sum + added;
      }
    }
    return s;
  }

  private static double max(double[] s, int first, int n) {
    double max = Double.NEGATIVE_INFINITY;
    for (int j = first; j < first + n; j++) {
      max = Math.max(max, s[j]);
    }
    return max;
  }

  /** The sum of exponentials relative to the largest; 0 if that is negative infinity. */
  private static double sumExp(double[] s, int first, int n, double max) {
    double sum = 0;
    for (int j = first; j < first + n && max != Double.NEGATIVE_INFINITY; j++) {
      sum += Math.exp(s[j] - max);
    }
    return sum;
  }

  @Override
  public Saved saved(boolean[] needs) {
    int[] inputs = mask == Mask.NONE ? new int[] {0, 1, 2} : new int[] {0, 1, 2, 3};
    return Saved.inputs(inputs).andOutputs(0, 1);
  }

  @Override
  public @Nullable Tensor[] backward(Backward c) {
    if (c.gradOrNull(1) != null) {
      throw new NotDifferentiableException("attention: the logarithms have no backward");
    }
    return Attentions.backward(this, c);
  }
}
