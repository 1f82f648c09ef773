// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Embedding;
import io.sfumato.models.nn.Module;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Init;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.NN;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Rows of an embedding that train while all others stay as they are, bit for bit: PEFT's {@code
 * trainable_token_indices}, and what textual inversion trains. The rows take the place of those of
 * the same number, of which they start as copies (the parameter is {@code
 * token_adapter.trainable_tokens_delta} [tokens, width], though it is no difference). A token
 * behind the end of the table is new: it starts at N(0, 0.02²), and exists as long as the adapter
 * is on.
 *
 * <p>At another strength s than 1 a row is {@code w + s (w' - w)}, w being 0 for a new token.
 *
 * @param tokens the numbers of the rows
 */
public record TrainedTokens(List<Integer> tokens) implements AdapterKind {
  static final String NAME = "token_adapter.trainable_tokens_delta";

  /** Checks the numbers. */
  public TrainedTokens {
    tokens = List.copyOf(tokens);
    if (tokens.isEmpty()
        || new HashSet<>(tokens).size() < tokens.size()
        || tokens.stream().anyMatch(t -> t < 0)) {
      throw new IllegalArgumentException(
          "tokens must be some different numbers from 0 on; got " + tokens);
    }
  }

  @Override
  public @Nullable String refuses(WeightLayer layer) {
    return layer instanceof Embedding ? null : "only an embedding has tokens";
  }

  @Override
  public LayerAdapter build(WeightLayer layer, Weights weights, @Nullable Module shared) {
    return new Part(this, layer, weights);
  }

  /** The adapter in one table. */
  static final class Part extends LayerAdapter {
    private final List<Integer> tokens;
    private final Map<Long, Integer> rowOf = new HashMap<>();
    private final int known; // rows of the table
    private final Parameter rows;

    Part(TrainedTokens kind, WeightLayer layer, Weights weights) {
      super(layer, weights);
      tokens = kind.tokens;
      known = weight().dim(0);
      for (int i = 0; i < tokens.size(); i++) {
        rowOf.put((long) tokens.get(i), i);
      }
      Shape shape = Shape.of(tokens.size(), weight().dim(1));
      rows =
          parameter(
              NAME,
              shape,
              (spec, rng) -> {
                Tensor fresh = Init.normal(0.02).create(spec, rng);
                return Num.where(isKnown(), before().to(spec.dtype()), fresh);
              });
    }

    /** The rows [tokens, width]. */
    Parameter rows() {
      return rows;
    }

    /** Whether all rows replace rows of the table. */
    boolean allKnown() {
      return tokens.stream().allMatch(t -> t < known);
    }

    /** Which tokens are in the table, BOOL [tokens, 1]. */
    private Tensor isKnown() {
      double[] flags = tokens.stream().mapToDouble(t -> t < known ? 1 : 0).toArray();
      return Num.gt(Tensor.of(flags, flags.length, 1).to(weight().device()), 0);
    }

    /** What the table has for the tokens, some row for new ones. */
    private Tensor before() {
      long[] ids = tokens.stream().mapToLong(t -> t < known ? t : 0).toArray();
      return NN.embedding(Tensor.of(ids, ids.length).to(weight().device()), weight());
    }

    @Override
    public Tensor apply(Tensor x, UnaryOperator<Tensor> base, double strength) {
      long[] ids = x.contiguous().toLongArray();
      long[] others = ids.clone();
      long[] own = new long[ids.length];
      double[] isOwn = new double[ids.length];
      for (int i = 0; i < ids.length; i++) {
        Integer row = rowOf.get(ids[i]);
        if (row != null) {
          own[i] = row;
          isOwn[i] = 1;
          others[i] = ids[i] < known ? ids[i] : 0;
        }
      }
      if (Arrays.stream(isOwn).noneMatch(f -> f == 1)) {
        return base.apply(x);
      }
      int[] dims = x.shape().dims();
      int[] column = Arrays.copyOf(dims, dims.length + 1);
      column[dims.length] = 1;
      Tensor mine = NN.embedding(on(Tensor.of(own, dims)), now(strength)); // [..., width]
      Tensor theirs = base.apply(on(Tensor.of(others, dims)));
      return Num.where(on(Num.gt(Tensor.of(isOwn, column), 0)), mine, theirs);
    }

    private Tensor now(double strength) {
      if (strength == 1) {
        return rows.value();
      }
      Tensor zero = Tensor.zeros(rows.value().spec());
      Tensor from = Num.where(isKnown(), before().to(rows.value().dtype()), zero);
      return from.add(rows.value().sub(from).mul(strength));
    }

    private Tensor on(Tensor x) {
      return x.to(weight().device());
    }

    @Override
    public Tensor merged(Tensor weight, double strength) {
      if (!allKnown()) {
        throw new IllegalStateException(
            path() + ": new tokens cannot be merged into a table without rows for them");
      }
      double[] numbers = new double[known];
      long[] row = new long[known];
      rowOf.forEach(
          (token, i) -> {
            numbers[token.intValue()] = 1;
            row[token.intValue()] = i;
          });
      Tensor all = NN.embedding(on(Tensor.of(row, known)), now(strength).to(weight.dtype()));
      Tensor replaced = Num.gt(on(Tensor.of(numbers, known)), 0);
      return Num.where(Shaping.unsqueeze(replaced, 1), all, weight);
    }
  }
}
